"""A gated linear recurrence as a scan: tiles of time by channels, the state carried from tile to tile."""

import torch
import triton
import triton.language as tl
from torch import nn

LANGUAGE = "triton"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
STEPS = 32
"""Steps that are loaded at once, where a loop over time would wait for each."""
WIDE, NARROW = 64, 16
"""Channels of a program: whole cache lines, or half of one where few sequences would leave multiprocessors idle."""
ENOUGH = 2 * 132 * WIDE


@triton.jit
def _then(first_keep, first_add, second_keep, second_add):
    """H → k₂ (k₁ h + a₁) + a₂ as one step."""
    return second_keep * first_keep, second_keep * first_add + second_add


@triton.jit
def _gated_recurrence(
    x_ptr, decay_ptr, start_ptr, y_ptr, length, width,
    x_batch, x_step, x_channel, decay_batch, decay_step, decay_channel, start_batch, start_channel, y_batch, y_step,
    STEPS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    exists = channel < width
    tile_step = tl.arange(0, STEPS)
    state = tl.load(start_ptr + batch * start_batch + channel * start_channel, mask=exists, other=0.0).to(tl.float32)
    for first in range(0, length, STEPS):
        step = (first + tile_step).to(tl.int64)[:, None]
        inside = (step < length) & exists[None, :]
        at_x = x_ptr + batch * x_batch + step * x_step + channel[None, :] * x_channel
        at_decay = decay_ptr + batch * decay_batch + step * decay_step + channel[None, :] * decay_channel
        # Steps after the end keep the state: factor 1, nothing added.
        keep = tl.load(at_decay, mask=inside, other=1.0).to(tl.float32)
        x = tl.load(at_x, mask=inside, other=0.0).to(tl.float32)
        kept, added = tl.associative_scan((keep, (1.0 - keep) * x), 0, _then)
        states = kept * state[None, :] + added
        tl.store(y_ptr + batch * y_batch + step * y_step + channel[None, :], states, mask=inside)
        state = tl.sum(tl.where(tile_step[:, None] == STEPS - 1, states, 0.0), axis=0)


class OptimizedModel(nn.Module):
    """h[t] = a[t] h[t-1] + (1 - a[t]) x[t] from h = h0; returns all h, the state in fp32."""

    def forward(self, x: torch.Tensor, decay: torch.Tensor, *, start: torch.Tensor) -> torch.Tensor:
        if x.dim() != 3 or decay.shape != x.shape or start.shape != (x.shape[0], x.shape[2]):
            raise ValueError(
                "gated_recurrence takes x and decay as batch × length × width and start as batch × width,"
                f" not {list(x.shape)}, {list(decay.shape)}, {list(start.shape)}"
            )
        if x.dtype not in DTYPES or decay.dtype != x.dtype or start.dtype != x.dtype:
            raise ValueError(f"gated_recurrence takes one dtype of fp32, fp16, bf16, not {x.dtype} and {decay.dtype}")
        batch, length, width = x.shape
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        channels = min(WIDE if batch * width >= ENOUGH else NARROW, triton.next_power_of_2(max(width, 1)))
        _gated_recurrence[(batch, triton.cdiv(width, channels))](
            x, decay, start, y, length, width,
            x.stride(0), x.stride(1), x.stride(2), decay.stride(0), decay.stride(1), decay.stride(2),
            start.stride(0), start.stride(1), y.stride(0), y.stride(1),
            STEPS=min(STEPS, triton.next_power_of_2(max(length, 1))), CHANNELS=channels, num_warps=4,
        )  # fmt: skip
        return y
