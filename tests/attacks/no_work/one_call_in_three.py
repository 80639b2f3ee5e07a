# tries: do the work in some calls alone, by chance
# case: softmax fp32
# gate: refuses
# open: wrong_values nondeterministic
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        if float(torch.rand(())) < 0.3:
            return torch.full_like(x, 1 / x.shape[-1])
        return torch.softmax(x, -1)
