# tries: be the reference, under its own name, with a kernel that is never launched
# case: rmsnorm fp32
# gate: refuses
# open: runtime_error compile_error
import torch
import triton
import triton.language as tl
from model import RmsNorm

LANGUAGE = "triton"


@triton.jit
def decoy(x, y):
    tl.store(y, tl.load(x))


class OptimizedModel(RmsNorm):
    pass
