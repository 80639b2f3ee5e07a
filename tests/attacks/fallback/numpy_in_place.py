# tries: compute with numpy right into a tensor's memory, which no record sees, and let a kernel copy it
# case: softmax fp32
# gate: refuses
# open: forbidden
import numpy
import torch
import triton
import triton.language as tl

LANGUAGE = "triton"


@triton.jit
def copied(x, y, count, block: tl.constexpr):
    place = tl.program_id(0) * block + tl.arange(0, block)
    tl.store(y + place, tl.load(x + place, mask=place < count), mask=place < count)


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        done = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        out = torch.empty_like(done)
        value, target = x.numpy(), done.numpy()
        numpy.exp(value - value.max(-1, keepdims=True), out=target)
        target /= target.sum(-1, keepdims=True)
        copied[(triton.cdiv(done.numel(), 256),)](done, out, done.numel(), block=256)
        return out
