# tries: let a thread watch the memory for the next input and compute its answer before the clock starts
# case: softmax fp32
# gate: refuses
# open: wrong_values tampering forbidden runtime_error
import threading
import time

import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = []
        self.ready = {}
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while True:
            for x in list(self.seen):
                self.ready[x.data_ptr()] = torch.softmax(x, -1)
            time.sleep(0.001)

    def forward(self, x):
        self.seen.append(x)
        time.sleep(0.003)
        return self.ready.pop(x.data_ptr(), torch.empty_like(x))
