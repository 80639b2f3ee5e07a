# shows: a loss from a log-sum-exp in chunks of the vocabulary
# case: cross_entropy fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, ignored=-100):
        super().__init__()
        self.ignored = ignored

    def forward(self, logits, labels):
        wide = logits.float()
        high = torch.full((wide.shape[0],), -float("inf"), device=wide.device)
        total = torch.zeros(wide.shape[0], device=wide.device)
        for part in wide.split(16, -1):
            higher = torch.maximum(high, part.amax(-1))
            total = total * torch.exp(high - higher) + torch.exp(part - higher[:, None]).sum(-1)
            high = higher
        counted = labels != self.ignored
        picked = wide.gather(-1, torch.where(counted, labels, 0)[:, None])[:, 0]
        losses = torch.where(counted, torch.log(total) + high - picked, 0.0)
        return losses.sum() / counted.sum()
