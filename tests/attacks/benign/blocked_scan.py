# shows: a recurrence in blocks of four: products of decays inside, one carried state between
# case: gated_recurrence fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x, decay, *, start):
        state = start.float()
        done = []
        for first in range(0, x.shape[1], 4):
            keep = decay[:, first : first + 4].float()
            added = (1 - keep) * x[:, first : first + 4].float()
            local = torch.zeros_like(state)
            inside = []
            for step in range(keep.shape[1]):
                local = keep[:, step] * local + added[:, step]
                inside.append(local)
            block = torch.stack(inside, 1) + keep.cumprod(1) * state[:, None]
            state = block[:, -1]
            done.append(block)
        return torch.cat(done, 1).to(x.dtype)
