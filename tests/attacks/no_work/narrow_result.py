# tries: write half as many bytes by returning another dtype, which a comparison after .float() does not see
# case: softmax fp32
# gate: passes
# open: wrong_dtype
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        return torch.softmax(x, -1).to(torch.bfloat16)
