"""Joules over the cycles of one experiment, with their uncertainty in parts: repeats, edges, baseline, sensor.

The parts are 95 % intervals and have different causes, so they stand apart; `half_width` puts repeats, edges and
baseline together in quadrature. The spread of the cycles already holds the edges' random share, so the whole is
rather too wide than too narrow. The sensor's own accuracy is common to all windows of a card and is never mixed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from joulegrid.jobs.report.statistic import Running, Statistic

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Energy, Flag, Net

COMMON: frozenset[Flag] = frozenset({"tail_undecided", "aliasing", "counter_distrusted", "power_stalled"})
"""Flags whose cause lies in the sensor and is the same in every cycle: repeating does not shrink such an edge."""


class EnergyStatistic(Statistic):
    """Joules over the cycles, with what the source itself states about each value."""

    stated_low: float | None = None
    """Mean of the lower ends that the source states; null unless every repetition has one."""
    stated_high: float | None = None
    """Mean of the upper ends."""
    edges_low: float | None = None
    """Lower end of the mean's 95 % interval by the windows' edges alone: independent between cycles and shrinking
    with the root of n, but for edges with a cause that all cycles share. Null for a model, and unless every
    repetition has one."""
    edges_high: float | None = None
    """Upper end of the same."""
    systematic: float | None = None
    """The sensor's own accuracy as a fraction of the mean (0.05), common to all windows of one card; null where the
    sensor's maker states none, and for a model."""

    @property
    def repeats(self) -> float | None:
        """Half the width of the t interval over the cycles; `None` for one cycle."""
        return None if self.high is None else self.high - self.mean

    @property
    def edges(self) -> float | None:
        """Half the width of the edges' interval; `None` where it is unknown."""
        return _half(self.edges_low, self.edges_high)

    @property
    def half_width(self) -> float | None:
        """All parts that are known but the sensor's, in quadrature; `None` where none is."""
        return _quadrature([self.repeats, self.edges])

    @property
    def known_parts(self) -> tuple[str, ...]:
        """Which parts `half_width` is made of, e.g. `("repeats", "edges")`."""
        named = {"repeats": self.repeats, "edges": self.edges}
        return tuple(name for name, half in named.items() if half is not None)


class NetStatistic(EnergyStatistic):
    """Joules above an idle baseline over the cycles; never clamped at 0."""

    baseline_low: float | None = None
    """Lower end of the mean's 95 % interval by the baseline's power alone, taken as common to the cycles."""
    baseline_high: float | None = None
    """Upper end."""
    baseline_power_w: float
    """Mean power of the baseline in watts."""

    @property
    def baseline(self) -> float | None:
        """Half the width of the baseline's interval in joules."""
        return _half(self.baseline_low, self.baseline_high)

    @property
    def half_width(self) -> float | None:
        """Repeats, edges and baseline in quadrature, as far as they are known."""
        return _quadrature([self.repeats, self.edges, self.baseline])

    @property
    def known_parts(self) -> tuple[str, ...]:
        """Which parts `half_width` is made of."""
        known = super().known_parts
        return known if self.baseline is None else (*known, "baseline")


@dataclass(slots=True)
class Edges:
    """The windows' intervals of a stream of energies, as the interval of their mean."""

    n: int = 0
    squares: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """Squared distances of the lower and of the upper ends, where cycles are independent."""
    shared: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """Sums of the distances, where they share a cause."""

    def add(self, below: float, above: float, *, common: bool) -> None:
        """Take the distances of one value's ends from it."""
        self.n += 1
        for at, distance in enumerate((max(0.0, below), max(0.0, above))):
            if common:
                self.shared[at] += distance
            else:
                self.squares[at] += distance**2

    def distances(self) -> tuple[float, float]:
        """Return how far the ends lie from the mean of all values taken."""
        below, above = (
            math.hypot(math.sqrt(square), shared) / self.n
            for square, shared in zip(self.squares, self.shared, strict=True)
        )
        return below, above


@dataclass(slots=True)
class RunningEnergy:
    """A `Running` of joules, of the interval's ends that came with them, and of their edges."""

    value: Running = field(default_factory=Running)
    low: Running = field(default_factory=Running)
    high: Running = field(default_factory=Running)
    edges: Edges = field(default_factory=Edges)
    systematic: list[float | None] = field(default_factory=list)
    """The different accuracies that were met."""

    @classmethod
    def empty(cls) -> RunningEnergy:
        """Return one that has seen nothing."""
        return cls()

    def add(self, energy_j: float | None, low_j: float | None, high_j: float | None, of: Energy | None = None) -> None:
        """Take one energy in joules, whole or for one unit of work; an unknown one does not count.

        `of` is the window's energy that the number was made of: without it nothing is known of edges and sensor.
        """
        if energy_j is None:
            return
        self.value.add(energy_j)
        for running, end_j in ((self.low, low_j), (self.high, high_j)):
            if end_j is not None:
                running.add(end_j)
        if of is not None and of.provenance != "modelled" and low_j is not None and high_j is not None:
            self.edges.add(energy_j - low_j, high_j - energy_j, common=shares_a_cause(of))
        accuracy = None if of is None else of.systematic
        if accuracy not in self.systematic:
            self.systematic.append(accuracy)

    def statistic(self, unit: str) -> EnergyStatistic | None:
        """Return what was seen so far, `None` where no energy is known."""
        seen = self.value.statistic(unit)
        if seen is None:
            return None
        ends: dict[str, float | None] = {"systematic": self._systematic()}
        if self.low.n == self.high.n == seen.n:
            ends |= {"stated_low": self.low.mean, "stated_high": self.high.mean}
        if self.edges.n == seen.n:
            below, above = self.edges.distances()
            ends |= {"edges_low": seen.mean - below, "edges_high": seen.mean + above}
        return EnergyStatistic(**seen.model_dump(), **ends)

    def _systematic(self) -> float | None:
        """The least accurate of the sensors; unknown where one of them states nothing."""
        known = [one for one in self.systematic if one is not None]
        return max(known) if known and len(known) == len(self.systematic) else None


@dataclass(slots=True)
class RunningNet:
    """Joules above one baseline."""

    energy: RunningEnergy = field(default_factory=RunningEnergy)
    baseline: Running = field(default_factory=Running)
    """Half-widths in joules."""
    power: Running = field(default_factory=Running)

    def add(self, energy: Energy, net: Net, seconds: float) -> None:
        """Take the net of one window; its edges are those of the gross energy."""
        shift = net.energy_adjusted_j - (energy.energy_j or 0.0)
        ends = [None if end_j is None else end_j + shift for end_j in (energy.low_j, energy.high_j)]
        self.energy.add(net.energy_adjusted_j, ends[0], ends[1], energy)
        self.baseline.add(net.baseline_u_w * seconds)
        self.power.add(net.baseline_power_w)

    def statistic(self) -> NetStatistic | None:
        """Return what was seen so far."""
        seen = self.energy.statistic("J")
        if seen is None:
            return None
        half = self.baseline.mean
        ends = {
            "baseline_low": seen.mean - half,
            "baseline_high": seen.mean + half,
            "baseline_power_w": self.power.mean,
        }
        return NetStatistic(**{**seen.model_dump(), "stated_low": None, "stated_high": None}, **ends)


def shares_a_cause(energy: Energy) -> bool:
    """Whether the window's edges are uncertain for a cause that every cycle shares."""
    return not COMMON.isdisjoint(energy.flags)


def _half(low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None else (high - low) / 2


def _quadrature(parts: list[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return math.hypot(*known) if known else None
