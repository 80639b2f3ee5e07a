"""The joules between two instants that can be read off a series of readings.

Pure arithmetic: no hardware, no threads of its own, no file. Times are `time.monotonic_ns()` of the node. The
estimators are deliberately plain (linear between counter ticks, hold between power readings); their intervals cover
the *edges* of the window alone. The sensor's own accuracy (±5 % in NVIDIA's documentation) is not in them.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Energy, Provenance, Scope, Source
    from joulegrid.cluster.power.readings import Reading

MARGIN_NS = 3_000_000_000  # readings looked at on either side of a window; the slowest counter ticks once a second
STALL_S = 1.5  # longer without a tick or a reading is a stall: NVIDIA's driver polls at most 1,000 ms apart


class UnreadError(Exception):
    """Why a device has no energy for a window; its text becomes `Energy.reason`. Never leaves this package."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Power of one device at one instant, with the words that stay on every figure made from it."""

    t_ns: int
    """`time.monotonic_ns()` of the node."""
    device: str
    power_w: float
    source: Source
    provenance: Provenance
    scope: Scope


@dataclass(frozen=True, slots=True)
class Tick:
    """A point of a cumulative counter: joules at an instant."""

    t_ns: int
    counter_j: float
    off_ns: int = 0
    """How far the true instant may be away, either way."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Joules of a window with the interval that its edges allow."""

    energy_j: float
    low_j: float
    high_j: float


class Device(Protocol):
    """What is known of one sensor's device: readings come in, answers about windows go out."""

    device: str
    scope: Scope

    def append(self, reading: Reading) -> None:
        """Take the newest reading of its sensor."""
        ...

    def readings(self, t0_ns: int, t1_ns: int) -> list[Reading]:
        """What was read between two instants."""
        ...

    def covers(self, t_ns: int) -> bool:
        """Whether nothing more is to be waited for to answer about a window that ends at `t_ns`."""
        ...

    def patience_s(self, period_s: float) -> float:
        """How long after a window's end its last reading may still come."""
        ...

    def energy(self, t0_ns: int, t1_ns: int) -> Energy:
        """Joules between two instants, or null with the reason."""
        ...

    def series(self, t0_ns: int, t1_ns: int) -> list[Sample]:
        """Power between two instants."""
        ...


def ticks_seen(readings: list[Reading]) -> list[Tick]:
    """Changes of a slow counter, each put midway between the last look at the old value and the first at the new one.

    The tick lies somewhere between these two looks, so the middle is off by half a period at most and not biased.
    """
    counted = [(reading.t_ns, reading.counter_j) for reading in readings if reading.counter_j is not None]
    return [
        Tick((t0_ns + t1_ns) // 2, now, (t1_ns - t0_ns) // 2)
        for (t0_ns, before), (t1_ns, now) in pairwise(counted)
        if now != before
    ]


def counted_energy(ticks: list[Tick], t0_ns: int, t1_ns: int, longest_s: float) -> Bounds:
    """Joules of a cumulative counter between two instants, linear between the ticks around each edge.

    The interval is half a tick interval times the highest power next to it, for each edge: a quarter is the most
    that a step of power inside it can do to a straight line, the rest is for not knowing when exactly it ticked (more
    where readings were missed). Both edges are added, not combined in quadrature: with a load that starts at t0 and
    ends at t1 both errors have the same sign. Raises
    `UnreadError` if a tick is missing on either side, went backwards, or came later than `longest_s` after another.
    """
    used = _around(ticks, t0_ns, t1_ns)
    if any(after.counter_j < before.counter_j for before, after in pairwise(used)):
        raise UnreadError("the energy counter went backwards")
    pause_s = max(after.t_ns - before.t_ns for before, after in pairwise(used)) / 1e9
    if pause_s > longest_s:
        raise UnreadError(f"the energy counter had no new value for {pause_s:.1f} s")
    start_j, start_u_j = _edge(ticks, t0_ns)
    end_j, end_u_j = _edge(ticks, t1_ns)
    energy_j, u_j = end_j - start_j, start_u_j + end_u_j
    return Bounds(energy_j, max(0.0, energy_j - u_j), energy_j + u_j)


def integrated_energy(readings: list[Reading], t0_ns: int, t1_ns: int, lag_s: float) -> Bounds:
    """Joules from power readings: each one holds for the time since the reading before it.

    A driver publishes power for an interval that has *ended*, hence the hold backwards. `lag_s` is how old a
    published value may be; the interval is that lag plus one reading interval, times the highest power near the
    edge, for each edge. Raises `UnreadError` where readings are missing or the power reads 0 W throughout.
    """
    powered = [(reading.t_ns, reading.power_w) for reading in readings if reading.power_w is not None]
    energy_j, covered_ns, widest_ns = 0.0, 0, 0
    for (before_ns, _), (after_ns, power_w) in pairwise(powered):
        held_ns = min(after_ns, t1_ns) - max(before_ns, t0_ns)
        if held_ns > 0:
            energy_j += power_w * held_ns / 1e9
            covered_ns += held_ns
            widest_ns = max(widest_ns, after_ns - before_ns)
    if covered_ns < t1_ns - t0_ns:
        raise UnreadError("no power reading for a part of the window")
    if widest_ns > STALL_S * 1e9:
        raise UnreadError(f"no power reading for {widest_ns / 1e9:.1f} s inside the window")
    if energy_j <= 0.0:
        raise UnreadError("the power reading stays at 0 W")
    reach_ns = int(lag_s * 1e9) + widest_ns
    u_j = sum(_highest_near(powered, edge_ns, reach_ns) for edge_ns in (t0_ns, t1_ns)) * reach_ns / 1e9
    return Bounds(energy_j, max(0.0, energy_j - u_j), energy_j + u_j)


def _around(ticks: list[Tick], t0_ns: int, t1_ns: int) -> list[Tick]:
    first = bisect_right(ticks, t0_ns, key=_time) - 1
    last = next((i for i, tick in enumerate(ticks) if tick.t_ns >= t1_ns), None)
    if first < 0:
        raise UnreadError("no tick of the energy counter is known from before the window (two hours are kept)")
    if last is None:
        raise UnreadError("the energy counter did not advance after the window")
    return ticks[first : last + 1]


def _edge(ticks: list[Tick], t_ns: int) -> tuple[float, float]:
    """Joules of the counter at `t_ns`, and how far off that may be."""
    after = min(bisect_right(ticks, t_ns, key=_time), len(ticks) - 1)
    a, b = ticks[after - 1], ticks[after]
    step_s = (b.t_ns - a.t_ns) / 1e9
    near = ticks[max(0, after - 2) : after + 2]
    # The neighbours' power too: a step late in this interval hardly shows in its own mean.
    highest_w = max((y.counter_j - x.counter_j) / ((y.t_ns - x.t_ns) / 1e9) for x, y in pairwise(near))
    joules = a.counter_j + (b.counter_j - a.counter_j) * (t_ns - a.t_ns) / (b.t_ns - a.t_ns)
    return joules, highest_w * max(step_s / 2, step_s / 4 + max(a.off_ns, b.off_ns) / 1e9)


def _highest_near(powered: list[tuple[int, float]], edge_ns: int, reach_ns: int) -> float:
    near = [power_w for t_ns, power_w in powered if abs(t_ns - edge_ns) <= 2 * reach_ns]
    return max(near, default=max(power_w for _, power_w in powered))


def _time(tick: Tick) -> int:
    return tick.t_ns
