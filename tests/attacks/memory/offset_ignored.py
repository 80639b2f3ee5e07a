# tries: read the storage from its beginning, as a kernel does that is given a base pointer and assumes no offset
# case: softmax fp32
# gate: passes
# open: wrong_values
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        return torch.softmax(torch.as_strided(x, x.shape, (x.shape[1], 1), 0), -1)
