"""What is found out about a sensor once, and kept by UUID, driver and VBIOS: so that windows need not guess.

Facts that readings cannot give stay null, and the windows' intervals stay wide. Not here: reading (`nvml`), loads
(`joulegrid power calibrate`), and the accuracy of the sensor itself, which needs an external meter.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from joulegrid.cluster.power.estimate.integral import Published, update_of
from joulegrid.cluster.power.estimate.known import Known, TailVerdict
from joulegrid.cluster.power.estimate.looks import brackets_of
from joulegrid.cluster.power.estimate.ticks import period_of, ticks_near

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joulegrid.cluster.power.sensors.readings import Reading

FORMAT = 1
LEAST_STEP = 0.1
"""Relative variation of power from which an average can be told from an instant value."""
AVERAGES_S = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Lengths of running mean that are tried for field 185; 0 is an instant value."""
T95 = (12.7, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
"""Student's t, two-sided 95 %, for 1 to 10 degrees of freedom; 2.2 beyond."""


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

    def known(self) -> Known:
        """What the estimator takes from it."""
        return Known(self.counter_period_s, self.power_period_s, self.tail, self.integrates, self.average_s or None)


@dataclass(frozen=True, slots=True)
class Burst:
    """A window of `count` equal loads, and what was counted behind it above idle."""

    count: int
    energy_j: float
    """Joules between its edges as sensed."""
    tail_j: float


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


def tail_verdict(bursts: Sequence[Burst]) -> TailVerdict:
    """Decide by the intercept of energy over the number of equal bursts: nothing costs nothing.

    If what stands behind a load belongs to it (lag), energies with their tails extrapolate to 0 J at no bursts; if it
    does not (decay), those without. Undecided where both intervals of the intercept, or neither, include 0.
    """
    if len({burst.count for burst in bursts}) < 3:
        return "undecided"
    bare = _intercept([(burst.count, burst.energy_j) for burst in bursts])
    whole = _intercept([(burst.count, burst.energy_j + burst.tail_j) for burst in bursts])
    without, within = (low <= 0.0 <= high for low, high in (bare, whole))
    if without == within:
        return "undecided"
    return "decay" if without else "lag"


def _intercept(points: list[tuple[int, float]]) -> tuple[float, float]:
    """The 95 % interval of a straight line's intercept, each point weighted alike (ordinary least squares)."""
    n = len(points)
    x, y = sum(a for a, _ in points) / n, sum(b for _, b in points) / n
    xx = sum((a - x) ** 2 for a, _ in points)
    slope = sum((a - x) * (b - y) for a, b in points) / xx
    at_zero = y - slope * x
    residual = sum((b - at_zero - slope * a) ** 2 for a, b in points) / max(1, n - 2)
    half = (T95[n - 3] if 3 <= n <= 12 else 2.2) * math.sqrt(residual * (1 / n + x * x / xx))
    return at_zero - half, at_zero + half


def counter_ratio(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Median of counter over integral for windows of a steady load; `None` without any."""
    return median(counter / integral for counter, integral in pairs if integral > 0) if pairs else None


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
