"""What a GPU board used between two instants, from the readings of its sensor."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from joulegrid.cluster.power.energy import Energy, Scope, Source, unknown
from joulegrid.cluster.power.estimate.known import NOTHING, Known
from joulegrid.cluster.power.estimate.looks import brackets_of
from joulegrid.cluster.power.estimate.ticks import period_of
from joulegrid.cluster.power.estimate.window import Answer, answer, integral_answer
from joulegrid.cluster.power.sensors.readings import Reading, Ring, ring_size
from joulegrid.cluster.power.sensors.series import MARGIN_NS, Sample, UnreadError

if TYPE_CHECKING:
    from joulegrid.cluster.power.sensors.nvml import Condition

USUAL_TICK_S = 0.1  # counter and power are published about every 100 ms on data-centre boards
SLOWEST_TICK_S = 1.0
CONDITION_PERIOD_NS = 1_000_000_000
TICKS_AFTER = 4
"""Ticks behind a window from which the power at its end is fitted: the end of the divided interval, and three more."""
LEAST_AFTER_S = 0.6
SURE = 10.0
"""Log odds over several windows from which a sensor's tail is called decay or lag; one window gives 6 at most."""
VENDOR_ACCURACY = 0.05
"""NVML's documentation of its power readings, given for the boards of its time and not withdrawn since."""


class Board:
    """One GPU board: keeps two hours of its sensor's readings and answers for windows inside them."""

    scope: Scope = "gpu_board"

    def __init__(self, device: str, name: str, period_s: float, known: Known = NOTHING) -> None:
        self.device = device
        self.name = name
        self.known = known
        self._tail_odds = 0.0
        self._seen: deque[tuple[int, int]] = deque(maxlen=64)
        self._learning = threading.Lock()
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
        """Whether the counter ticked often enough after `t_ns` to know the power there, or cannot tick any more."""
        last = self._readings.last()
        if last is None or last.t_ns < t_ns:
            return False
        after = self._readings.between(t_ns, last.t_ns)
        if not last.counter_j:
            return last.t_ns - t_ns >= 1.2 * self._tick_s() * 1e9
        return len(brackets_of(after, t_ns)) >= TICKS_AFTER

    def patience_s(self, period_s: float) -> float:
        """Three periods and the ticks that a tail is fitted to: 0.75 s at the usual 100 ms tick and 50 ms period."""
        return 3 * period_s + max(LEAST_AFTER_S, 2.2 * self._tick_s())

    def energy(self, t0_ns: int, t1_ns: int) -> Energy:
        """Joules between two instants from the counter, else from power, else null with every reason."""
        try:
            found = answer(self._near(t0_ns, t1_ns), t0_ns, t1_ns, self.known)
            self._learn(found, (t0_ns, t1_ns))
            return self._energy(found)
        except UnreadError as error:
            return unknown(str(error), device=self.device, scope=self.scope)

    def integral(self, t0_ns: int, t1_ns: int, why: str) -> Energy:
        """Joules from instant power alone; `why` says why not from the counter."""
        try:
            return self._energy(integral_answer(self._near(t0_ns, t1_ns), t0_ns, t1_ns, self.known, why))
        except UnreadError as error:
            return unknown(str(error), device=self.device, scope=self.scope)

    def series(self, t0_ns: int, t1_ns: int) -> list[Sample]:
        """Instant power as read; where the board gives none, mean power between ticks of the counter."""
        readings = self._near(t0_ns, t1_ns)
        points: list[tuple[int, float]] = [(r.t_ns, r.power_w) for r in readings if r.power_w is not None]
        source: Source = "instant_integral"
        if not points:
            source = "counter"
            points = [
                (t0_ns + round(now.middle_s * 1e9), (now.counter_j - then.counter_j) / (now.middle_s - then.middle_s))
                for then, now in pairwise(brackets_of(readings, t0_ns))
                if now.counter_j > then.counter_j
            ]
        return [
            Sample(t_ns, self.device, power_w, source, "measured", self.scope)
            for t_ns, power_w in points
            if t0_ns <= t_ns <= t1_ns
        ]

    def _learn(self, found: Answer, window: tuple[int, int]) -> None:
        """Keep what a window showed of the sensor: later ones need not find it out again. No window counts twice."""
        with self._learning:
            if window in self._seen or found.source != "counter":
                return
            self._seen.append(window)
            self._tail_odds = max(-SURE, min(SURE, self._tail_odds + found.log_odds))
            tail = self.known.tail
            if tail == "undecided" and abs(self._tail_odds) >= SURE:
                tail = "lag" if self._tail_odds > 0 else "decay"
            proven = True if found.proven and self.known.integrates is None else self.known.integrates
            period_s = None if found.drifted else self.known.counter_period_s
            self.known = replace(self.known, tail=tail, integrates=proven, counter_period_s=period_s)

    def _energy(self, found: Answer) -> Energy:
        return Energy(
            energy_j=found.bounds.energy_j,
            low_j=found.bounds.low_j,
            high_j=found.bounds.high_j,
            source=found.source,
            provenance="measured",
            scope=self.scope,
            device=self.device,
            interval=f"{found.words}; sensor accuracy (±5 % in NVIDIA's documentation) not included",
            systematic=VENDOR_ACCURACY,
            flags=tuple(sorted(found.flags)),
            cross_check=found.check,
        )

    def _near(self, t0_ns: int, t1_ns: int) -> list[Reading]:
        return self._readings.between(t0_ns - MARGIN_NS, t1_ns + MARGIN_NS)

    def _tick_s(self) -> float:
        if self.known.counter_period_s:
            return self.known.counter_period_s
        last = self._readings.last()
        recent = self._readings.between(last.t_ns - MARGIN_NS, last.t_ns) if last else []
        period = period_of(brackets_of(recent, 0))
        return min(period.seconds if period else USUAL_TICK_S, SLOWEST_TICK_S)


def sources_of(reading: Reading) -> list[Source]:
    """What a reading could give: `counter`, `instant_integral`, both or neither."""
    found: list[Source] = ["counter"] if reading.counter_j else []  # a counter at zero is no counter
    return [*found, "instant_integral"] if reading.power_w else found
