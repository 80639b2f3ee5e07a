"""A board as another tool reads it: its counter at the edges of a window, one less the other, and nothing more.

For comparison alone. What the tool's own call at the edge would have given is taken from the readings beside the edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from joulegrid.cluster.power.energy import Energy, Scope, unknown
from joulegrid.cluster.power.sensors.readings import Reading, Ring, ring_size
from joulegrid.cluster.power.sensors.series import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

Tool = Literal["zeus", "codecarbon"]
REACH_S = 1.5  # an older reading does not stand for an edge
TITLES: Mapping[Tool, str] = {"zeus": "Zeus", "codecarbon": "CodeCarbon"}


class EdgeBoard:
    """One GPU board: keeps what a tool read of it and answers for windows as the tool does."""

    scope: Scope = "gpu_board"

    def __init__(self, device: str, name: str, tool: Tool, period_s: float) -> None:
        self.device = device
        self.name = name
        self._tool = tool
        self._readings: Ring[Reading] = Ring(ring_size(period_s))

    def append(self, reading: Reading) -> None:
        """Take the newest reading of the tool."""
        self._readings.append(reading)

    def readings(self, t0_ns: int, t1_ns: int) -> list[Reading]:
        """What was read between two instants."""
        return self._readings.between(t0_ns, t1_ns)

    def covers(self, t_ns: int) -> bool:
        """Whether a reading at or after `t_ns` exists."""
        last = self._readings.last()
        return last is not None and last.t_ns >= t_ns

    def patience_s(self, period_s: float) -> float:
        """Three periods: the tool waits for no tick."""
        return 3 * period_s

    def energy(self, t0_ns: int, t1_ns: int) -> Energy:
        """Joules by the tool's counter at both edges; null where it gave none, or a zero that it does not explain."""
        title = TITLES[self._tool]
        reach_ns = round(REACH_S * 1e9)
        before, after = self._at(t0_ns, reach_ns), self._at(t1_ns, reach_ns)
        for edge in (before, after):
            if edge is None or edge.counter_j is None:
                why = (edge and edge.trouble) or f"no reading in the {REACH_S:.1f} s before an edge of the window"
                return unknown(f"{title}: {why}", device=self.device, scope=self.scope)
        assert before and after and before.counter_j is not None and after.counter_j is not None
        energy_j = after.counter_j - before.counter_j
        if energy_j <= 0.0:
            why = f"it reads {energy_j:g} J: the window is shorter than a tick, or the counter stands or fell"
            return unknown(f"{title}: {why}", device=self.device, scope=self.scope)
        return Energy(
            energy_j=energy_j,
            source=self._tool,
            provenance="measured",
            scope=self.scope,
            device=self.device,
            interval=f"none: {title} states none. Its counter at the readings before both edges, uncorrected",
        )

    def series(self, t0_ns: int, t1_ns: int) -> list[Sample]:
        """Return nothing: the joules of a tool say nothing about power within a tick."""
        return []

    def _at(self, t_ns: int, reach_ns: int) -> Reading | None:
        readings = self._readings.between(t_ns - reach_ns, t_ns)
        return readings[-1] if readings else None
