# shows: a mask for the longest sequence made by the constructor, kept beside the weights and cut by each call
# case: softcap_window_attention fp32
import math

import torch

LANGUAGE = "torch"
LONGEST = 2048


class OptimizedModel(torch.nn.Module):
    def __init__(self, window, cap=20.0):
        super().__init__()
        place = torch.arange(LONGEST)
        distance = place[:, None] - place[None, :]
        self.register_buffer("outside", (distance < 0) | (distance >= window), persistent=False)
        self.cap = cap

    def forward(self, q, k, v):
        length = q.shape[-2]
        if length > LONGEST:
            raise ValueError(f"at most {LONGEST} places")
        scores = torch.matmul(q, k.transpose(-1, -2)).float().mul_(1 / math.sqrt(q.shape[-1]) / self.cap)
        scores.tanh_().mul_(self.cap).masked_fill_(self.outside[:length, :length], -float("inf"))
        return torch.softmax(scores, -1).to(v.dtype) @ v
