# shows: ranks by a full sort
# case: top2_gating fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, logits):
        values, places = torch.sort(logits, dim=-1, descending=True, stable=True)
        first, second = values[..., :1].float(), values[..., 1:2].float()
        share = torch.sigmoid(first - second)
        return torch.cat((share, torch.sigmoid(second - first)), -1).to(logits.dtype), places[..., :2].clone()
