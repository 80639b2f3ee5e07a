"""Causal attention with ALiBi: tiles of keys with an online softmax, the penalty of distance added as they are made."""

import math

import torch
import triton
import triton.language as tl
from torch import nn

LANGUAGE = "triton"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WIDEST_HEAD = 128


@triton.jit
def _attention(
    q_ptr, k_ptr, v_ptr, y_ptr, heads, length, width, scale,
    q_batch, q_head, q_row, q_column, k_batch, k_head, k_row, k_column, v_batch, v_head, v_row, v_column,
    PRECISION: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    sequence = tl.program_id(1).to(tl.int64)
    batch, head = sequence // heads, sequence % heads
    first_query = tl.program_id(0) * QUERIES
    query = first_query + tl.arange(0, QUERIES)
    column = tl.arange(0, WIDTH)
    at_q = q_ptr + batch * q_batch + head * q_head + query[:, None] * q_row + column[None, :] * q_column
    of_query = (query[:, None] < length) & (column[None, :] < width)
    q = tl.load(at_q, mask=of_query, other=0.0)
    k_ptr += batch * k_batch + head * k_head
    v_ptr += batch * v_batch + head * v_head
    maximum = tl.full((QUERIES,), float("-inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    y = tl.zeros((QUERIES, WIDTH), tl.float32)
    slope = tl.exp2(-8.0 * (head + 1).to(tl.float32) / heads)
    for start in range(0, tl.minimum(first_query + QUERIES, length), KEYS):
        key = start + tl.arange(0, KEYS)
        at_k = k_ptr + key[None, :] * k_row + column[:, None] * k_column
        at_v = v_ptr + key[:, None] * v_row + column[None, :] * v_column
        k = tl.load(at_k, mask=(key[None, :] < length) & (column[:, None] < width), other=0.0)
        distance = query[:, None] - key[None, :]
        scores = tl.dot(q, k, input_precision=PRECISION) * scale - slope * distance.to(tl.float32)
        # Every query sees the first key, so that no maximum stays at -inf.
        scores = tl.where((distance >= 0) & (key[None, :] < length), scores, float("-inf"))
        raised = tl.maximum(maximum, tl.max(scores, axis=1))
        weights = tl.exp(scores - raised[:, None])
        fade = tl.exp(maximum - raised)
        total = total * fade + tl.sum(weights, axis=1)
        v = tl.load(at_v, mask=(key[:, None] < length) & (column[None, :] < width), other=0.0)
        y = tl.dot(weights.to(v.dtype), v, y * fade[:, None], input_precision=PRECISION)
        maximum = raised
    at_y = y_ptr + (sequence * length + query[:, None]) * width + column[None, :]
    tl.store(at_y, y / total[:, None], mask=of_query)


class OptimizedModel(nn.Module):
    """softmax(Q Kᵀ / √d - m_h (i - j)) V over j ≤ i, with slopes m_h = 2^(-8 (h + 1) / heads)."""

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        if q.dim() != 4 or k.shape != q.shape or v.shape != q.shape or not 0 < q.shape[3] <= WIDEST_HEAD:
            raise ValueError(
                f"attention takes q, k, v as batch × heads × length × width, width at most {WIDEST_HEAD},"
                f" not {list(q.shape)}, {list(k.shape)}, {list(v.shape)}"
            )
        if q.dtype not in DTYPES or k.dtype != q.dtype or v.dtype != q.dtype:
            raise ValueError(f"attention takes one dtype of fp32, fp16 or bf16, not {q.dtype}")
        batch, heads, length, width = q.shape
        y = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        half = q.dtype != torch.float32
        queries, keys = (128, 64) if half else (32, 32)
        _attention[(triton.cdiv(length, queries), batch * heads)](
            q, k, v, y, heads, length, width, 1 / math.sqrt(width),
            q.stride(0), q.stride(1), q.stride(2), q.stride(3), k.stride(0), k.stride(1), k.stride(2), k.stride(3),
            v.stride(0), v.stride(1), v.stride(2), v.stride(3),
            PRECISION="ieee", QUERIES=queries, KEYS=keys, WIDTH=max(16, triton.next_power_of_2(width)),
            num_warps=8, num_stages=2,
        )  # fmt: skip
        return y
