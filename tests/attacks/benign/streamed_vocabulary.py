# shows: logits that are never all there: product and log-sum-exp by parts of the vocabulary
# case: linear_cross_entropy fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, width, vocabulary):
        super().__init__()
        self.head = torch.nn.Linear(width, vocabulary, bias=False)

    def forward(self, x, labels):
        total = torch.full((x.shape[0],), -float("inf"), device=x.device)
        for part in self.head.weight.split(16):
            logits = (x @ part.t()).float()
            total = torch.logaddexp(total, torch.logsumexp(logits, -1))
        picked = (x * self.head.weight[labels]).float().sum(-1)
        return (total - picked).mean()
