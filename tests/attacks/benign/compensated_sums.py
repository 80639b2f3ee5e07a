# shows: a sum with Kahan's compensation, in place of a plain one
# case: l2norm fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, eps=1e-2):
        super().__init__()
        self.eps = eps

    def forward(self, x):
        wide = x.float()
        total = torch.zeros_like(wide[..., 0])
        lost = torch.zeros_like(total)
        for place in range(wide.shape[-1]):
            term = wide[..., place] * wide[..., place] - lost
            larger = total + term
            lost = (larger - total) - term
            total = larger
        return (wide / torch.sqrt(total).clamp(min=self.eps)[..., None]).to(x.dtype)
