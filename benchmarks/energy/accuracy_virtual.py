"""The part `virtual`: boards, loads and windows of `accuracy`, and its figures, on a virtual clock."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.energy.boards import draw
from benchmarks.energy.calibrated import calibrated_virtually
from benchmarks.energy.figures import OURS, UNCALIBRATED, ZEUS, answered, figures
from benchmarks.energy.plan import Window, plan
from benchmarks.energy.score import Answer
from benchmarks.energy.virtual import Node, recorded
from joulegrid.cluster.power.estimate.known import NOTHING
from joulegrid.cluster.power.sensors.board import Board
from tests.cluster.nvml_simulated.build import uuid_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.energy.boards import Drawn
    from joulegrid.cluster.power.calibration import Calibration

S = 1_000_000_000
LEAD_NS = 4 * S
ASK_AFTER_NS = 3 * S // 2


def run(rounds: int, seed: int, long: bool = True) -> dict[str, Any]:
    """Run the rounds, print the tables and give the figures."""
    answers: list[Answer] = []
    calibrations: list[dict[str, Any]] = []
    for number in range(rounds):
        random = Random(f"{seed}-{number}")
        drawn = draw(random)
        found, said = _round(number, drawn, random, long)
        calibrations += [_compared(board, found[gpu]) for gpu, board in enumerate(drawn)]
        answers += said
        print(f"round {number + 1} of {rounds}: {len(answers)} answers", flush=True)
    for one in calibrations:
        print(one)
    shown = {name: found for name, found in figures(answers).items() if name != "cells"}  # they are many and soon made
    return {"seed": seed, "rounds": rounds, "clock": "virtual", "calibrations": calibrations, **shown}


def _compared(drawn: Drawn, found: Calibration) -> dict[str, Any]:
    """What calibration found of a board, beside what it is."""
    true_s = (drawn.board.decay_ms + drawn.board.lag_ms) / 1000
    said = {"tail": found.tail, "tail_s": found.tail_s, "integrates": found.integrates}
    return {"mode": drawn.mode, "true_tail_s": true_s, **said}


def _round(number: int, drawn: list[Drawn], random: Random, long: bool) -> tuple[dict[int, Calibration], list[Answer]]:
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder), [each.board for each in drawn])
        found, ready_ns = calibrated_virtually(node, drawn, random)
        windows = plan(node.control, drawn, ready_ns + LEAD_NS, random, long)
        readers = {OURS: _boards(found), UNCALIBRATED: _boards({})}
        answers = _asked(number, node, windows, readers, random, ready_ns)
        for window in windows:
            counted_j = node.counter_j(window.gpu, window.t1_ns) - node.counter_j(window.gpu, window.t0_ns)
            answers.append(answered(ZEUS, number, window, node.control, counted_j))
        del node.control, node.gpus
    return found, answers


def _boards(found: Mapping[int, Calibration]) -> list[Board]:
    known = {gpu: one.known() for gpu, one in found.items()}
    return [Board(uuid_of(gpu), "simulated", 0.05, known.get(gpu, NOTHING)) for gpu in range(8)]


def _asked(
    number: int, node: Node, windows: Sequence[Window], readers: Mapping[str, list[Board]], random: Random, from_ns: int
) -> list[Answer]:
    """Let all readers see the same readings, and ask each of them for a window some time after its end."""
    marks = [edge_ns for window in windows for edge_ns in (window.t0_ns, window.t1_ns)]
    answers, coming = [], list(reversed(windows))
    for gpu, reading in recorded(node, windows[-1].t1_ns + 3 * S, marks, random, from_ns):
        for boards in readers.values():
            boards[gpu].append(reading)
        while coming and coming[-1].t1_ns + ASK_AFTER_NS < reading.t_ns:
            window = coming.pop()
            for reader, boards in readers.items():
                energy = boards[window.gpu].energy(window.t0_ns, window.t1_ns)
                answers.append(answered(reader, number, window, node.control, energy))
    return answers
