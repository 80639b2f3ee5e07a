"""Operators of torch that a Triton candidate may use: allocation, views, copies, questions, declared products."""

from __future__ import annotations

from collections.abc import Sequence

ALLOCATION = (
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "zeros", "zeros_like", "new_zeros",
    "ones", "ones_like", "new_ones", "full", "full_like", "new_full", "fill_", "zero_", "fill", "scalar_tensor",
)  # fmt: skip
VIEWS = (
    "view", "_unsafe_view", "reshape", "_reshape_alias", "as_strided", "expand", "permute", "transpose", "t", "squeeze",
    "unsqueeze", "slice", "select", "narrow", "split", "split_with_sizes", "chunk", "unbind", "unfold", "alias",
    "detach", "view_as", "flatten", "movedim", "diagonal",
)  # fmt: skip
COPIES = ("clone", "copy_", "_to_copy", "contiguous", "lift_fresh", "lift_fresh_copy")
QUESTIONS = (
    "size",
    "stride",
    "numel",
    "dim",
    "is_contiguous",
    "sym_size",
    "sym_stride",
    "sym_numel",
    "item",
    "_local_scalar_dense",
)
PASSTHROUGH = (
    "mm", "bmm", "addmm", "baddbmm", "matmul", "linear", "convolution", "sort", "topk", "argsort", "index_select",
)  # fmt: skip
"""What a candidate may declare that it leaves to torch: products, in which libraries are hard to beat, and sorting."""

_FAMILIES = {"matmul": ("mm", "bmm", "addmm", "baddbmm"), "linear": ("mm", "addmm")}
"""What torch makes of functions that are no operators of their own."""
_ALLOWED = frozenset((*ALLOCATION, *VIEWS, *COPIES, *QUESTIONS))


def base_name(operator: str) -> str:
    """Return `mm` for `aten.mm.default` or `aten::mm`."""
    parts = operator.replace("::", ".").split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def allowed_for_triton(operator: str, passthrough: Sequence[str]) -> bool:
    """Tell whether a Triton candidate may use this operator, given what it declares to pass through."""
    name = base_name(operator)
    declared = {base_name(one) for one in passthrough} & set(PASSTHROUGH)
    families = {
        "matmul": {"mm", "bmm", "addmm", "baddbmm"},
        "linear": {"mm", "addmm", "t", "linear"},
        "convolution": {"convolution"},
    }
    for one in tuple(declared):
        declared |= families.get(one, set())
    return name in _ALLOWED or name in declared
