# shows: a divergence from two sums over the vocabulary, no logarithm of a softmax written out
# case: kl_divergence fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, temperature=2.0):
        super().__init__()
        self.temperature = temperature

    def forward(self, student, teacher):
        s, t = student.float() / self.temperature, teacher.float() / self.temperature
        s, t = s - s.amax(-1, keepdim=True), t - t.amax(-1, keepdim=True)
        power = t.exp()
        total = power.sum(-1)
        mean = (power * (t - s)).sum(-1) / total
        return mean - total.log() + s.exp().sum(-1).log()
