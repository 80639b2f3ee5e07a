"""What is found out about a sensor once, and kept by UUID, driver and VBIOS: so that windows need not guess.

Facts that readings cannot give stay null, and the windows' intervals stay wide. Not here: reading (`nvml`), loads
(`joulegrid power calibrate`), and the accuracy of the sensor itself, which needs an external meter.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from joulegrid.cluster.power.bursts import Burst, Load, burst_of, shown
from joulegrid.cluster.power.estimate.counted import USUAL_TICK_S, counted
from joulegrid.cluster.power.estimate.integral import Published, integrated, powers_of, update_of
from joulegrid.cluster.power.estimate.known import Known, TailVerdict
from joulegrid.cluster.power.estimate.looks import brackets_of
from joulegrid.cluster.power.estimate.ticks import period_of, ticks_near
from joulegrid.cluster.power.sensors.series import UnreadError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joulegrid.cluster.power.sensors.readings import Reading

FORMAT = 1
LEAST_STEP = 0.1
"""Relative variation of power from which an average can be told from an instant value."""
AVERAGES_S = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Lengths of running mean that are tried for field 185; 0 is an instant value."""
S = 1_000_000_000


class Calibration(BaseModel):
    """What is known of one device's sensors. Null is unknown, never assumed."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    format: int = FORMAT
    device: str
    """GPU UUID."""
    driver: str | None = None
    """A new driver is another sensor."""
    vbios: str | None = None
    """So is a new VBIOS."""
    counter_period_s: float | None = None
    """Usual time between two ticks of the energy counter."""
    power_period_s: float | None = None
    """Usual time between two values of instant power; null where it did not change."""
    stamps_usable: bool = False
    """Whether the driver's own times move with the counter's values and fit the readings."""
    average_s: float | None = None
    """Length of the mean that field 185 is; 0 for an instant value, null where power did not change."""
    counter_ratio: float | None = None
    """Counter over integral of instant power on a steady load."""
    integrates: bool | None = None
    """Whether the counter sees all the time, or a part of each update alone."""
    tail: TailVerdict = "undecided"
    """What is counted behind a load: power that flows (`decay`) or the sensor's memory (`lag`)."""
    tail_s: float | None = None
    """Time constant of it; 0 where power falls at once."""

    bursts: int = 0
    """Loads of bursts that were measured for it; without any its verdicts stay open until windows show them."""
    learnt: bool = False
    """Whether windows have shown or withdrawn one of the two verdicts since, and not bursts."""

    def with_learnt(self, known: Known) -> Calibration:
        """Return it with the verdicts that windows have shown."""
        return self.model_copy(update={"tail": known.tail, "integrates": known.integrates, "learnt": True})

    def over(self, before: Calibration | None) -> Calibration:
        """Return it with the verdicts of an earlier one where it had no bursts of its own."""
        if before is None or self.bursts:
            return self
        kept = ("average_s", "counter_ratio", "integrates", "tail", "tail_s", "bursts", "learnt")
        return self.model_copy(update={name: getattr(before, name) for name in kept})

    def known(self) -> Known:
        """What the estimator takes from it."""
        return Known(
            self.counter_period_s, self.power_period_s, self.tail, self.integrates, self.average_s or None, self.tail_s
        )


def from_readings(device: str, readings: list[Reading]) -> Calibration:
    """Find what two seconds of fast readings give: periods, stamps, and 185 against 186 where power moved."""
    if not readings:
        return Calibration(device=device)
    origin_ns = readings[0].t_ns
    brackets = brackets_of(readings, origin_ns)
    looks = [Published((r.t_ns - origin_ns) / 1e9, r.power_w) for r in readings if r.power_w is not None]
    period = period_of(brackets)
    middle_s = brackets[len(brackets) // 2].middle_s if brackets else 0.0
    stamped = bool(brackets) and ticks_near(brackets, middle_s, period)[1] == "stamps"
    return Calibration(
        device=device,
        counter_period_s=period.seconds if period else None,
        power_period_s=update_of(looks),
        stamps_usable=stamped,
        average_s=average_length(readings),
    )


def average_length(readings: list[Reading]) -> float | None:
    """The length of running mean of instant power that fits the averaged field best; `None` where power is steady."""
    pairs = [(r.t_ns / 1e9, r.power_w, r.average_w) for r in readings if r.power_w is not None]
    powers = [power for _, power, _ in pairs]
    if len(pairs) < 20 or max(powers) - min(powers) < LEAST_STEP * max(powers):
        return None
    start_s = pairs[0][0] + AVERAGES_S[-1]
    seen = [(t, average) for t, _, average in pairs if average is not None and t >= start_s]
    if len(seen) < 10:
        return None
    times = [t for t, _, _ in pairs]
    steps = [(b - a) * power for a, (b, power, _) in zip(times, pairs[1:], strict=False)]
    sums = list(accumulate(steps, initial=0.0))

    def apart(length: float) -> float:
        return sum((_mean((times, sums, powers), t, length) - average) ** 2 for t, average in seen)

    return min(AVERAGES_S, key=apart)


def _mean(row: tuple[list[float], list[float], list[float]], t_s: float, length_s: float) -> float:
    """Mean power over the last `length_s`, each reading held for the time since the one before."""
    times, sums, powers = row
    end, start = bisect_right(times, t_s) - 1, bisect_right(times, t_s - length_s) - 1
    return powers[end] if start == end else (sums[end] - sums[start]) / (times[end] - times[start])


def from_bursts(idle: Calibration, readings: list[Reading], loads: Sequence[Load]) -> Calibration:
    """Add to what idle readings gave what loads show; `readings` cover all of them and the rests between."""
    moved = from_readings(idle.device, readings)
    period_s = idle.counter_period_s or moved.counter_period_s
    bursts = [burst for load in loads if (burst := _tried(readings, load, period_s))]
    told = shown(bursts, period_s or USUAL_TICK_S)
    return idle.model_copy(
        update={
            "counter_period_s": period_s,
            "power_period_s": moved.power_period_s or idle.power_period_s,
            "average_s": moved.average_s,
            "counter_ratio": _counter_ratio(readings, loads, period_s),
            "integrates": told.integrates,
            "tail": told.tail,
            "tail_s": told.tail_s,
            "bursts": len(bursts),
        }
    )


def _tried(readings: list[Reading], load: Load, period_s: float | None) -> Burst | None:
    try:
        return burst_of(readings, load, period_s)
    except UnreadError:
        return None


def _counter_ratio(readings: list[Reading], loads: Sequence[Load], period_s: float | None) -> float | None:
    """Median of counter over integral of instant power for the longest loads; `None` without any."""
    ratios = []
    for load in loads:
        if load.count == max(one.count for one in loads):
            near = [r for r in readings if load.t0_ns - S <= r.t_ns <= load.t1_ns + S]
            seconds = (load.t1_ns - load.t0_ns) / S
            try:
                first = counted(brackets_of(near, load.t0_ns), seconds, Known(period_s))
                second = integrated(powers_of(near, load.t0_ns), seconds, period_s)
            except UnreadError:
                continue
            ratios.append(first.bounds.energy_j / second.bounds.energy_j)
    return median(ratios) if ratios else None


def cache_file(device: str, driver: str | None, vbios: str | None) -> Path:
    """Where a device's calibration is kept: below `XDG_CACHE_HOME`, else `~/.cache`."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    mark = hashlib.sha256(json.dumps([device, driver, vbios]).encode()).hexdigest()[:16]
    return root / "joulegrid" / "power" / f"{mark}.json"


def remembered(device: str, driver: str | None, vbios: str | None = None) -> Calibration | None:
    """What was kept of this device under this driver; `None` where nothing was, or it cannot be read any more."""
    try:
        kept = Calibration.model_validate_json(cache_file(device, driver, vbios).read_bytes())
    except (OSError, ValidationError):
        return None
    same = (kept.format, kept.device, kept.driver, kept.vbios) == (FORMAT, device, driver, vbios)
    return kept if same else None


def remember(calibration: Calibration) -> Path:
    """Keep a calibration, written beside and renamed: a reader sees the old or the new one. May raise `OSError`."""
    file = cache_file(calibration.device, calibration.driver, calibration.vbios)
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(f".{os.getpid()}.tmp")
    fresh.write_text(calibration.model_dump_json(indent=1) + "\n")
    fresh.replace(file)
    return file


class KeptCalibration:
    """A device's file: what windows show goes in, what was calibrated meanwhile comes out."""

    def __init__(self, device: str, driver: str | None, vbios: str | None) -> None:
        self._who = (device, driver, vbios)
        self._file = cache_file(*self._who)
        self._seen_ns = 0

    def renewed(self) -> Known | None:
        """What is kept, if it has changed since it was last asked for or kept; `None` too where nothing is."""
        changed_ns = self._changed_ns()
        if changed_ns in (0, self._seen_ns):
            return None
        self._seen_ns = changed_ns
        kept = remembered(*self._who)
        return kept.known() if kept else None

    def keep(self, known: Known) -> None:
        """Keep what windows have shown; a folder that cannot be written costs later runs the windows that show it."""
        device, driver, vbios = self._who
        found = remembered(*self._who) or Calibration(device=device, driver=driver, vbios=vbios)
        with contextlib.suppress(OSError):
            remember(found.with_learnt(known))
        self._seen_ns = self._changed_ns()

    def _changed_ns(self) -> int:
        try:
            return self._file.stat().st_mtime_ns
        except OSError:
            return 0
