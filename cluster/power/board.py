"""What a GPU board used between two instants, from the readings of its sensor."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from joulegrid.cluster.power.energy import Energy, Scope, Source, unknown
from joulegrid.cluster.power.readings import Reading, Ring, ring_size
from joulegrid.cluster.power.series import (
    MARGIN_NS,
    STALL_S,
    Bounds,
    Sample,
    UnreadError,
    counted_energy,
    integrated_energy,
    ticks_seen,
)

if TYPE_CHECKING:
    from joulegrid.cluster.power.nvml import Condition

USUAL_TICK_S = 0.1  # counter and power are published about every 100 ms on data-centre boards
SLOWEST_TICK_S = 1.0
CONDITION_PERIOD_NS = 1_000_000_000


class Board:
    """One GPU board: keeps two hours of its sensor's readings and answers for windows inside them."""

    scope: Scope = "gpu_board"

    def __init__(self, device: str, name: str, period_s: float) -> None:
        self.device = device
        self.name = name
        self._readings: Ring[Reading] = Ring(ring_size(period_s))
        self.conditions: Ring[Condition] = Ring(ring_size(CONDITION_PERIOD_NS / 1e9))

    def append(self, reading: Reading) -> None:
        """Take the newest reading of the board's sensor."""
        self._readings.append(reading)

    def sources(self) -> list[Source]:
        """What the newest reading could give: `counter`, `instant_integral`, both or neither."""
        last = self._readings.last()
        return sources_of(last) if last else []

    def readings(self, t0_ns: int, t1_ns: int) -> list[Reading]:
        """What was read between two instants."""
        return self._readings.between(t0_ns, t1_ns)

    def covers(self, t_ns: int) -> bool:
        """Whether the counter ticked at or after `t_ns`, or cannot tick any more."""
        last = self._readings.last()
        if last is None or last.t_ns < t_ns:
            return False
        recent = self._readings.between(t_ns - CONDITION_PERIOD_NS, last.t_ns)
        return not last.counter_j or any(tick.t_ns >= t_ns for tick in ticks_seen(recent))

    def patience_s(self, period_s: float) -> float:
        """Three periods and two ticks: 0.35 s at the usual 100 ms tick and 50 ms period."""
        return 3 * period_s + 2 * self._tick_s()

    def energy(self, t0_ns: int, t1_ns: int) -> Energy:
        """Joules between two instants from the counter, else from instant power, else null with both reasons."""
        try:
            return self._energy("counter", self._counted(t0_ns, t1_ns), "edges between two ticks of the counter")
        except UnreadError as error:
            return self.integral(t0_ns, t1_ns, str(error))

    def integral(self, t0_ns: int, t1_ns: int, why: str) -> Energy:
        """Joules from instant power alone; `why` says why not from the counter."""
        readings = self._near(t0_ns, t1_ns)
        try:
            bounds = integrated_energy(readings, t0_ns, t1_ns, self._tick_s())
        except UnreadError as error:
            trouble = next((reading.trouble for reading in reversed(readings) if reading.trouble), None)
            reasons = [f"counter: {why}", f"power: {error}", *([trouble] if trouble else [])]
            return unknown("; ".join(reasons), device=self.device, scope=self.scope)
        return self._energy(
            "instant_integral",
            bounds,
            f"integral of instant power because {why}; edges as old as one publication; a board that averages only a "
            "part of each publication interval can be off by more",
        )

    def series(self, t0_ns: int, t1_ns: int) -> list[Sample]:
        """Instant power as read; where the board gives none, mean power between ticks of the counter."""
        readings = self._near(t0_ns, t1_ns)
        points: list[tuple[int, float]] = [(r.t_ns, r.power_w) for r in readings if r.power_w is not None]
        source: Source = "instant_integral"
        if not points:
            source = "counter"
            points = [
                (now.t_ns, (now.counter_j - then.counter_j) / ((now.t_ns - then.t_ns) / 1e9))
                for then, now in pairwise(ticks_seen(readings))
                if now.counter_j > then.counter_j
            ]
        return [
            Sample(t_ns, self.device, power_w, source, "measured", self.scope)
            for t_ns, power_w in points
            if t0_ns <= t_ns <= t1_ns
        ]

    def _counted(self, t0_ns: int, t1_ns: int) -> Bounds:
        readings = self._near(t0_ns, t1_ns)
        values = [reading.counter_j for reading in readings if reading.counter_j is not None]
        if not values:
            raise UnreadError("the energy counter is not readable")
        if not any(values):
            raise UnreadError("the energy counter stays at zero")
        return counted_energy(ticks_seen(readings), t0_ns, t1_ns, STALL_S)

    def _energy(self, source: Source, bounds: Bounds, words: str) -> Energy:
        return Energy(
            energy_j=bounds.energy_j,
            low_j=bounds.low_j,
            high_j=bounds.high_j,
            source=source,
            provenance="measured",
            scope=self.scope,
            device=self.device,
            interval=f"{words}; sensor accuracy (±5 % in NVIDIA's documentation) not included",
        )

    def _near(self, t0_ns: int, t1_ns: int) -> list[Reading]:
        return self._readings.between(t0_ns - MARGIN_NS, t1_ns + MARGIN_NS)

    def _tick_s(self) -> float:
        last = self._readings.last()
        recent = self._readings.between(last.t_ns - MARGIN_NS, last.t_ns) if last else []
        steps_s = [(now.t_ns - then.t_ns) / 1e9 for then, now in pairwise(ticks_seen(recent))]
        return min(median(steps_s), SLOWEST_TICK_S) if steps_s else USUAL_TICK_S


def sources_of(reading: Reading) -> list[Source]:
    """What a reading could give: `counter`, `instant_integral`, both or neither."""
    found: list[Source] = ["counter"] if reading.counter_j else []  # a counter at zero is no counter
    return [*found, "instant_integral"] if reading.power_w else found
