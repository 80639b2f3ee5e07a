"""The part `faults`: what is said of windows in which a board's sensors fail or lie. No zero and no believed lie."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.energy.boards import ABRUPT, draw
from tests.cluster.nvml_simulated.build import (
    COUNTER_SENSED_ONLY,
    COUNTER_UNSUPPORTED,
    COUNTER_ZERO,
    INSTANT_UNSUPPORTED,
    POWER_UNSUPPORTED,
    Board,
    Control,
    Gpu,
    simulated_nvml,
    uuid_of,
)
from tests.cluster.nvml_simulated.loads import Hold, cut, square
from tests.cluster.nvml_simulated.record import Recording

S = 1_000_000_000
CALIBRATE_S, IDLE_S, LOAD_S = 6.0, 2.0, 4.0
BELIEVED = 0.05
"""A figure off by more than this, whose interval excludes the truth and that no flag explains, is a believed lie."""
EXPLAIN = {"counter_distrusted", "counter_stalled", "counter_reset", "power_stalled", "slow_updates", "gap"}
"""Flags that warn of a broken sensor; `aliasing` does so for a square wave alone, `short` and others never."""

Break = Callable[[Gpu, int, int], None]
"""Breaks a GPU, given the start and the end of the load's window."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fault: what is different from the beginning (`flags`, `board`), and what breaks later."""

    name: str
    later: Break | None = None
    flags: int = 0
    board: Callable[[Board], Board] = lambda board: board
    wave: bool = False
    early: bool = False
    """It breaks before the recorder starts; a calibration could see it."""


def _set(**fields: float | Callable[[int, int], int]) -> Break:
    def later(gpu: Gpu, t0_ns: int, t1_ns: int) -> None:
        for name, value in fields.items():
            setattr(gpu, name, value(t0_ns, t1_ns) if callable(value) else value)

    return later


def _in(share: float, seconds: float = 0.0) -> Callable[[int, int], int]:
    """The instant at a share of the window, and some seconds."""
    return lambda t0_ns, t1_ns: round(t0_ns + share * (t1_ns - t0_ns) + seconds * S)


def _slow(board: Board) -> Board:
    return replace(board, tick_ms=500.0, power_tick_ms=0.0)


CASES = (
    Case("counter unsupported", flags=COUNTER_UNSUPPORTED),
    Case("counter always zero", flags=COUNTER_ZERO),
    Case("counter becomes zero inside", _set(faults=COUNTER_ZERO)),
    Case("counter stalls inside", _set(stall_ns=_in(0.4))),
    Case("counter stalled long before", _set(stall_ns=_in(0.0, -IDLE_S - 2.0))),
    Case("counter is reset inside", _set(reset_ns=_in(0.5))),
    Case("counter is reset just before", _set(reset_ns=_in(0.0, -0.05))),
    Case("counter freezes inside, then jumps", _set(freeze_ns=_in(0.2), thaw_ns=_in(0.8))),
    Case("counter freezes at the end, then jumps", _set(freeze_ns=_in(0.7), thaw_ns=_in(1.0, 0.9))),
    Case("counter freezes at the start, then jumps", _set(freeze_ns=_in(0.0, -0.9), thaw_ns=_in(0.3))),
    Case("counter leaps by 5 kJ inside", _set(jump_ns=_in(0.5), jump_j=5000.0)),
    Case("counter leaps by 1 kJ at the end", _set(jump_ns=_in(1.0, 0.02), jump_j=1000.0)),
    Case("counter counts 57 %", _set(counter_scale=0.57), early=True),
    Case("counter counts 1 %", _set(counter_scale=0.01), early=True),
    Case("counter counts 115 %", _set(counter_scale=1.15), early=True),
    Case(
        "counter counts its sensed part of a square wave",
        board=lambda b: replace(b, counter_mode=COUNTER_SENSED_ONLY),
        wave=True,
    ),
    Case("instant power unsupported", flags=INSTANT_UNSUPPORTED),
    Case("average power alone", flags=COUNTER_UNSUPPORTED | INSTANT_UNSUPPORTED),
    Case("nothing but zeros in the counter", flags=COUNTER_ZERO | POWER_UNSUPPORTED),
    Case("neither counter nor power", flags=COUNTER_UNSUPPORTED | POWER_UNSUPPORTED),
    Case("GPU lost inside", _set(lost_ns=_in(0.5))),
    Case("GPU lost before", _set(lost_ns=_in(0.0, -0.5))),
    Case("power stalls inside", _set(power_stall_ns=_in(0.3))),
    Case("power stalls before, no counter", _set(power_stall_ns=_in(0.0, -0.5)), flags=COUNTER_UNSUPPORTED),
    Case("500 ms updates", board=_slow),
    Case(
        "500 ms updates, no counter",
        flags=COUNTER_UNSUPPORTED,
        board=_slow,
    ),
    Case("counter of whole joules", board=lambda b: replace(b, counter_quantum_mj=1000)),
    Case("field 186 is a 1 s average", flags=COUNTER_UNSUPPORTED, board=lambda b: replace(b, window_ms=1000.0)),
)


def run(seed: int) -> dict[str, Any]:
    """Break boards in groups of eight and judge what is said of a load and of idle time."""
    random, rows = Random(seed), []
    for first in range(0, len(CASES), 8):
        rows += _group(CASES[first : first + 8], random)
    verdicts = Counter(row["verdict"] for row in rows)
    for row in rows:
        said = "null" if row["energy_j"] is None else f"{row['energy_j']:.1f} J from {row['source']}"
        print(f"{row['verdict']:14} {row['fault']:48} {row['window']:5} {row['truth_j']:.1f} J: {said} {row['flags']}")
    print(dict(verdicts))
    bad = verdicts["silent zero"] + verdicts["believed lie"]
    aims = [{"aim": "silent zeros and believed lies = 0", "value": float(bad), "met": bad == 0}]
    return {"seed": seed, "aims": aims, "verdicts": dict(verdicts), "windows": rows}


def _group(cases: tuple[Case, ...], random: Random) -> list[dict[str, Any]]:
    abrupt = [next(each.board for each in draw(random) if each.mode == ABRUPT) for _ in cases]
    decaying = [replace(board, decay_ms=random.uniform(20, 150)) for board in abrupt]
    boards = [case.board(board) for case, board in zip(cases, decaying, strict=True)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        env = simulated_nvml(Path(folder), boards=boards)
        env["XDG_CACHE_HOME"] = folder
        control = Control(env)
        for gpu, case in enumerate(cases):
            control.gpu(gpu).faults = case.flags
            if case.later is not None and case.early:
                case.later(control.gpu(gpu), 0, 0)
        with Recording(env, source="nvml") as recording:
            spans = _play(control, cases, boards, random)
            for which, label in ((0, "idle"), (1, "load")):
                ends_ns = [span[which][1] for span in spans]
                time.sleep(max(0.0, (max(ends_ns) - time.monotonic_ns()) / S + 1.5))
                for gpu, case in enumerate(cases):
                    rows.append(_judged(case, label, recording, control, gpu, spans[gpu][which]))
        del control
    return rows


Span = tuple[int, int]


def _play(control: Control, cases: tuple[Case, ...], boards: list[Board], random: Random) -> list[tuple[Span, Span]]:
    """Plan idle time, then a load, on every GPU, and what breaks; wait until the idle time has begun."""
    spans = []
    for gpu, (case, board) in enumerate(zip(cases, boards, strict=True)):
        idle_ns = time.monotonic_ns() + round((CALIBRATE_S + random.uniform(0, 0.2)) * S)
        t0_ns = idle_ns + round((IDLE_S + 1.0) * S)
        peak_w = random.uniform(400, 600)
        shape = cut(square(peak_w, board.idle_w, 0.1), LOAD_S) if case.wave else iter([Hold(LOAD_S, peak_w)])
        t1_ns = control.play(gpu, t0_ns, shape, board.idle_w)
        spans.append(((idle_ns, idle_ns + round(IDLE_S * S)), (t0_ns, t1_ns)))
    time.sleep(CALIBRATE_S + 0.3)
    for gpu, case in enumerate(cases):
        if case.later is not None and not case.early:
            case.later(control.gpu(gpu), *spans[gpu][1])
    return spans


def _judged(case: Case, label: str, recording: Recording, control: Control, gpu: int, span: Span) -> dict[str, Any]:
    energy, _ = recording.energy(*span, [uuid_of(gpu)])
    truth_j = control.energy_j(gpu, *span)
    explained = bool(set(energy.flags) & (EXPLAIN | ({"aliasing"} if case.wave else set())))
    found = energy.model_dump(include={"energy_j", "low_j", "high_j", "source", "flags", "reason", "interval"})
    return {
        "fault": case.name,
        "window": label,
        "truth_j": truth_j,
        **found,
        "verdict": _verdict(truth_j, energy.energy_j, energy.low_j, energy.high_j, explained),
    }


def _verdict(truth_j: float, energy_j: float | None, low_j: float | None, high_j: float | None, flagged: bool) -> str:
    if energy_j is None:
        return "null"
    if energy_j <= 0.01 * truth_j:
        return "flagged zero" if flagged else "silent zero"
    if low_j is not None and high_j is not None and low_j <= truth_j <= high_j:
        return "covered"
    if abs(energy_j / truth_j - 1) <= BELIEVED:
        return "near miss"
    return "flagged miss" if flagged else "believed lie"
