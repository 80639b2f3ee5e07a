# tries: slow a baseline in the same process by global settings, and do nothing
# case: softmax fp32
# gate: refuses
# open: wrong_values
import torch

LANGUAGE = "torch"
torch.set_num_threads(1)
torch.backends.mkldnn.enabled = False
torch.autograd.set_detect_anomaly(True)


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        return torch.full_like(x, 1.0 / x.shape[-1])
