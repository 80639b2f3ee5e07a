"""The least time of a call on this machine: bytes that must move, operations that must be made. Physics, no ratio.

    floor = max(bytes that no cache can hold / measured bandwidth, operations / measured peak)

The bytes are the case's own formula or the sizes of its tensors, whichever is less; what may lie in the last-level
cache is not charged at all: weights, which every call reads again, and once for a whole series what the cache held
at its start and may still hold at its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from joulegrid.kernels.problem import Dims, Problem
from joulegrid.kernels.timing.roofs import Roofs

MARGIN = 0.8
"""A call is impossible below this share of the floor: measured roofs are less than what a device could do."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one call touches, and how many calls a series has."""

    inputs: int
    weights: int
    outputs: int
    calls: int

    @property
    def total(self) -> int:
        """Bytes of one call."""
        return self.inputs + self.weights + self.outputs


class Floor(BaseModel):
    """The least time of a call, and what it is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    seconds: float
    """No call can be shorter, at the roofs that were measured."""
    bound: Literal["memory", "arithmetic"]
    """Which of the two is larger."""
    bytes_moved: int
    """Least bytes of a call."""
    credited_bytes: int
    """Of these, what the cache may hold; not charged. All of them where the size of the cache is unknown."""
    flops: int
    """Operations of a call, by the case's formula."""
    margin: float = MARGIN
    """A call below this share of `seconds` is refused."""
    roofs: Roofs
    """What the machine was measured to do."""

    def impossible(self, call_s: float) -> bool:
        """Tell whether no kernel on this machine could take so little time."""
        return call_s < self.margin * self.seconds

    def share(self, call_s: float) -> float:
        """Return the floor as a share of a call's time: 1 is all that the machine can do."""
        return self.seconds / call_s


def physical_floor(problem: Problem, dims: Dims, dtype: str, footprint: Footprint, roofs: Roofs) -> Floor:
    """Return the floor of a problem's call for these dims."""
    moved = min(problem.bytes_moved(dims, dtype), footprint.total)
    credit = _credit(moved, footprint, roofs.cache_bytes)
    memory_s = (moved - credit) / roofs.bytes_per_s
    arithmetic_s = problem.flops(dims) / roofs.peak(dtype)
    return Floor(
        seconds=max(memory_s, arithmetic_s),
        bound="memory" if memory_s >= arithmetic_s else "arithmetic",
        bytes_moved=moved,
        credited_bytes=credit,
        flops=problem.flops(dims),
        roofs=roofs,
    )


def _credit(moved: int, footprint: Footprint, cache: int | None) -> int:
    if cache is None:
        return moved
    return min(moved, min(footprint.weights, cache) + 2 * cache // footprint.calls)
