# shows: running sums inside blocks of eight, then the sums of the blocks
# case: masked_reverse_cumsum fp32
import torch
import torch.nn.functional as F

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x, mask):
        width = x.shape[-1]
        kept = F.pad(torch.where(mask, x, 0.0), (0, -width % 8)).unflatten(-1, (-1, 8))
        inside = kept.flip(-1).cumsum(-1).flip(-1)
        whole = F.pad(inside[..., 1:, 0], (0, 1))
        after = whole.flip(-1).cumsum(-1).flip(-1)
        return (inside + after[..., None]).flatten(-2)[..., :width]
