# shows: words such as os._exit, eval(, threading, import socket and torch.cuda.Stream in comments and docstrings
# case: l2norm fp32
"""Neither exec() nor subprocess, no torch.cuda.Stream, no cache: a reader may be warned of them by name."""

import torch

LANGUAGE = "torch"
# No os.system, no sys._getframe, no try/except, no import threading: see above.
NOTE = "os._exit(0) and __import__ are only text here"


class OptimizedModel(torch.nn.Module):
    """Does not `import socket`; getattr(torch, 'softmax') is not used either."""

    def __init__(self, eps=1e-2):
        super().__init__()
        self.eps = eps

    def forward(self, x):
        stream = x.square().sum(-1, keepdim=True).sqrt()  # a stream of numbers, no torch.cuda.Stream
        return x / stream.clamp(min=self.eps)
