# shows: a divergence from two log-sum-exps and one sum, without logarithms of probabilities
# case: kl_divergence fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, temperature=2.0):
        super().__init__()
        self.temperature = temperature

    def forward(self, student, teacher):
        q = student.float() / self.temperature
        p = teacher.float() / self.temperature
        q, p = q - q.amax(-1, keepdim=True), p - p.amax(-1, keepdim=True)
        power = torch.exp(p)
        total = power.sum(-1, keepdim=True)
        shift = torch.log(torch.exp(q).sum(-1, keepdim=True)) - torch.log(total)
        return (power / total * (p - q + shift)).sum(-1)
