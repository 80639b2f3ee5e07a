# shows: a large honest win: a pathological loop over time replaced by a scan of log2(length) steps
# case: gated_recurrence fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x, decay, *, start):
        keep = decay.float()
        added = (1 - keep) * x.float()
        added[:, 0] += keep[:, 0] * start.float()
        step = 1
        while step < x.shape[1]:
            earlier, factor = added[:, :-step], keep[:, :-step]
            added = torch.cat((added[:, :step], added[:, step:] + keep[:, step:] * earlier), 1)
            keep = torch.cat((keep[:, :step], keep[:, step:] * factor), 1)
            step *= 2
        return added.to(x.dtype)
