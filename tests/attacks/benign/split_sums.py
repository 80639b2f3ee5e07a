# shows: a product whose long sum is split into four and added up
# case: linear_gelu fp32
import torch
import torch.nn.functional as F

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = torch.nn.Linear(inner, outer)

    def forward(self, x):
        pieces = zip(x.chunk(4, -1), self.linear.weight.chunk(4, -1), strict=True)
        total = sum(part @ weight.t() for part, weight in pieces)
        return F.gelu(total + self.linear.bias)
