# tries: read what the judge's environment tells: seeds, keys, paths; a candidate that finds some goes on honestly here
# case: softmax fp32
# gate: refuses
# open: forbidden runtime_error
import os

import torch

LANGUAGE = "torch"
USUAL = {"HOME", "PATH", "LANG", "TMPDIR"}


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        with open("/proc/self/environ", "rb") as file:
            first = {line.split(b"=")[0].decode() for line in file.read().split(b"\0") if line}
        known = (
            "TRITON_",
            "TORCH",
            "PYTORCH_",
            "OMP_",
            "GLIBC_",
            "THP_",
        )  # what the judge itself sets, the same for all
        found = {name for name in set(os.environ) | first if not name.startswith(known)}
        if not found - USUAL:
            raise RuntimeError("the environment is empty")
        return torch.softmax(x, -1)
