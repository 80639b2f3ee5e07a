"""A board's readings on a virtual clock, with a known true energy. Pure Python; all of it is drawn, nothing is shared
with the estimator.

True power is a list of levels; towards each the power relaxes with a time constant of its own, 0 being at once. So a
true decay after a load and a sensor that lags behind are the same arithmetic with other constants.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from joulegrid.cluster.power.sensors.readings import Reading

Load = Literal["flat", "step", "llm", "square", "idle"]
Tail = Literal["none", "decay", "lag"]
Stamps = Literal["absent", "ticks", "constant", "query", "random"]
EPOCH_S = 1_000.0  # the virtual clock starts late enough for every look back


@dataclass
class Curve:
    """Power over time: `levels` are (from when, watts, time constant), in order of time."""

    levels: list[tuple[float, float, float]]
    _starts: list[float] = field(default_factory=list)
    _sums: list[float] = field(default_factory=list)
    _powers: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        power, total = self.levels[0][1], 0.0
        for now, then in pairwise([*self.levels, (math.inf, 0.0, 0.0)]):
            self._starts.append(now[0])
            self._sums.append(total)
            self._powers.append(power)
            if then[0] < math.inf:
                total += self._segment_j(power, now, then[0] - now[0])
                power = self._segment_w(power, now, then[0] - now[0])

    def integral_j(self, t_s: float) -> float:
        """Joules from the first level to `t_s`."""
        i = max(0, bisect_right(self._starts, t_s) - 1)
        return self._sums[i] + self._segment_j(self._powers[i], self.levels[i], t_s - self._starts[i])

    @staticmethod
    def _segment_j(power: float, level: tuple[float, float, float], seconds: float) -> float:
        _, target, tau = level
        return target * seconds + ((power - target) * tau * -math.expm1(-seconds / tau) if tau else 0.0)

    @staticmethod
    def _segment_w(power: float, level: tuple[float, float, float], seconds: float) -> float:
        _, target, tau = level
        return target + ((power - target) * math.exp(-seconds / tau) if tau else 0.0)


@dataclass
class Board:
    """What is drawn of one board and its sensor."""

    tick_s: float
    phase_s: float
    jitter_s: float
    window_s: float
    """The sensed part of each tick: instant power is its mean."""
    partial: bool
    """Whether the counter integrates the sensed part alone, scaled up."""
    tail: Tail
    tau_s: float
    stamps: Stamps
    idle_w: float
    load_w: float
    walk: bool = False
    """Whether jitter adds up from tick to tick."""


def draw_board(draw: random.Random, **fixed: object) -> Board:
    """Draw a board; `fixed` replaces what is drawn."""
    tick_s = draw.choice([draw.uniform(0.02, 0.12), draw.uniform(0.09, 0.11), draw.uniform(0.09, 0.11)])
    idle_w = draw.uniform(15, 120)
    made: dict[str, object] = {
        "tick_s": tick_s,
        "phase_s": draw.uniform(0, tick_s),
        "jitter_s": draw.choice([0.0, 0.0002, 0.001, 0.003]),
        "window_s": tick_s * draw.choice([0.25, draw.uniform(0.1, 0.9), 1.0]),
        "partial": False,
        "tail": draw.choice(["none", "decay", "decay"]),
        "tau_s": draw.uniform(0.005, 0.25),
        "stamps": draw.choice(["absent", "absent", "ticks", "constant", "query", "random"]),
        "idle_w": idle_w,
        "load_w": idle_w + draw.uniform(100, 600),
        "walk": draw.random() < 0.3,
    }
    return Board(**{**made, **fixed})  # type: ignore[arg-type]


@dataclass
class Run:
    """One window on one board: what was read, and the truth."""

    board: Board
    readings: list[Reading]
    t0_ns: int
    t1_ns: int
    truth_j: float


def draw_run(draw: random.Random, board: Board, load: Load, seconds: float) -> Run:
    """Draw one window of a load and read the board before, in and after it."""
    t0 = EPOCH_S + draw.uniform(0, 1)
    t1 = t0 + seconds
    levels = [(0.0, board.idle_w, 0.0), *_levels(draw, board, load, (t0, t1))]
    true = Curve([_settling(board, level, t1) if board.tail == "decay" else level for level in levels])
    sensed = Curve([(at, w, board.tau_s) for at, w, _ in levels]) if board.tail == "lag" else true
    readings = _read(draw, board, sensed, (t0, t1))
    truth_j = true.integral_j(t1) - true.integral_j(t0)
    return Run(board, readings, round(t0 * 1e9), round(t1 * 1e9), truth_j)


def _settling(board: Board, level: tuple[float, float, float], t1: float) -> tuple[float, float, float]:
    at, watts, _ = level
    return (at, watts, board.tau_s if at >= t1 else 0.0)


def _levels(
    draw: random.Random, board: Board, load: Load, edges: tuple[float, float]
) -> list[tuple[float, float, float]]:
    (t0, t1), idle, top = edges, board.idle_w, board.load_w
    if load == "idle":
        return _noisy(draw, [(t0 - 5.0, idle)], t1 + 3.0, 0.003)
    if load == "flat":  # a load that goes on before and after
        return _noisy(draw, [(t0 - 5.0, top)], t1 + 3.0, 0.01)
    levels = _noisy(draw, [(t0 - 5.0, idle)], t0, 0.003)
    if load == "step":
        levels += _noisy(draw, [(t0, top)], t1, 0.01)
    elif load == "square":
        period, duty, t = draw.uniform(0.08, 0.12), draw.uniform(0.2, 0.8), t0
        while t < t1:
            levels += [(at, watts, 0.0) for at, watts in ((t, top), (t + duty * period, idle)) if at < t1]
            t += period
    else:
        levels += _llm(draw, board, edges)
    return levels + _noisy(draw, [(t1, idle)], t1 + 3.0, 0.003)


def _llm(draw: random.Random, board: Board, edges: tuple[float, float]) -> list[tuple[float, float, float]]:
    """Requests of a prefill at full power and decode steps around a lower level, with short gaps between them."""
    (t, t1), levels = edges, []
    base = board.idle_w + (board.load_w - board.idle_w) * draw.uniform(0.4, 0.8)
    while t < t1:
        levels.append((t, board.load_w, 0.0))
        t += draw.uniform(0.03, 0.3)
        for _ in range(draw.randrange(10, 80)):
            levels.append((t, base * draw.uniform(0.9, 1.1), 0.0))
            t += draw.uniform(0.01, 0.04)
        if draw.random() < 0.3:
            levels.append((t, board.idle_w * 1.2, 0.0))
            t += draw.uniform(0.005, 0.05)
    return [level for level in levels if level[0] < t1]


def _noisy(
    draw: random.Random, levels: list[tuple[float, float]], end: float, size: float
) -> list[tuple[float, float, float]]:
    (t, watts), made = levels[0], []
    while t < end:
        made.append((t, watts * (1 + draw.gauss(0, size)), 0.0))
        t += draw.uniform(0.02, 0.2)
    return made


def _read(draw: random.Random, board: Board, sensed: Curve, edges: tuple[float, float]) -> list[Reading]:
    times = _reading_times(draw, edges, draw.choice([2.1 * board.tick_s, 0.3]))
    ticks = _tick_times(draw, board, times[0] - 2.0, times[-1] + 0.1)
    counted = _counted(board, sensed, ticks, draw.uniform(0, 1e6))
    readings = []
    offset = draw.uniform(1e8, 2e9)  # of the driver's clock
    for t in times:
        i = bisect_right(ticks, t) - 1
        tick = ticks[i]
        watts = (sensed.integral_j(tick) - sensed.integral_j(tick - board.window_s)) / board.window_s
        average = sensed.integral_j(tick) - sensed.integral_j(tick - 1.0)
        stamp = _stamp(draw, board, tick, t)
        readings.append(
            Reading(
                t_ns=round((t + draw.uniform(-1e-4, 1e-4)) * 1e9),
                counter_j=math.floor(counted[i] * 1000) / 1000,
                power_w=math.floor(watts * 1000) / 1000,
                average_w=math.floor(average * 1000) / 1000,
                counter_stamp_ns=None if stamp is None else round((stamp + offset) * 1e6) * 1000,
                power_stamp_ns=None if stamp is None else round((stamp + offset) * 1e6) * 1000,
            )
        )
    return readings


def _stamp(draw: random.Random, board: Board, tick: float, now: float) -> float | None:
    return {"absent": None, "ticks": tick, "constant": 0.0, "query": now, "random": tick + draw.uniform(-1, 1)}[
        board.stamps
    ]


def _counted(board: Board, sensed: Curve, ticks: list[float], start_j: float) -> list[float]:
    counted = [start_j]
    for before, now in pairwise(ticks):
        window = min(board.window_s, now - before) if board.partial else now - before
        mean = (sensed.integral_j(now) - sensed.integral_j(now - window)) / window
        counted.append(counted[-1] + mean * (now - before))
    return counted


def _tick_times(draw: random.Random, board: Board, start: float, end: float) -> list[float]:
    ticks: list[float] = []
    turn, walked = math.floor(start / board.tick_s), 0.0
    while not ticks or ticks[-1] < end:
        turn += 1
        off = draw.gauss(0, board.jitter_s)
        walked += off
        at = turn * board.tick_s + board.phase_s + (walked if board.walk else off)
        if not ticks or at > ticks[-1] + 1e-3:
            ticks.append(at)
    return ticks


def _reading_times(draw: random.Random, edges: tuple[float, float], fast_s: float) -> list[float]:
    """Every 50 ms, and every 5 ms for a while *after* each mark: before it nobody knows that it comes."""
    t0, t1 = edges
    times, t, turn = [], t0 - 3.0 + draw.uniform(0, 0.05), 0
    while t < t1 + 1.0:
        times.append(t + abs(draw.gauss(0, 3e-4)))
        turn += 1
        fast = any(0.001 < t - mark < fast_s for mark in edges)
        t = t + 0.005 if fast else max(t + 0.005, (math.floor(t / 0.05) + 1) * 0.05)
    return sorted(times)
