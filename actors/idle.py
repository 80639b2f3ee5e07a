"""The idle power of a lane's devices before its first task: measured, or reused where a short look agrees with it."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from joulegrid.cluster.gpu_use import look, memory_bytes
from joulegrid.cluster.power.baseline import Baseline, baselines_of, still_valid
from joulegrid.cluster.power.energy import Energy
from joulegrid.cluster.power.sampler.recorder import Target
from joulegrid.cluster.power.sensors.series import Sample

SPOT_S = 2.0
"""How long a baseline of an earlier run is looked at again: 20 updates of a usual sensor."""
STEP_S = 0.2
HELD_BYTES = 2 * 2**30
"""No driver keeps more of a GPU that nobody holds (about 0.6 GB of an H100)."""


@dataclass(frozen=True, slots=True)
class IdleTerms:
    """How a run measures idle power."""

    bare_s: float
    loaded_s: float
    max_age_h: float

    @property
    def patience_s(self) -> float:
        """How long a lane may take for it before its first task."""
        return self.bare_s + (SPOT_S if self.bare_s > 0 else 0.0)


class Meter(Protocol):
    """What is asked of a node's sampler."""

    def energy(self, t0_ns: int, t1_ns: int, target: Target, cpu_s: float) -> tuple[Energy, list[Energy]]:
        """Joules of the target's main devices, and those of others beside."""
        ...

    def series(self, t0_ns: int, t1_ns: int, target: Target, lane: str) -> list[Sample]:
        """Power over time."""
        ...


@dataclass(frozen=True, slots=True)
class BareIdle:
    """The `bare_idle` of one lane."""

    meter: Meter
    target: Target
    lane: str
    driver: str | None
    cancelled: Callable[[], bool]

    def measured(self, terms: IdleTerms) -> tuple[Baseline, ...]:
        """Return the idle power of each device; null with the reason where somebody holds one, or no sensor reads."""
        held = self._held()
        if held is not None:
            return (Baseline(kind="bare_idle", reason=held),)
        known = self._known(terms)
        if known and _agree(known, self._look(min(SPOT_S, terms.bare_s))):
            return tuple(one.model_copy(update={"reused": True}) for one in known)
        found = self._look(terms.bare_s)
        held = self._held()
        if held is not None or self.cancelled():
            return (Baseline(kind="bare_idle", reason=held or "the task was cancelled during the look"),)
        self._keep(found)
        return tuple(found)

    def _look(self, seconds: float) -> list[Baseline]:
        started_at, t0_ns = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic_ns()
        while (left_s := seconds - (time.monotonic_ns() - t0_ns) / 1e9) > 0 and not self.cancelled():
            time.sleep(min(STEP_S, left_s))
        t1_ns = time.monotonic_ns()
        energy, _ = self.meter.energy(t0_ns, t1_ns, self.target, 0.0)
        samples = self.meter.series(t0_ns, t1_ns, self.target, self.lane)
        return baselines_of("bare_idle", energy, (t1_ns - t0_ns) / 1e9, samples, started_at)

    def _held(self) -> str | None:
        """Why the devices are not bare: a process computes on one, or memory is in use that no driver needs."""
        uses = look(self.target.gpu_uuids)
        listed = [(use.uuid, one.pid) for use in uses for one in use.processes or ()]
        if listed:
            return f"PID {listed[0][1]} holds {listed[0][0]}: its idle power is not that of a bare device"
        used = memory_bytes(uses)
        if used is not None and used > HELD_BYTES * len(uses):
            return f"{used:,} bytes of GPU memory are in use: somebody holds the device"
        return None

    def _known(self, terms: IdleTerms) -> list[Baseline]:
        """What an earlier run kept of these devices, under this driver, and not too long ago."""
        try:
            kept = json.loads(self._file().read_text())
            found = [Baseline.model_validate(one) for one in kept["baselines"]]
            oldest = datetime.now(UTC) - timedelta(hours=terms.max_age_h)
            fresh = all(one.measured_at and datetime.fromisoformat(one.measured_at) >= oldest for one in found)
            return found if fresh and kept["driver"] == self.driver else []
        except (OSError, ValueError, TypeError, KeyError, ValidationError):
            return []

    def _keep(self, found: Sequence[Baseline]) -> None:
        """For later runs; a folder that cannot be written costs them the time to measure again."""
        if not found or any(one.power_w is None for one in found):
            return
        with contextlib.suppress(OSError):
            file = self._file()
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_suffix(f".{os.getpid()}")
            kept = {"driver": self.driver, "baselines": [one.model_dump(mode="json") for one in found]}
            temporary.write_text(json.dumps(kept, indent=1))
            temporary.replace(file)

    def _file(self) -> Path:
        """`$XDG_CACHE_HOME/joulegrid/idle/{devices}.json`, else below `~/.cache`."""
        name = "+".join(self.target.gpu_uuids) or "cpu"
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        return cache / "joulegrid" / "idle" / f"{name}.json"


def _agree(known: Sequence[Baseline], seen: Sequence[Baseline]) -> bool:
    by_device = {(one.device, one.scope): one for one in seen}
    pairs = [(one, by_device.get((one.device, one.scope))) for one in known]
    return len(known) == len(seen) and all(now is not None and still_valid(one, now) for one, now in pairs)
