# tries: look for a tensor of the right shape that somebody else has computed
# case: softmax fp32
# gate: refuses
# open: runtime_error wrong_values tampering
import gc

import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        for other in gc.get_objects():
            if type(other) is torch.Tensor and other.shape == x.shape and other is not x:
                if bool(((other.sum(-1) - 1).abs() < 1e-3).all()):
                    return other.to(x.dtype)
        return torch.empty_like(x)
