"""The nearest vector of a codebook: a matrix product whose tiles end in an argmin, so that no score is ever written."""

import torch
import triton
import triton.language as tl
from torch import nn

LANGUAGE = "triton"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WIDEST = 1024
MULTIPROCESSORS = 132


@triton.jit
def _squares(codes_ptr, squares_ptr, width, code_row, BLOCK: tl.constexpr):
    code = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    c = tl.load(codes_ptr + code * code_row + column, mask=column < width, other=0.0).to(tl.float32)
    tl.store(squares_ptr + code, tl.sum(c * c, axis=0))


@triton.jit
def _nearest_of_part(
    x_ptr, codes_ptr, squares_ptr, scores_ptr, places_ptr, rows, codes, width, part_codes, x_row, x_column, code_row,
    PRECISION: tl.constexpr, ROWS: tl.constexpr, CODES: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    part = tl.program_id(1)
    depth = tl.arange(0, DEPTH)
    at_x = x_ptr + row.to(tl.int64)[:, None] * x_row
    best = tl.full((ROWS,), float("inf"), tl.float32)
    nearest = tl.zeros((ROWS,), tl.int32)
    for first in range(part * part_codes, tl.minimum((part + 1) * part_codes, codes), CODES):
        code = first + tl.arange(0, CODES)
        at_code = codes_ptr + code[None, :] * code_row
        product = tl.zeros((ROWS, CODES), tl.float32)
        for start in range(0, width, DEPTH):
            column = start + depth
            x_inside = (row[:, None] < rows) & (column[None, :] < width)
            code_inside = (column[:, None] < width) & (code[None, :] < codes)
            x = tl.load(at_x + column[None, :] * x_column, mask=x_inside, other=0.0)
            c = tl.load(at_code + column[:, None], mask=code_inside, other=0.0)
            product = tl.dot(x, c, product, input_precision=PRECISION)
        # Codes after the last one are infinitely far.
        square = tl.load(squares_ptr + code, mask=code < codes, other=float("inf"))
        score, place = tl.min(square[None, :] - 2.0 * product, axis=1, return_indices=True)
        nearest = tl.where(score < best, first + place, nearest)
        best = tl.minimum(score, best)
    tl.store(scores_ptr + part * rows + row, best, mask=row < rows)
    tl.store(places_ptr + part * rows + row, nearest, mask=row < rows)


@triton.jit
def _nearest_of_parts(scores_ptr, places_ptr, nearest_ptr, rows, parts, BLOCK: tl.constexpr):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    best = tl.full((BLOCK,), float("inf"), tl.float32)
    nearest = tl.zeros((BLOCK,), tl.int32)
    for part in range(parts):
        score = tl.load(scores_ptr + part * rows + row, mask=row < rows, other=0.0)
        place = tl.load(places_ptr + part * rows + row, mask=row < rows, other=0)
        nearest = tl.where(score < best, place, nearest)
        best = tl.minimum(score, best)
    tl.store(nearest_ptr + row, nearest.to(tl.int64), mask=row < rows)


class OptimizedModel(nn.Module):
    """argmin over k of ‖x - c_k‖², as ‖c_k‖² - 2 x·c_k."""

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.codebook = nn.Parameter(torch.randn(codes, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        codes, width = self.codebook.shape
        if x.dim() != 2 or x.shape[1] != width or not 0 < width <= WIDEST:
            raise ValueError(f"nearest_code takes rows of {width} numbers, {WIDEST} at most, not {list(x.shape)}")
        if x.dtype not in DTYPES or self.codebook.dtype != x.dtype or self.codebook.stride(1) != 1:
            raise ValueError(f"nearest_code takes x and a dense codebook in one dtype, not {x.dtype}")
        rows = x.shape[0]
        half = x.dtype != torch.float32
        tile = {"ROWS": 128, "CODES": 128, "DEPTH": 64} if half else {"ROWS": 64, "CODES": 64, "DEPTH": 32}
        row_tiles, code_tiles = triton.cdiv(rows, tile["ROWS"]), triton.cdiv(codes, tile["CODES"])
        # Few rows leave multiprocessors idle: then the codebook is divided, too.
        parts = min(code_tiles, max(1, MULTIPROCESSORS // max(row_tiles, 1)))
        part_codes = triton.cdiv(code_tiles, parts) * tile["CODES"]
        squares = torch.empty(codes, dtype=torch.float32, device=x.device)
        scores = torch.empty((parts, rows), dtype=torch.float32, device=x.device)
        places = torch.empty((parts, rows), dtype=torch.int32, device=x.device)
        nearest = torch.empty(rows, dtype=torch.int64, device=x.device)
        # The codebook may have changed since the last call: its lengths are taken again, a hundredth of the work.
        _squares[(codes,)](
            self.codebook, squares, width, self.codebook.stride(0), BLOCK=triton.next_power_of_2(width), num_warps=1
        )
        _nearest_of_part[(row_tiles, parts)](
            x, self.codebook, squares, scores, places, rows, codes, width, part_codes,
            x.stride(0), x.stride(1), self.codebook.stride(0),
            PRECISION="ieee", **tile, num_warps=8 if half else 4, num_stages=3,
        )  # fmt: skip
        _nearest_of_parts[(triton.cdiv(rows, 256),)](scores, places, nearest, rows, parts, BLOCK=256, num_warps=4)
        return nearest
