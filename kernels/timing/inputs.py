"""Inputs that no timed call has seen before: drawn from the system's entropy just before a series begins.

Drawing costs about as much as a light kernel's call. Where a series needs more numbers than the budget allows, a few
sets are drawn and the others derived from them: rows shuffled and rolled along the last dimension, which keeps every
domain (rows that sum to one, labels, masks) and leaves no row as it was. How many were drawn stands in the result.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from joulegrid.kernels.draw import Draw, agent_provide_inputs
from joulegrid.kernels.module import flat_tensors, map_tensors
from joulegrid.kernels.problem import Arguments, Problem

NUMBERS_DRAWN = 2_000_000
"""Numbers drawn for one series at most: some 20 ms."""
NUMBERS_ON_GPU = 4_000_000_000
"""The same where the device draws them itself."""


@dataclass(frozen=True, slots=True)
class InputSet:
    """The arguments of one call, and what they can be made from again."""

    arguments: Arguments
    seed: int
    """Of the draw."""
    turn: int | None = None
    """Of the shuffling and rolling; `None`: as drawn."""


def fresh_inputs(problem: Problem, draw: Draw, count: int, numbers: int | None = None) -> list[InputSet]:
    """Return this many sets that never existed before; everything but the seed is taken from `draw`.

    At most so many `numbers` are drawn; on a GPU the device itself draws them.
    """
    if draw.device == "cuda":
        draw = replace(draw, made_there=True)
    numbers = numbers or (NUMBERS_ON_GPU if draw.made_there else NUMBERS_DRAWN)
    first = _drawn(problem, draw)
    size = max(1, sum(tensor.numel() for tensor in flat_tensors(tuple_of(first.arguments))))
    drawn = min(count, max(1, numbers // size))
    sets = [first, *(_drawn(problem, draw) for _ in range(drawn - 1))]
    return sets + [_turned(sets[place % drawn]) for place in range(count - drawn)]


def turned(sets: Sequence[InputSet]) -> list[InputSet]:
    """Return other inputs that are derived from these."""
    return [_turned(one) for one in sets]


def input_bytes(arguments: Arguments) -> int:
    """Return the bytes of all tensors among the arguments."""
    return sum(tensor.numel() * tensor.element_size() for tensor in flat_tensors(tuple_of(arguments)))


def tuple_of(arguments: Arguments) -> list[Any]:
    """Return the arguments as a tree that a walk understands."""
    return [list(arguments.args), dict(arguments.kwargs)]


def _drawn(problem: Problem, draw: Draw) -> InputSet:
    seed = secrets.randbits(62)
    return InputSet(agent_provide_inputs(problem, replace(draw, seed=seed)), seed)


def _turned(base: InputSet) -> InputSet:
    import torch

    turn = secrets.randbits(62)
    generator = torch.Generator().manual_seed(turn)
    return InputSet(map_tensors(base.arguments, lambda tensor: _turned_tensor(tensor, generator)), base.seed, turn)


def _turned_tensor(tensor: Any, generator: Any) -> Any:
    """Shuffle rows and roll them by at least one place; strides become those of a contiguous tensor."""
    import torch

    if not tensor.numel() or not tensor.dim():
        return tensor
    width = tensor.shape[-1]
    rows = tensor.reshape(-1, width)
    order = torch.randperm(rows.shape[0], generator=generator).to(tensor.device)
    shift = int(torch.randint(1, max(2, width), (), generator=generator))
    return rows[order].roll(shift, -1).reshape(tensor.shape)
