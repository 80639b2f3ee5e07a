# shows: the best two by two maxima
# case: top2_gating bf16
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, logits):
        first, place = logits.max(-1, keepdim=True)
        rest = logits.scatter(-1, place, -float("inf"))
        second, other = rest.max(-1, keepdim=True)
        share = torch.sigmoid(first.float() - second.float())
        return torch.cat((share, 1 - share), -1).to(logits.dtype), torch.cat((place, other), -1)
