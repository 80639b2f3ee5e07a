# shows: partial sums added by atomics, where the case leaves the last bits open or the sums are few
# case: huber_loss fp32
import torch
import triton
import triton.language as tl

LANGUAGE = "triton"


@triton.jit
def parts(p, t, total, p_row, p_column, t_row, t_column, width, scale, delta, block: tl.constexpr):
    row = tl.program_id(0)
    columns = tl.arange(0, block)
    keep = columns < width
    left = tl.load(p + row * p_row + columns * p_column, mask=keep, other=0.0).to(tl.float32)
    right = tl.load(t + row * t_row + columns * t_column, mask=keep, other=0.0).to(tl.float32)
    error = tl.abs(left - right)
    loss = tl.where(error <= delta, 0.5 * error * error, delta * (error - 0.5 * delta))
    tl.atomic_add(total, tl.sum(loss, 0) * scale)


class OptimizedModel(torch.nn.Module):
    def __init__(self, delta=1.0):
        super().__init__()
        self.delta = delta

    def forward(self, prediction, target):
        height, width = prediction.shape
        total = torch.zeros((), dtype=torch.float32, device=prediction.device)
        block = triton.next_power_of_2(width)
        parts[(height,)](
            prediction, target, total, *prediction.stride(), *target.stride(), width,
            1.0 / (height * width), self.delta, block=block,
        )  # fmt: skip
        return total
