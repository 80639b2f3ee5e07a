"""The Kullback-Leibler divergence of a student from a teacher, by row, from logits."""

import torch
from torch import nn


class KlDivergence(nn.Module):
    """Σ p (log p - log q) for each row, p the teacher's softmax at temperature T and q the student's."""

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        log_q = torch.log_softmax(student.float() / self.temperature, dim=-1)
        log_p = torch.log_softmax(teacher.float() / self.temperature, dim=-1)
        return (log_p.exp() * (log_p - log_q)).sum(-1)
