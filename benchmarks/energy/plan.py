"""What eight simulated GPUs compute in a round, and the windows that all readers measure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from tests.cluster.nvml_simulated.loads import Hold, cut, llm, square

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.energy.boards import Drawn
    from tests.cluster.nvml_simulated.build import Control

S = 1_000_000_000
BETWEEN_S = (0.9, 1.5)
"""Idle between two loads: long enough for the tail, and for a tick before the next."""
OWN = (0.5,) * 4 + (1.0,) * 4 + (2.0,) * 2 + (5.0,) * 2 + (10.0,)
"""Lengths of the step and LLM-like loads of a round, each one window."""
SQUARE = (0.5, 1.0, 1.0, 2.0, 5.0)
INSIDE = (0.5,) * 8 + (1.0,) * 8 + (2.0,) * 5 + (5.0,) * 3 + (10.0,)
"""Lengths of the windows that overlap each other inside one flat load or one idle time."""
INSIDE_S = 12.0
LONG = 30.0


@dataclass(frozen=True, slots=True)
class Window:
    """What is to be measured; times are monotonic nanoseconds."""

    number: int
    gpu: int
    mode: str
    load: str
    seconds: float
    t0_ns: int
    t1_ns: int


def plan(control: Control, drawn: list[Drawn], start_ns: int, random: Random, long: bool = True) -> list[Window]:
    """Play a round on every board and give its windows in order of their end."""
    found = [
        (gpu, board.mode, *each)
        for gpu, board in enumerate(drawn)
        for each in _of_board(control, gpu, board, start_ns, Random(random.random()), long)
    ]
    found.sort(key=lambda each: each[-1])
    return [Window(number, *each) for number, each in enumerate(found)]


Found = tuple[str, float, int, int]


def _of_board(control: Control, gpu: int, board: Drawn, start_ns: int, random: Random, long: bool) -> Iterator[Found]:
    episodes = [("step", seconds) for seconds in OWN] + [("llm", seconds) for seconds in OWN]
    episodes += [("square", seconds) for seconds in SQUARE] + [("flat", INSIDE_S), ("idle", INSIDE_S)]
    episodes += [(random.choice(("step", "llm")), LONG)] if long else []
    random.shuffle(episodes)
    t_ns = start_ns
    for load, seconds in episodes:
        t_ns += round(random.uniform(*BETWEEN_S) * S)
        exact_s = seconds * random.uniform(0.97, 1.03) if load != "idle" else seconds
        end_ns = _play(control, gpu, board, load, t_ns, exact_s, random)
        if load in ("flat", "idle"):
            yield from _inside(load, t_ns, random)
        else:
            yield load, seconds, t_ns, end_ns
        t_ns = end_ns


def _play(control: Control, gpu: int, board: Drawn, load: str, t_ns: int, seconds: float, random: Random) -> int:
    idle_w, peak_w = board.board.idle_w, board.peak_w * random.uniform(0.7, 1.0)
    if load == "idle":
        return t_ns + round(seconds * S)
    if load == "llm":
        shape = cut(llm(random, peak_w, idle_w), seconds)
    elif load == "square":
        shape = cut(square(peak_w, idle_w, random.uniform(0.08, 0.12), random.uniform(0.2, 0.5)), seconds)
    else:
        shape = iter([Hold(seconds, peak_w)])
    return control.play(gpu, t_ns, shape, idle_w)


def _inside(load: str, t_ns: int, random: Random) -> Iterator[Found]:
    for seconds in INSIDE:
        exact_s = seconds * random.uniform(0.97, 1.03)
        t0_ns = t_ns + round(random.uniform(0.8, INSIDE_S - exact_s - 0.3) * S)
        yield load, seconds, t0_ns, t0_ns + round(exact_s * S)
