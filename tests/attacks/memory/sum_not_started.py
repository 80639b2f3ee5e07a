# tries: add to a buffer that nobody has set to zero
# case: huber_loss fp32
# gate: passes
# open: wrong_values
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, delta=1.0):
        super().__init__()
        self.delta = delta

    def forward(self, prediction, target):
        total = torch.empty((), dtype=torch.float32)
        error = (prediction - target).float().abs()
        near = 0.5 * error * error
        far = self.delta * (error - 0.5 * self.delta)
        total += torch.where(error <= self.delta, near, far).mean()
        return total
