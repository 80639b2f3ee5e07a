"""What comes out of the accuracy benchmarks: tables by length, by board and load, and the aims."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.energy.boards import SENSED
from benchmarks.energy.score import HEAD, Answer, line, quantile, table
from joulegrid.cluster.power.energy import Energy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.energy.plan import Window
    from tests.cluster.nvml_simulated.build import Control

OURS, UNCALIBRATED = "joulegrid", "joulegrid, uncalibrated"
ZEUS, AVERAGE, INSTANT = "zeus", "1 s average", "instant trapezoid"
READERS = (OURS, UNCALIBRATED, ZEUS, AVERAGE, INSTANT)
AIMS_PCT = {1.0: 1.5, 2.0: 0.8, 5.0: 0.35, 10.0: 0.2, 30.0: 0.07}
"""Largest p95 error at each length, step and LLM-like loads, integrating counter."""


def answered(reader: str, number: int, window: Window, control: Control, said: Energy | float | None) -> Answer:
    """Compare what a reader said of a window in round `number` with the truth."""
    truth_j = control.energy_j(window.gpu, window.t0_ns, window.t1_ns)
    place = (reader, number, window.mode, window.load, window.seconds, truth_j)
    if not isinstance(said, Energy):
        return Answer(*place, said)
    return Answer(*place, said.energy_j, said.low_j, said.high_j, said.source, said.flags)


def figures(answers: list[Answer]) -> dict[str, Any]:
    """Print the tables; give them and the aims."""
    aimed = [a for a in answers if a.load in ("step", "llm") and a.mode != SENSED]
    ours = [a for a in answers if a.reader in (OURS, UNCALIBRATED)]
    cells = table(answers, lambda a: (a.reader, a.mode, a.load, a.seconds))
    by_length = table(aimed, lambda a: (READERS.index(a.reader), a.seconds))
    by_place = table(ours, lambda a: (READERS.index(a.reader), a.mode, a.load))
    print(f"\nstep and LLM-like, integrating counters\n{HEAD}")
    for (reader, seconds), found in by_length.items():
        print(line(f"{READERS[reader]}, {seconds:g} s", found))
    print(f"\nours, every counter and load\n{HEAD}")
    for (reader, mode, load), found in by_place.items():
        print(line(f"{'' if reader == 0 else 'uncalibrated: '}{mode}: {load}", found))
    zeros = [a for a in ours if a.energy_j is not None and a.energy_j <= 0.01 * a.truth_j]
    return {
        "aims": _aims(aimed, ours),
        "by_length": [{"reader": READERS[r], "seconds": s, **found} for (r, s), found in by_length.items()],
        "ours_by_counter_and_load": [
            {"calibrated": r == 0, "mode": m, "load": load, **found} for (r, m, load), found in by_place.items()
        ],
        "ours_zeros": len(zeros),
        "cells": [
            {"reader": r, "mode": m, "load": load, "seconds": s, **found} for (r, m, load, s), found in cells.items()
        ],
    }


def _aims(aimed: list[Answer], ours: list[Answer]) -> list[dict[str, Any]]:
    p95 = {(reader, seconds): _p95(aimed, reader, seconds) for reader in (OURS, ZEUS) for seconds in AIMS_PCT}
    aims = []
    for seconds, limit in AIMS_PCT.items():
        value = p95[OURS, seconds]
        met = value is not None and value <= limit
        aims.append({"aim": f"p95 error at {seconds:g} s ≤ {limit} %, calibrated", "value": value, "met": met})
    for seconds in (1.0, 5.0):
        own, zeus = p95[OURS, seconds], p95[ZEUS, seconds]
        ratio = zeus / own if own and zeus else None
        met = ratio is not None and ratio >= 5
        aims.append({"aim": f"Zeus's p95 ÷ ours at {seconds:g} s ≥ 5", "value": ratio, "met": met})
    for (reader, mode, load), found in table(ours, lambda a: (a.reader, a.mode, a.load)).items():
        value = found["coverage"]
        met = value is not None and 0.90 <= value <= 0.99
        aims.append({"aim": f"coverage 90–99 %: {reader}: {mode}, {load}", "value": value, "met": met})
    return aims


def _p95(answers: Sequence[Answer], reader: str, seconds: float) -> float | None:
    chosen = [a.error for a in answers if (a.reader, a.seconds) == (reader, seconds)]
    sizes = [abs(100 * error) for error in chosen if error is not None]
    return quantile(sizes, 0.95) if sizes else None
