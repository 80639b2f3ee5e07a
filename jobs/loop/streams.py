"""Which lane makes which visits: one stream a lane, so that order and balance hold on every device. Pure.

Whole cycles go to one lane after the other as long as every lane gets as many. The visits of the cycles that are left
are spread so that an experiment meets another device in each. A lane that has nothing left takes from the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import filterfalse, islice

from joulegrid.jobs.plan.order import LATIN_SQUARE_LIMIT, Order, williams_rows
from joulegrid.jobs.state.states import At

FIRST_BLOCK, LARGEST_BLOCK = 8, 256
"""Visits. Each block costs one durable write and, at a resume, one look for each marker: they grow by doubling."""

Reserve = Callable[[Sequence[At]], object]
"""Makes it durable that these visits are about to be handed out."""


@dataclass
class Streams:
    """The visits of a grid, divided among the lanes that a run begins with."""

    order: Order
    lanes: Sequence[str]
    is_final: Callable[[At], bool]
    reserve: Reserve
    _streams: dict[str, Iterator[At]] = field(init=False)
    _blocks: dict[str, deque[At]] = field(init=False)
    _sizes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lanes = list(self.lanes) or [""]
        self._streams = {lane: lane_stream(self.order, number, len(lanes)) for number, lane in enumerate(lanes)}
        self._blocks = {lane: deque() for lane in lanes}

    def take(self, lane: str) -> At | None:
        """Return the lane's next visit, its own or another's; `None` when none is left anywhere."""
        if lane in self._blocks and self._filled(lane):
            return self._blocks[lane].popleft()
        for other in self._blocks:
            if self._filled(other):
                return self._blocks[other].pop()  # from the end: what comes next there keeps its place
        return None

    def _filled(self, lane: str) -> bool:
        """Whether the lane has something left; a new block of it is reserved first."""
        if self._blocks[lane]:
            return True
        size = min(LARGEST_BLOCK, self._sizes.get(lane, FIRST_BLOCK // 2) * 2)
        block = list(islice(filterfalse(self.is_final, self._streams[lane]), size))
        if block:
            self.reserve(block)
            self._blocks[lane].extend(block)
            self._sizes[lane] = size
        return bool(block)


def lane_stream(order: Order, number: int, n_lanes: int) -> Iterator[At]:
    """Yield the visits of one of `n_lanes` lanes; together the lanes make every visit exactly once."""
    if order.kind == "sequential":
        for index in range(order.n):
            yield from ((index, cycle) for cycle in range(order.n_cycles) if (index + cycle) % n_lanes == number)
        return
    whole = order.n_cycles - order.n_cycles % n_lanes
    for nth, cycle in enumerate(range(number, whole, n_lanes)):
        row = nth if order.kind == "latin_square" else cycle  # each lane works through the rows of the design itself
        yield from ((index, cycle) for index in order.row(row))
    for cycle in range(whole, order.n_cycles):
        yield from ((index, cycle) for index in order.row(cycle) if (index + cycle) % n_lanes == number)


def balance_note(order: Order, n_lanes: int) -> str | None:
    """Say where the cycles do not complete Williams' balance on every lane; one lane's is the order's own note."""
    if order.kind != "latin_square" or order.n > LATIN_SQUARE_LIMIT or n_lanes < 2:
        return None
    rows = williams_rows(order.n) * n_lanes
    if order.n_cycles % rows == 0:
        return None
    return f"latin_square: {order.n_cycles} cycles do not complete a balance on {n_lanes} lanes; {rows} would"
