"""The part `accuracy`: four readers beside each other on eight simulated boards whose energy is known."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.energy.boards import SENSED, draw
from benchmarks.energy.plan import Window, plan
from benchmarks.energy.readers import Reader, trapezoid
from benchmarks.energy.score import HEAD, Answer, line, quantile, table
from joulegrid.cluster.power.sampler.marks import mark_sender
from tests.cluster.nvml_simulated.build import Control, simulated_nvml, uuid_of
from tests.cluster.nvml_simulated.record import Recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.energy.boards import Drawn

S = 1_000_000_000
OURS, ZEUS, AVERAGE, INSTANT = "joulegrid", "zeus", "1 s average", "instant trapezoid"
READERS = (OURS, ZEUS, AVERAGE, INSTANT)
LEAD_NS = 3 * S
ASK_AFTER_S = 1.5
"""Ours is asked this long after a window's end, when the counter has ticked, so that no answer waits for another."""
AIMS_PCT = {1.0: 1.5, 2.0: 0.8, 5.0: 0.35, 10.0: 0.2, 30.0: 0.07}
"""Largest p95 error at each length, step and LLM-like loads, integrating counter."""


def run(rounds: int, seed: int, long: bool = True) -> dict[str, Any]:
    """Run the rounds, print the tables and give the figures."""
    answers: list[Answer] = []
    boards = []
    for number in range(rounds):
        random = Random(f"{seed}-{number}")
        drawn = draw(random)
        boards.append([_described(board) for board in drawn])
        answers += _round(number, drawn, random, long)
        print(f"round {number + 1} of {rounds}: {len(answers)} answers", flush=True)
    return {"seed": seed, "rounds": rounds, "boards": boards, **_figures(answers)}


def _described(drawn: Drawn) -> dict[str, Any]:
    numbers = {name: getattr(drawn.board, name) for name in drawn.board.__slots__}
    return {"mode": drawn.mode, "peak_w": drawn.peak_w, **numbers}


def _round(number: int, drawn: list[Drawn], random: Random, long: bool) -> list[Answer]:
    with tempfile.TemporaryDirectory() as folder:
        env = simulated_nvml(Path(folder), boards=[each.board for each in drawn])
        env["XDG_CACHE_HOME"] = folder  # what was learnt of other boards must not be remembered under the same UUID
        control = Control(env)
        zeus, poll = Reader(env, "zeus"), Reader(env, "poll")
        with Recording(env, source="nvml") as recording:
            windows = plan(control, drawn, time.monotonic_ns() + LEAD_NS, random, long)
            _mark(windows, recording.described["marks"])
            zeus.give([(each.number, each.gpu, each.t0_ns, each.t1_ns) for each in windows])
            ours = [_ours(number, recording, control, window) for window in windows]
        others = _of_zeus(number, zeus, control, windows) + _of_polls(number, poll, control, windows)
        del control
    return ours + others


def _mark(windows: Sequence[Window], address: str) -> None:
    """Send a mark at every edge from now on, as the measured process does, from a thread that ends with the last."""
    mark = mark_sender(address)

    def send() -> None:
        for edge_ns in sorted(edge_ns for window in windows for edge_ns in (window.t0_ns, window.t1_ns)):
            time.sleep(max(0, edge_ns - time.monotonic_ns()) / S)
            mark()

    threading.Thread(target=send, daemon=True).start()


def _ours(number: int, recording: Recording, control: Control, window: Window) -> Answer:
    time.sleep(max(0.0, (window.t1_ns - time.monotonic_ns()) / S + ASK_AFTER_S))
    energy, _ = recording.energy(window.t0_ns, window.t1_ns, [uuid_of(window.gpu)])
    return Answer(
        OURS,
        number,
        window.mode,
        window.load,
        window.seconds,
        control.energy_j(window.gpu, window.t0_ns, window.t1_ns),
        energy.energy_j,
        energy.low_j,
        energy.high_j,
        energy.source,
        energy.flags,
    )


def _of_zeus(number: int, reader: Reader, control: Control, windows: Sequence[Window]) -> list[Answer]:
    """Compare Zeus with the truth between the instants at which it was really called."""
    answers = []
    for which, t0_ns, t1_ns, energy_j in reader.answer():
        window = windows[which]
        truth_j = control.energy_j(window.gpu, t0_ns, t1_ns)
        answers.append(Answer(ZEUS, number, window.mode, window.load, window.seconds, truth_j, energy_j))
    return answers


def _of_polls(number: int, reader: Reader, control: Control, windows: Sequence[Window]) -> list[Answer]:
    answers = []
    samples = [list(zip(*of_gpu, strict=True)) for of_gpu in reader.answer()]
    for window in windows:
        truth_j = control.energy_j(window.gpu, window.t0_ns, window.t1_ns)
        times_ns, *powers = samples[window.gpu]
        for name, powers_w in zip((AVERAGE, INSTANT), powers, strict=True):
            energy_j = trapezoid(times_ns, powers_w, window.t0_ns, window.t1_ns)
            answers.append(Answer(name, number, window.mode, window.load, window.seconds, truth_j, energy_j))
    return answers


def _figures(answers: list[Answer]) -> dict[str, Any]:
    aimed = [a for a in answers if a.load in ("step", "llm") and a.mode != SENSED]
    cells = table(answers, lambda a: (a.reader, a.mode, a.load, a.seconds))
    by_length = table(aimed, lambda a: (READERS.index(a.reader), a.seconds))
    by_place = table([a for a in answers if a.reader == OURS], lambda a: (a.mode, a.load))
    print(f"\nstep and LLM-like, integrating counters\n{HEAD}")
    for (reader, seconds), found in by_length.items():
        print(line(f"{READERS[reader]}, {seconds:g} s", found))
    print(f"\nours, every counter and load\n{HEAD}")
    for (mode, load), found in by_place.items():
        print(line(f"{mode}: {load}", found))
    zeros = [a for a in answers if a.reader == OURS and a.energy_j is not None and a.energy_j <= 0.01 * a.truth_j]
    return {
        "aims": _aims(aimed, by_place),
        "by_length": [{"reader": READERS[r], "seconds": s, **found} for (r, s), found in by_length.items()],
        "ours_by_counter_and_load": [{"mode": m, "load": load, **found} for (m, load), found in by_place.items()],
        "ours_zeros": len(zeros),
        "cells": [
            {"reader": r, "mode": m, "load": load, "seconds": s, **found} for (r, m, load, s), found in cells.items()
        ],
    }


def _aims(aimed: list[Answer], by_place: dict[tuple[Any, ...], dict[str, Any]]) -> list[dict[str, Any]]:
    p95 = {(reader, seconds): _p95(aimed, reader, seconds) for reader in (OURS, ZEUS) for seconds in AIMS_PCT}
    aims = []
    for seconds, limit in AIMS_PCT.items():
        value = p95[OURS, seconds]
        met = value is not None and value <= limit
        aims.append({"aim": f"p95 error at {seconds:g} s ≤ {limit} %", "value": value, "met": met})
    for seconds in (1.0, 5.0):
        ours, zeus = p95[OURS, seconds], p95[ZEUS, seconds]
        ratio = zeus / ours if ours and zeus else None
        met = ratio is not None and ratio >= 5
        aims.append({"aim": f"Zeus's p95 ÷ ours at {seconds:g} s ≥ 5", "value": ratio, "met": met})
    for (mode, load), found in by_place.items():
        value = found["coverage"]
        met = value is not None and 0.90 <= value <= 0.99
        aims.append({"aim": f"coverage 90–99 %: {mode}, {load}", "value": value, "met": met})
    return aims


def _p95(answers: list[Answer], reader: str, seconds: float) -> float | None:
    chosen = [a.error for a in answers if (a.reader, a.seconds) == (reader, seconds)]
    sizes = [abs(100 * error) for error in chosen if error is not None]
    return quantile(sizes, 0.95) if sizes else None
