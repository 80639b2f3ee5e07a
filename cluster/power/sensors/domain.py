"""What a RAPL domain used between two instants, from the readings of its sensor."""

from __future__ import annotations

from itertools import pairwise

from joulegrid.cluster.power.energy import Energy, Scope, unknown
from joulegrid.cluster.power.estimate.continuous import between_looks
from joulegrid.cluster.power.estimate.window import SHORT_S
from joulegrid.cluster.power.sensors.readings import Reading, Ring, ring_size
from joulegrid.cluster.power.sensors.series import MARGIN_NS, Sample, UnreadError

WRAP_SAFE_S = 10.0  # a 32-bit package counter wraps after about 60 s under load: longer gaps may hide a wrap


class Domain:
    """One RAPL domain: keeps its sensor's readings and answers for windows inside them."""

    def __init__(self, device: str, scope: Scope, period_s: float) -> None:
        self.device = device
        self.scope: Scope = scope
        self._ring: Ring[Reading] = Ring(ring_size(period_s))

    def append(self, reading: Reading) -> None:
        """Take the newest reading of the domain's sensor."""
        self._ring.append(reading)

    def readings(self, t0_ns: int, t1_ns: int) -> list[Reading]:
        """What was read between two instants."""
        return self._ring.between(t0_ns, t1_ns)

    def covers(self, t_ns: int) -> bool:
        """Whether a reading at or after `t_ns` exists."""
        last = self._ring.last()
        return last is not None and last.t_ns >= t_ns

    def patience_s(self, period_s: float) -> float:
        """Three periods: the counter itself moves each millisecond."""
        return 3 * period_s

    def energy(self, t0_ns: int, t1_ns: int) -> Energy:
        """Joules between two instants, linear between the readings around each edge; null with the reason otherwise."""
        readings = self._ring.between(t0_ns - MARGIN_NS, t1_ns + MARGIN_NS)
        try:
            bounds = between_looks(readings, t0_ns, t1_ns, WRAP_SAFE_S)
        except UnreadError as error:
            return unknown(f"RAPL {self.device}: {_trouble(readings) or error}", device=self.device, scope=self.scope)
        if bounds.energy_j <= 0.0:
            return unknown(f"RAPL {self.device}: the counter did not move", device=self.device, scope=self.scope)
        return Energy(
            energy_j=bounds.energy_j,
            low_j=bounds.low_j,
            high_j=bounds.high_j,
            source="rapl",
            provenance="measured",
            scope=self.scope,
            device=self.device,
            interval="95 %: how the power ran between an edge and the readings around it; the whole domain, whatever "
            "ran on it; sensor accuracy not included",
            flags=("short",) if t1_ns - t0_ns < SHORT_S * 1e9 else (),
        )

    def series(self, t0_ns: int, t1_ns: int) -> list[Sample]:
        """Mean power between consecutive readings, dated at the later one."""
        readings = self._ring.between(t0_ns, t1_ns)
        counted = [(reading.t_ns, reading.counter_j) for reading in readings if reading.counter_j is not None]
        return [
            Sample(t_ns, self.device, (now_j - then_j) / ((t_ns - then_ns) / 1e9), "rapl", "measured", self.scope)
            for (then_ns, then_j), (t_ns, now_j) in pairwise(counted)
        ]


def _trouble(readings: list[Reading]) -> str | None:
    return next((reading.trouble for reading in reversed(readings) if reading.trouble), None)
