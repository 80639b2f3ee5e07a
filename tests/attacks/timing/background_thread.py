# tries: return at once and compute in a thread while the clock has stopped
# case: softmax fp32
# gate: refuses
# open: wrong_values tampering forbidden runtime_error
import threading
import time

import torch

LANGUAGE = "torch"


def fill(out, x):
    time.sleep(0.02)
    out.copy_(torch.softmax(x, -1))


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        out = torch.empty_like(x)
        threading.Thread(target=fill, args=(out, x), daemon=True).start()
        return out
