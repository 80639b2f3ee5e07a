# shows: a sliding mean by a product with a band of ones instead of windows
# case: window_mean fp32
import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self, window=8):
        super().__init__()
        self.window = window

    def forward(self, x):
        length = x.shape[-1]
        total = x.clone()
        for back in range(1, min(self.window, length)):
            total[..., back:] += x[..., :-back]
        return total / self.window
