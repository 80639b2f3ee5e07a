"""What a GPU's own sensors can be asked without an external meter. Each check gives figures and aims."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.energy.gpu_loads import UNIT_S, Load
from joulegrid.student import student_t
from tests.cluster.nvml_simulated.record import Recording

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Energy

S = 1_000_000_000
REST_S = 1.5
Figures = dict[str, Any]


@dataclass(slots=True)
class Bench:
    """A load under a recorder; `scale` shortens all for a trial, whose figures then mean little."""

    load: Load
    recording: Recording
    zeus: Any = None
    """A `ZeusMonitor` of this GPU, where Zeus is installed."""
    scale: float = 1.0
    random: Random = field(default_factory=lambda: Random(4))

    def n(self, seconds: float) -> int:
        """Units that fill this time."""
        return max(4, round(seconds * self.scale / UNIT_S))

    def few(self, n: int) -> int:
        """A number of repeats."""
        return max(3, round(n * self.scale))

    def energy(self, t0_ns: int, t1_ns: int) -> Energy:
        """What our recorder says."""
        return self.recording.energy(t0_ns, t1_ns, [self.load.uuid])[0]

    def integral_j(self, t0_ns: int, t1_ns: int) -> float | None:
        """Joules of instant power, each reading held for the time since the one before; from the series alone."""
        series = self.recording.series(t0_ns - S, t1_ns + S, [self.load.uuid])
        points = [(each["t_ns"], each["power_w"]) for each in series if each["source"] == "instant_integral"]
        held = ((max(a, t0_ns), min(b, t1_ns), power_w) for (a, _), (b, power_w) in pairwise(points))
        joules = [power_w * (end - start) / S for start, end, power_w in held if end > start]
        return sum(joules) if joules else None

    def rest(self) -> None:
        """Idle, with a random part so that windows meet the ticks in any phase."""
        time.sleep(max(0.3, REST_S * min(1.0, self.scale)) + self.random.uniform(0, 0.1))

    def units(self, n: int) -> Energy:
        """Run units after a rest and give their energy."""
        self.rest()
        t0_ns = time.monotonic_ns()
        self.load.units(n)
        return self.energy(t0_ns, time.monotonic_ns())


def _aim(text: str, value: float | None, met: bool) -> Figures:
    return {"aim": text, "value": value, "met": met}


def counter_and_integral(bench: Bench) -> Figures:
    """Counter against the integral of instant power: 30 s of steady load, and 30 s of idle."""
    bench.load.units(bench.n(5))  # warm
    found: Figures = {}
    phases: dict[str, Callable[[], object]] = {
        "load": lambda: bench.load.units(bench.n(30)),
        "idle": lambda: time.sleep(30 * bench.scale),
    }
    for what, run in phases.items():
        with _beside(bench) as zeus_j:
            t0_ns = time.monotonic_ns()
            run()
            t1_ns = time.monotonic_ns()
        energy, integral_j = bench.energy(t0_ns, t1_ns), bench.integral_j(t0_ns, t1_ns)
        known = energy.source == "counter" and energy.energy_j is not None and integral_j is not None
        ratio = energy.energy_j / integral_j - 1 if known and energy.energy_j and integral_j else None
        found[what] = {
            "energy": energy.model_dump(mode="json"),
            "integral_j": integral_j,
            "zeus_j": zeus_j[0] if zeus_j else None,
            "counter_over_integral_pct": None if ratio is None else 100 * ratio,
        }
    value = found["load"]["counter_over_integral_pct"]
    return found | {
        "aims": [_aim("counter ÷ integral, 30 s of load: ≤ 1 %", value, value is not None and abs(value) <= 1)]
    }


@contextmanager
def _beside(bench: Bench) -> Iterator[list[float]]:
    """Let Zeus measure the same window, where it is installed; its joules are in the list afterwards."""
    found: list[float] = []
    if bench.zeus is not None:
        bench.zeus.begin_window("beside", sync_execution=False)
    yield found
    if bench.zeus is not None:
        found.append(sum(bench.zeus.end_window("beside", sync_execution=False).gpu_energy.values()))


def linearity(bench: Bench) -> Figures:
    """Energy of n = 1 … 64 equal units after idle: a straight line through 0, where the edges are right."""
    ns = [1, 2, 4, 8, 16, 32, 64]
    points = []
    for _ in range(bench.few(3)):
        for n in bench.random.sample(ns, len(ns)):
            energy = bench.units(n)
            if energy.energy_j is not None:
                points.append((n, energy.energy_j))
    intercept_j, half_j, slope_j, r2 = line(points)
    inside = abs(intercept_j) <= half_j
    aims = [
        _aim("R² of energy over n > 0.9999", r2, r2 > 0.9999),
        _aim("intercept's 95 % interval includes 0 (value: joules)", intercept_j, inside),
    ]
    fit = {"intercept_j": intercept_j, "intercept_half_width_j": half_j, "slope_j": slope_j, "r2": r2}
    return {"points": points, **fit, "aims": aims}


def line(points: list[tuple[int, float]]) -> tuple[float, float, float, float]:
    """Least squares: intercept, half its 95 % interval, slope, R²."""
    xs, ys = [float(x) for x, _ in points], [y for _, y in points]
    slope, intercept = statistics.linear_regression(xs, ys)
    mean_x, freedom = statistics.fmean(xs), len(xs) - 2
    spread = sum((x - mean_x) ** 2 for x in xs)
    rest = sum((y - intercept - slope * x) ** 2 for x, y in points)
    error = (rest / freedom * (1 / len(xs) + mean_x**2 / spread)) ** 0.5
    total = sum((y - statistics.fmean(ys)) ** 2 for y in ys)
    return intercept, student_t(freedom) * error, slope, 1 - rest / total


def separated(bench: Bench) -> Figures:
    """Work in short windows with idle between them against the same work in one window, per unit."""
    pieces, each = bench.few(30), 20
    short = [bench.units(each).energy_j for _ in range(pieces)]
    whole = bench.units(pieces * each).energy_j
    known = [energy_j for energy_j in short if energy_j is not None]
    ratio_pct = 100 * (sum(known) / len(known) * pieces / whole - 1) if known and whole else None
    met = ratio_pct is not None and abs(ratio_pct) <= 0.3
    return {
        "short_j": short,
        "whole_j": whole,
        "aims": [_aim("short separated windows ÷ one long: within 0.3 %", ratio_pct, met)],
    }


def waves(bench: Bench) -> Figures:
    """Square waves of 80–120 ms in random phases: a counter that senses a part of the time beats with them.

    Compared are runs of one period with each other: what the power does after each pulse is the same in all.
    """
    rows: list[dict[str, Any]] = []
    for period_ms in (80, 90, 95, 98, 100, 102, 105, 110, 120):
        runs = [_wave(bench, period_ms / 1000) for _ in range(bench.few(5))]
        spread = {key: _spread_pct([run[key] for run in runs]) for key in ("counter_w", "integral_w")}
        rows.append({"period_ms": period_ms, "runs": runs, "spread_pct": spread})
    spreads: list[float | None] = [row["spread_pct"]["counter_w"] for row in rows]
    known = [spread_pct for spread_pct in spreads if spread_pct is not None]
    worst = max(known) if len(known) == len(spreads) else None
    verdict = None if worst is None else ("integrates" if worst < 10 else "senses a part of the time")
    aims = [_aim("energy of the same wave in other phases: spread < 10 %", worst, verdict == "integrates")]
    return {"rows": rows, "counter": verdict, "aims": aims}


def _wave(bench: Bench, period_s: float) -> Figures:
    """Run half a unit in each period for 3 s; mean watts by the recorder's counter and by the integral."""
    bench.rest()
    began_s, t0_ns, on_s = time.perf_counter(), time.monotonic_ns(), 0.0
    for turn in range(max(5, round(3 * bench.scale / period_s))):
        time.sleep(max(0.0, began_s + turn * period_s - time.perf_counter()))
        on_from_s = time.perf_counter()
        bench.load.units(0.5)
        on_s += time.perf_counter() - on_from_s
    time.sleep(max(0.0, began_s + (turn + 1) * period_s - time.perf_counter()))
    t1_ns = time.monotonic_ns()
    energy, integral_j = bench.energy(t0_ns, t1_ns), bench.integral_j(t0_ns, t1_ns)
    seconds = (t1_ns - t0_ns) / S
    return {
        "duty": on_s / seconds,
        "counter_w": None if energy.energy_j is None or energy.source != "counter" else energy.energy_j / seconds,
        "integral_w": None if integral_j is None else integral_j / seconds,
        "flags": list(energy.flags),
    }


def _spread_pct(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return 100 * (max(known) - min(known)) / statistics.fmean(known) if len(known) == len(values) else None


def repeats(bench: Bench) -> Figures:
    """Five runs of the same load of 10 s."""
    joules = [energy.energy_j for energy in (bench.units(bench.n(10)) for _ in range(5)) if energy.energy_j is not None]
    cv_pct = 100 * statistics.stdev(joules) / statistics.fmean(joules) if len(joules) == 5 else None
    return {"joules": joules, "aims": [_aim("CV of five runs ≤ 1 %", cv_pct, cv_pct is not None and cv_pct <= 1)]}


def same_load(bench: Bench) -> Figures:
    """A against A: 40 equal windows, split into two groups of five at random, 400 times. How often do they differ?"""
    joules = [energy.energy_j for energy in (bench.units(20) for _ in range(max(10, bench.few(40))))]
    known = [energy_j for energy_j in joules if energy_j is not None]
    false = sum(_differ(bench.random.sample(known, 10)) for _ in range(400)) / 400 if len(known) >= 10 else None
    met = false is not None and false <= 0.05
    return {
        "joules": joules,
        "aims": [_aim("A/A: false differences ≤ 5 %", None if false is None else 100 * false, met)],
    }


def _differ(ten: list[float]) -> bool:
    a, b = ten[:5], ten[5:]
    error = math.sqrt((statistics.variance(a) + statistics.variance(b)) / 5)
    return abs(statistics.fmean(a) - statistics.fmean(b)) > student_t(8) * error


def observer(bench: Bench) -> Figures:
    """Throughput with the recorder reading and stopped, in turn; who begins alternates."""
    pairs, n = max(10, bench.few(12)), bench.n(4)
    change_pct = []
    for pair in range(pairs):
        seconds = {}
        for reads in (True, False) if pair % 2 else (False, True):
            with bench.recording.paused(not reads):
                began_s = time.perf_counter()
                bench.load.units(n)
                seconds[reads] = time.perf_counter() - began_s
        change_pct.append(100 * (seconds[True] / seconds[False] - 1))
    mean = statistics.fmean(change_pct)
    half = student_t(pairs - 1) * statistics.stdev(change_pct) / pairs**0.5
    aims = [
        _aim("time with the recorder ÷ without: |mean| ≤ 0.2 %", mean, abs(mean) <= 0.2),
        _aim("its 95 % interval includes 0 (value: half width, %)", half, abs(mean) <= half),
    ]
    return {"change_pct": change_pct, "mean_pct": mean, "half_width_pct": half, "aims": aims}


def trace(bench: Bench) -> Figures:
    """Record a generation, for the replay."""
    bench.rest()
    t0_ns = time.monotonic_ns()
    words = bench.load.generation(20 * bench.scale)
    t1_ns = time.monotonic_ns()
    energy = bench.energy(t0_ns, t1_ns)
    samples = bench.recording.series(t0_ns - S, t1_ns + S // 2, [bench.load.uuid])
    points = [[(each["t_ns"] - t0_ns) / S, each["power_w"]] for each in samples]
    return {"of": words, "energy": energy.model_dump(mode="json"), "seconds_and_watts": points, "aims": []}


CHECKS: dict[str, Callable[[Bench], Figures]] = {
    "counter_and_integral": counter_and_integral,
    "linearity": linearity,
    "separated": separated,
    "waves": waves,
    "repeats": repeats,
    "same_load": same_load,
    "observer": observer,
    "trace": trace,
}
