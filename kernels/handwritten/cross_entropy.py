"""Cross entropy from logits in one read: an online log-sum-exp a row, then one program that takes the mean."""

import torch
import triton
import triton.language as tl
from torch import nn

LANGUAGE = "triton"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@triton.jit
def _row_losses(
    logits_ptr, labels_ptr, losses_ptr, vocabulary, ignored, logits_row, logits_column, labels_row, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    logits_ptr += row * logits_row
    column = tl.arange(0, BLOCK)
    maximum = tl.full((), float("-inf"), tl.float32)
    total = tl.full((), 0.0, tl.float32)
    # The maximum is renewed once a tile, not once a lane: two exponentials a number would outlast the memory.
    for start in range(0, vocabulary, BLOCK):
        place = start + column
        z = tl.load(logits_ptr + place * logits_column, mask=place < vocabulary, other=float("-inf")).to(tl.float32)
        raised = tl.maximum(maximum, tl.max(z, axis=0))
        shift = tl.where(raised == float("-inf"), 0.0, raised)
        total = total * tl.exp(maximum - shift) + tl.sum(tl.exp(z - shift), axis=0)
        maximum = raised
    label = tl.load(labels_ptr + row * labels_row)
    counts = label != ignored
    chosen = tl.load(logits_ptr + label * logits_column, mask=counts, other=0.0).to(tl.float32)
    # log Σ exp(z) is added last: z[label] is near the maximum where the model is right, and digits would cancel.
    loss = tl.log(total) + (maximum - chosen)
    tl.store(losses_ptr + row, tl.where(counts, loss, 0.0))


@triton.jit
def _mean(losses_ptr, labels_ptr, mean_ptr, rows, ignored, labels_row, BLOCK: tl.constexpr):
    # One program in one order: the same bits each time, which atomic additions would not give.
    place = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    count = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, rows, BLOCK):
        row = start + place
        total += tl.load(losses_ptr + row, mask=row < rows, other=0.0)
        label = tl.load(labels_ptr + row * labels_row, mask=row < rows, other=ignored)
        count += tl.where(label != ignored, 1.0, 0.0)
    tl.store(mean_ptr, tl.sum(total, axis=0) / tl.sum(count, axis=0))


class OptimizedModel(nn.Module):
    """mean over rows whose label is not ignored of log Σ exp(z) - z[label], in fp32."""

    def __init__(self, ignored: int = -100) -> None:
        super().__init__()
        self.ignored = ignored

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if logits.dim() != 2 or logits.dtype not in DTYPES or logits.shape[1] == 0:
            raise ValueError(f"cross_entropy takes rows of logits, not {logits.dtype} {list(logits.shape)}")
        if labels.dtype != torch.int64 or labels.shape != logits.shape[:1]:
            raise ValueError(f"cross_entropy takes an int64 label a row, not {labels.dtype} {list(labels.shape)}")
        rows, vocabulary = logits.shape
        losses = torch.empty(rows, dtype=torch.float32, device=logits.device)
        mean = torch.empty((), dtype=torch.float32, device=logits.device)
        _row_losses[(rows,)](
            logits, labels, losses, vocabulary, self.ignored, logits.stride(0), logits.stride(1), labels.stride(0),
            BLOCK=min(triton.next_power_of_2(vocabulary), 8192), num_warps=8,
        )  # fmt: skip
        _mean[(1,)](losses, labels, mean, rows, self.ignored, labels.stride(0), BLOCK=1024, num_warps=8)
        return mean
