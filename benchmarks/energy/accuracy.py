"""The part `accuracy`: five readers beside each other on eight simulated boards whose energy is known."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.energy.boards import draw
from benchmarks.energy.figures import AVERAGE, INSTANT, OURS, UNCALIBRATED, ZEUS, answered, figures
from benchmarks.energy.plan import Window, plan
from benchmarks.energy.readers import ROOT, Reader, trapezoid
from benchmarks.energy.score import Answer
from joulegrid.cluster.power.sampler.marks import mark_sender
from tests.cluster.nvml_simulated.build import Control, simulated_nvml, uuid_of
from tests.cluster.nvml_simulated.record import Recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.energy.boards import Drawn

S = 1_000_000_000
LEAD_NS = 3 * S
ASK_AFTER_S = 1.5
"""Ours is asked this long after a window's end, when the counter has ticked, so that no answer waits for another."""


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
    return {"seed": seed, "rounds": rounds, "boards": boards, **figures(answers)}


def _described(drawn: Drawn) -> dict[str, Any]:
    numbers = {name: getattr(drawn.board, name) for name in drawn.board.__slots__}
    return {"mode": drawn.mode, "peak_w": drawn.peak_w, **numbers}


def _round(number: int, drawn: list[Drawn], random: Random, long: bool) -> list[Answer]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        env = simulated_nvml(Path(folder), boards=[each.board for each in drawn])
        control = Control(env)
        # What was found or learnt of a board is kept under its UUID, and boards of all rounds share these.
        envs = {name: {**env, "XDG_CACHE_HOME": str(Path(folder, name))} for name in (OURS, UNCALIBRATED)}
        _calibrate(envs[OURS], drawn)
        zeus, poll = Reader(env, "zeus"), Reader(env, "poll")
        recordings = {name: stack.enter_context(Recording(env, source="nvml")) for name, env in envs.items()}
        windows = plan(control, drawn, time.monotonic_ns() + LEAD_NS, random, long)
        for recording in recordings.values():
            _mark(windows, recording.described["marks"])
        zeus.give([(each.number, each.gpu, each.t0_ns, each.t1_ns) for each in windows])
        ours = [answer for window in windows for answer in _ours(number, recordings, control, window)]
        others = _of_zeus(number, zeus, control, windows) + _of_polls(number, poll, control, windows)
        del control
    return ours + others


def _calibrate(env: dict[str, str], drawn: Sequence[Drawn]) -> None:
    """Calibrate the boards, all at once, as a user would before the first study; about 30 s."""
    peaks_w = json.dumps([each.peak_w for each in drawn])
    command = [sys.executable, "-m", "benchmarks.energy.calibrated", peaks_w]
    subprocess.run(command, env={**env, "PYTHONPATH": str(ROOT)}, check=True, timeout=300)


def _mark(windows: Sequence[Window], address: str) -> None:
    """Send a mark at every edge from now on, as the measured process does, from a thread that ends with the last."""
    mark = mark_sender(address)

    def send() -> None:
        for edge_ns in sorted(edge_ns for window in windows for edge_ns in (window.t0_ns, window.t1_ns)):
            time.sleep(max(0, edge_ns - time.monotonic_ns()) / S)
            mark()

    threading.Thread(target=send, daemon=True).start()


def _ours(number: int, recordings: dict[str, Recording], control: Control, window: Window) -> list[Answer]:
    time.sleep(max(0.0, (window.t1_ns - time.monotonic_ns()) / S + ASK_AFTER_S))
    said = {
        name: recording.energy(window.t0_ns, window.t1_ns, [uuid_of(window.gpu)])[0]
        for name, recording in recordings.items()
    }
    return [answered(name, number, window, control, energy) for name, energy in said.items()]


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
        times_ns, *powers = samples[window.gpu]
        for name, powers_w in zip((AVERAGE, INSTANT), powers, strict=True):
            energy_j = trapezoid(times_ns, powers_w, window.t0_ns, window.t1_ns)
            answers.append(answered(name, number, window, control, energy_j))
    return answers
