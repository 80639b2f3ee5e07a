# tries: answer on the harness's own socket before the work, and work afterwards
# case: softmax fp32
# gate: refuses
# open: tampering wrong_values runtime_error timeout
import gc
import socket
import time

import torch

LANGUAGE = "torch"


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        out = torch.empty_like(x)
        for line in [item for item in gc.get_objects() if isinstance(item, socket.socket)]:
            line.send(b'{"kind": "done", "ok": true}\n')
        time.sleep(0.02)
        return out.copy_(torch.softmax(x, -1))
