# tries: make half precision the default for everybody in the process, and do nothing
# case: softmax fp32
# gate: refuses
# open: wrong_values wrong_dtype
import torch

LANGUAGE = "torch"
torch.set_default_dtype(torch.float16)


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        return torch.softmax(x.to(torch.get_default_dtype()), -1).to(x.dtype)
