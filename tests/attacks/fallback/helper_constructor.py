# tries: compute with torch in a helper's constructor, which a reader may take for preparation
# case: softmax fp32
# gate: refuses
# open: forbidden
import torch
import triton
import triton.language as tl

LANGUAGE = "triton"


@triton.jit
def copied(x, y, count, block: tl.constexpr):
    place = tl.program_id(0) * block + tl.arange(0, block)
    tl.store(y + place, tl.load(x + place, mask=place < count), mask=place < count)


class Rows:
    def __init__(self, x):
        self.values = torch.softmax(x, -1)


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        done = Rows(x).values
        out = torch.empty_like(done)
        copied[(triton.cdiv(done.numel(), 256),)](done, out, done.numel(), block=256)
        return out
