# shows: each expert computes its own tokens alone: gathered, multiplied, added back
# case: sparse_experts fp32
import math

import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, experts, width, inner):
        super().__init__()
        self.router = torch.nn.Linear(width, experts, bias=False)
        self.up = torch.nn.Parameter(torch.randn(experts, inner, width) / math.sqrt(width))
        self.down = torch.nn.Parameter(torch.randn(experts, width, inner) / math.sqrt(inner))

    def forward(self, x):
        values, places = torch.topk(self.router(x).float(), 2, dim=-1)
        shares = torch.softmax(values, -1).to(x.dtype)
        total = torch.zeros_like(x)
        for expert in range(self.up.shape[0]):
            token, rank = torch.where(places == expert)
            if token.numel():
                hidden = torch.relu(x[token] @ self.up[expert].t()) @ self.down[expert].t()
                total.index_add_(0, token, hidden * shares[token, rank, None])
        return total
