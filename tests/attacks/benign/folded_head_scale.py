# shows: attention with its scale folded into the queries, exp2, and products as einsum
# case: alibi_attention fp32
import math

import torch

LANGUAGE = "torch"
LOG2_E = 1.4426950408889634


class OptimizedModel(torch.nn.Module):
    def forward(self, q, k, v):
        heads, length = q.shape[-3], q.shape[-2]
        slopes = torch.exp2(-8.0 * torch.arange(1, heads + 1, device=q.device, dtype=torch.float32) / heads)
        place = torch.arange(length, device=q.device)
        distance = (place[:, None] - place[None, :]).float()
        scores = torch.einsum("bhid,bhjd->bhij", q.float() / math.sqrt(q.shape[-1]), k.float())
        scores = (scores - slopes[:, None, None] * distance) * LOG2_E
        scores = scores.masked_fill(distance < 0, -float("inf"))
        powers = torch.exp2(scores - scores.amax(-1, keepdim=True))
        return (torch.einsum("bhij,bhjd->bhid", powers, v.float()) / powers.sum(-1, keepdim=True)).to(v.dtype)
