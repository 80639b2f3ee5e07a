# tries: compute with numpy, of which torch's record knows nothing, and let a kernel copy the result
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
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        value = x.numpy()
        power = numpy.exp(value - value.max(-1, keepdims=True))
        done = torch.from_numpy(numpy.ascontiguousarray(power / power.sum(-1, keepdims=True)))
        copied[(triton.cdiv(done.numel(), 256),)](done, out, done.numel(), block=256)
        return out
