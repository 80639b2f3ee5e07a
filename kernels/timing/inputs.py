"""Inputs that no timed call has seen before: drawn from the system's entropy just before a series begins.

Drawing in double precision costs more than a light kernel's call. Where a series needs more numbers than the budget
allows, a few sets are drawn and the others derived from them: tensors of plain normal numbers get new ones in single
precision; of all others rows are shuffled and rolled along the last dimension, which keeps every domain (rows that sum
to one, labels, masks) and leaves no row as it was.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from joulegrid.kernels.distributions import DISTRIBUTIONS
from joulegrid.kernels.draw import Draw, agent_provide_inputs, agent_provide_weights
from joulegrid.kernels.module import flat_tensors, with_tensors
from joulegrid.kernels.problem import Arguments, Problem, TensorSpec

NUMBERS_DRAWN = 2_000_000
"""Numbers drawn for one series at most: some 20 ms."""


@dataclass(frozen=True, slots=True)
class InputSet:
    """The arguments of one call, and what they can be made from again."""

    arguments: Arguments
    seed: int
    """Of the draw."""
    turn: int | None = None
    """Of what was derived; `None`: as drawn."""
    distribution: str = "normal"


def fresh_inputs(problem: Problem, draw: Draw, count: int, numbers: int = NUMBERS_DRAWN) -> list[InputSet]:
    """Return this many sets that never existed before; everything but the seed is taken from `draw`."""
    first = _drawn(problem, draw)
    size = max(1, sum(tensor.numel() for tensor in flat_tensors(tuple_of(first.arguments))))
    drawn = min(count, max(1, numbers // size))
    sets = [first, *(_drawn(problem, draw) for _ in range(drawn - 1))]
    return sets + turned(problem, [sets[place % drawn] for place in range(count - drawn)])


def odd_inputs(problem: Problem, draw: Draw, kinds: Sequence[str]) -> list[InputSet]:
    """Return a set of each of these kinds."""
    return [_drawn(problem, replace(draw, distribution=kind)) for kind in kinds]


def odd_kinds(draw: Draw, process: int, count: int) -> list[str]:
    """Return so many kinds of inputs, other ones than those that are timed; over the processes all have their turn.

    Their order follows from the draw's seed, which comes from the system's entropy.
    """
    kinds = sorted(DISTRIBUTIONS.keys() - {draw.distribution})
    random.Random(draw.seed).shuffle(kinds)  # noqa: S311 - seeded from the system's entropy
    return [kinds[(process * count + place) % len(kinds)] for place in range(min(count, len(kinds)))]


def turned(problem: Problem, sets: Sequence[InputSet]) -> list[InputSet]:
    """Return other inputs that are derived from these."""
    scales = plain_scales(problem)
    return [_turned(one, scales) for one in sets]


def plain_scales(problem: Problem) -> list[float | None]:
    """Return for each input tensor the scale of its plain normal numbers; `None` where it holds anything else."""
    specs = _specs([list(problem.inputs.args), dict(problem.inputs.kwargs)])
    return [
        spec.scale if plain and spec.domain == "real" and spec.dtype in {"case", "fp32"} else None
        for spec in specs
        for plain in (not spec.distributions or "normal" in spec.distributions,)
    ]


def turned_weights(problem: Problem, draw: Draw, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return other weights: all of them, or as often a single row of each tensor.

    Who keeps what follows from weights must look at all of them to know. A case's own provider is asked for all.
    """
    if problem.weights.provider is None and sum(value.numel() for value in state.values()) > NUMBERS_DRAWN:
        fresh = {name: _turned_weight(problem, name, value) for name, value in state.items()}
    else:
        fresh = agent_provide_weights(problem, replace(draw, seed=secrets.randbits(62)), state)
    if problem.weights.provider is not None or secrets.randbits(1):
        return fresh
    return {name: _one_row(state[name], value) for name, value in fresh.items()}


def input_bytes(arguments: Arguments) -> int:
    """Return the bytes of all tensors among the arguments."""
    return sum(tensor.numel() * tensor.element_size() for tensor in flat_tensors(tuple_of(arguments)))


def tuple_of(arguments: Arguments) -> list[Any]:
    """Return the arguments as a tree that a walk understands."""
    return [list(arguments.args), dict(arguments.kwargs)]


def _drawn(problem: Problem, draw: Draw) -> InputSet:
    seed = secrets.randbits(62)
    return InputSet(agent_provide_inputs(problem, replace(draw, seed=seed)), seed, distribution=draw.distribution)


def _specs(node: Any) -> list[TensorSpec]:
    """The tensors of an input tree in the order of a walk."""
    if isinstance(node, TensorSpec):
        return [node]
    items = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    return [spec for item in items for spec in _specs(item)]


def _turned_weight(problem: Problem, name: str, value: Any) -> Any:
    """A large weight with its rows shuffled; what the constructor made stays."""
    kept = not value.is_floating_point() or any(fnmatchcase(name, pattern) for pattern in problem.weights.keep)
    return value if kept else _turned_tensor(value, secrets.randbits(62), None)


def _one_row(tensor: Any, fresh: Any) -> Any:
    """The tensor with one row of another, of a vector one number."""
    changed = tensor.clone()
    rows, others = (one.reshape(-1, one.shape[-1] if one.dim() > 1 else 1) for one in (changed, fresh))
    if len(rows):
        number = secrets.randbelow(len(rows))
        rows[number] = others[number]
    return rows.reshape(tensor.shape)


def _turned(base: InputSet, scales: Sequence[float | None]) -> InputSet:
    turn = secrets.randbits(62)
    tensors = flat_tensors(tuple_of(base.arguments))
    changed = [_turned_tensor(tensor, turn + place, scales[place]) for place, tensor in enumerate(tensors)]
    return InputSet(with_tensors(base.arguments, changed), base.seed, turn, base.distribution)


def _turned_tensor(tensor: Any, seed: int, scale: float | None) -> Any:
    """Draw plain normal numbers anew; of others shuffle rows and roll them by at least one place. Contiguous."""
    import torch

    if not tensor.numel() or not tensor.dim():
        return tensor
    if scale is not None:
        generator = torch.Generator(tensor.device).manual_seed(seed)
        numbers = torch.randn(tensor.shape, generator=generator, device=tensor.device, dtype=torch.float32)
        return numbers.mul_(scale).to(tensor.dtype)
    generator = torch.Generator().manual_seed(seed)
    width = tensor.shape[-1]
    rows = tensor.reshape(-1, width)
    order = torch.randperm(rows.shape[0], generator=generator).to(tensor.device)
    shift = int(torch.randint(1, max(2, width), (), generator=generator))
    return rows[order].roll(shift, -1).reshape(tensor.shape)
