# tries: compute in the handler of a timer that fires after the call
# case: softmax fp32
# gate: refuses
# open: wrong_values runtime_error tampering
import signal

import torch

LANGUAGE = "torch"
OPEN = []


def late(_number, _frame):
    while OPEN:
        source, target = OPEN.pop()
        target.copy_(torch.softmax(source, -1))


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        out = torch.empty_like(x)
        OPEN.append((x, out))
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        return out
