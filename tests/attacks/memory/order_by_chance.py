# tries: sum in another order at each call without saying so
# case: l2norm fp32
# gate: refuses
# open: nondeterministic
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, eps=1e-2):
        super().__init__()
        self.eps = eps

    def forward(self, x):
        order = torch.randperm(x.shape[-1])
        total = torch.zeros_like(x[..., :1])
        for place in range(x.shape[-1]):
            column = x.index_select(-1, order[place : place + 1])
            total = total + column * column
        return x / total.sqrt().clamp(min=self.eps)
