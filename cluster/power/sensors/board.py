"""What a GPU board used between two instants, from the readings of its sensor."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from joulegrid.cluster.power.energy import Energy, Scope, Source, unknown
from joulegrid.cluster.power.estimate.answer import Answer
from joulegrid.cluster.power.estimate.known import NOTHING, Known, TailVerdict
from joulegrid.cluster.power.estimate.looks import brackets_of
from joulegrid.cluster.power.estimate.ticks import period_of
from joulegrid.cluster.power.estimate.window import answer, integral_answer
from joulegrid.cluster.power.sensors.condition import condition_of
from joulegrid.cluster.power.sensors.late import LateRing
from joulegrid.cluster.power.sensors.raw import reading_of
from joulegrid.cluster.power.sensors.readings import Reading, ring_size
from joulegrid.cluster.power.sensors.series import MARGIN_NS, Sample, UnreadError

if TYPE_CHECKING:
    from collections.abc import Mapping


USUAL_TICK_S = 0.1  # counter and power are published about every 100 ms on data-centre boards
SLOWEST_TICK_S = 1.0
CONDITION_PERIOD_NS = 1_000_000_000
TICKS_AFTER = 4
"""Ticks behind a window from which the power at its end is fitted: the end of the divided interval, and three more."""
LEAST_AFTER_S = 0.6
SURE, MOST = 10.0, 4.0
"""Log odds over several windows from which a sensor's tail is called decay or lag, and what one window adds at most."""
CALIBRATED = 20.0
"""Log odds of what bursts have shown; windows that contradict it may bring it down to nothing."""
MOVED = 0.05
"""Relative change of the SM clock that says that a board began or ceased to work."""
VENDOR_ACCURACY = 0.05
"""NVML's documentation of its power readings, given for the boards of its time and not withdrawn since."""


class Kept(Protocol):
    """What is kept of a board's sensor from run to run."""

    def keep(self, known: Known) -> None:
        """Keep what windows have shown."""
        ...

    def renewed(self) -> Known | None:
        """What is kept, if it has changed since it was last asked for or kept."""
        ...


class Board:
    """One GPU board: keeps two hours of its sensor's readings and answers for windows inside them."""

    scope: Scope = "gpu_board"

    def __init__(self, device: str, name: str, period_s: float, known: Known = NOTHING) -> None:
        self.device = device
        self.name = name
        self.known = known
        self.kept: Kept | None = None
        self._tail_odds = _odds(known.tail)
        self._seen: deque[tuple[int, int]] = deque(maxlen=64)
        self._learning = threading.Lock()
        self.words: Mapping[int, str] = {}
        """NVML's return codes in its own words."""
        self._readings = LateRing(ring_size(period_s), lambda raw: reading_of(raw, self.words))
        self.conditions = LateRing(ring_size(CONDITION_PERIOD_NS / 1e9), condition_of)

    def append(self, reading: Reading) -> None:
        """Take the newest reading of the board's sensor."""
        self._readings.append(reading)

    def append_raw(self, raw: bytes) -> None:
        """Take the newest look at the board as NVML gave it (`joulegrid.cluster.power.sensors.raw`)."""
        self._readings.append(raw)

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
        self._recall()
        readings = self._near(t0_ns, t1_ns)
        if not readings:
            why = "no reading lies near the window; those of the last two hours are kept"
            return unknown(why, device=self.device, scope=self.scope)
        try:
            found = answer(readings, t0_ns, t1_ns, self._known_in(t0_ns, t1_ns))
            self._learn(found, (t0_ns, t1_ns))
            return self._energy(found)
        except UnreadError as error:
            return unknown(str(error), device=self.device, scope=self.scope)

    def integral(self, t0_ns: int, t1_ns: int, why: str) -> Energy:
        """Joules from instant power alone; `why` says why not from the counter."""
        try:
            return self._energy(
                integral_answer(self._near(t0_ns, t1_ns), t0_ns, t1_ns, self._known_in(t0_ns, t1_ns), why)
            )
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
            shown = max(-MOST, min(MOST, found.log_odds))
            self._tail_odds = max(-CALIBRATED, min(CALIBRATED, self._tail_odds + shown))
            proven = True if found.proven and self.known.integrates is None else self.known.integrates
            learnt = replace(self.known, tail=_verdict(self.known.tail, self._tail_odds), integrates=proven)
            if learnt != self.known:
                self.known = learnt
                if self.kept is not None:
                    self.kept.keep(learnt)

    def _recall(self) -> None:
        """Take up a calibration that was made since."""
        with self._learning:
            fresh = self.kept.renewed() if self.kept is not None else None
            if fresh is not None:
                self.known = fresh
                self._tail_odds = _odds(fresh.tail)

    def _known_in(self, t0_ns: int, t1_ns: int) -> Known:
        """What is known of the sensor, and what the conditions say of a window."""
        seen = self.conditions.between(t0_ns - CONDITION_PERIOD_NS, t1_ns + CONDITION_PERIOD_NS)
        limits = [one.enforced_limit_w for one in seen if one.enforced_limit_w]
        busy = [one.utilisation_percent for one in seen if one.utilisation_percent is not None]
        clocks = [one.sm_clock_mhz for one in seen if one.sm_clock_mhz]
        moved = bool(clocks) and max(clocks) > (1 + MOVED) * min(clocks)
        worked = moved or any(percent > 0 for percent in busy) if busy or clocks else None
        return replace(self.known, limit_w=max(limits, default=None), worked=worked)

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


def _odds(tail: TailVerdict) -> float:
    """Log odds that stand for a verdict."""
    return {"lag": CALIBRATED, "decay": -CALIBRATED, "undecided": 0.0}[tail]


def _verdict(known: TailVerdict, log_odds: float) -> TailVerdict:
    """What is believed of a tail: windows must be sure to decide it, and may bring a verdict down again."""
    if known == "undecided":
        return "lag" if log_odds >= SURE else "decay" if log_odds <= -SURE else "undecided"
    return known if (log_odds > 0) == (known == "lag") else "undecided"
