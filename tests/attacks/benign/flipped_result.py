# shows: a result that lies as the reference's does, made another way
# case: masked_reverse_cumsum fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x, mask):
        kept = torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))
        places = torch.arange(x.shape[-1] - 1, -1, -1, device=x.device)
        return kept.index_select(-1, places).cumsum(-1).index_select(-1, places)
