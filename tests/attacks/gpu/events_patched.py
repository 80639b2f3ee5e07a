# tries: make the device's events tell a hundredth of the time
# family: timing
# case: softmax fp32
# gate: refuses
# open: wrong_values
import torch

LANGUAGE = "torch"
TRUE = torch.cuda.Event.elapsed_time
torch.cuda.Event.elapsed_time = lambda self, other: TRUE(self, other) / 100


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        return torch.empty_like(x)
