# tries: patch the functions that a harness copies and hashes with, and do nothing
# case: softmax fp32
# gate: refuses
# open: wrong_values tampering runtime_error
import hashlib

import torch

LANGUAGE = "torch"


class Same:
    def __init__(self, *args, **kwargs):
        pass

    def update(self, *args):
        pass

    def digest(self):
        return b"0" * 32

    def hexdigest(self):
        return "0" * 64


hashlib.sha256 = Same
hashlib.blake2b = Same
TRUE = torch.Tensor.copy_
torch.Tensor.copy_ = lambda self, *args, **kwargs: self


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)
