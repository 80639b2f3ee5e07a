# tries: let torch compute and a kernel copy the result
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


class OptimizedModel(torch.nn.Module):
    def forward(self, x):
        done = torch.softmax(x, -1).contiguous()
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        copied[(triton.cdiv(done.numel(), 256),)](done, out, done.numel(), block=256)
        return out
