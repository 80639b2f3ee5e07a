"""Run units in a few processes within a time, and keep each row in a file, so that a later run goes on from there."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby, islice
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from benchmarks.strictness.units import Bench, Unit
from joulegrid.kernels.judge.zygote import Zygote

MOST_IN_A_BATCH = 12
_PR_SET_PDEATHSIG = 1
_bench: Bench | None = None


@dataclass
class Kept:
    """Rows by the key of their unit, in a file of JSON lines that is only ever appended to."""

    path: Path
    judge: str
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def read(self) -> Kept:
        """Read what earlier runs left; a last line that was cut short is left out."""
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError):
                    row = json.loads(line)
                    self.rows[row.pop("key")] = row
        return self

    def add(self, unit: Unit, row: dict[str, Any]) -> None:
        """Keep a row."""
        key = unit.key(self.judge)
        self.rows[key] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write("\n" + json.dumps({"key": key, **row}))  # behind a line that was cut short, too

    def get(self, unit: Unit) -> dict[str, Any] | None:
        """Return the row of a unit, if it was run with this judge on this candidate."""
        return self.rows.get(unit.key(self.judge))


@dataclass
class Pool:
    """Processes that run units until a deadline of `time.monotonic()`. Made by `open_pool`."""

    kept: Kept
    executor: ProcessPoolExecutor
    jobs: int
    deadline_s: float
    missing: list[Unit] = field(default_factory=list)
    """What there was no time for."""

    def run(self, units: Sequence[Unit]) -> list[dict[str, Any]]:
        """Return the rows of all units that were kept or could be run in time."""
        due = [unit for unit in units if self.kept.get(unit) is None]
        batches = _batches(due)
        running: dict[Future[list[dict[str, Any]]], Sequence[Unit]] = {}
        while True:
            room = self.jobs + 1 - len(running) if time.monotonic() < self.deadline_s else 0
            running |= {self.executor.submit(_run, batch): batch for batch in islice(batches, room)}
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                for unit, row in zip(running.pop(future), future.result(), strict=True):
                    self.kept.add(unit, row)
        self.missing += [unit for unit in due if self.kept.get(unit) is None]
        return [found for unit in units if (found := self.kept.get(unit)) is not None]


@contextmanager
def open_pool(kept: Kept, jobs: int, minutes: float) -> Iterator[Pool]:
    """Open as many processes, each with a zygote of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(kept.judge,)) as executor:
        yield Pool(kept, executor, jobs, time.monotonic() + 60 * minutes)


def _batches(units: Sequence[Unit]) -> Iterator[Sequence[Unit]]:
    """Units of one case and one choice of checks together: they share evaluations."""

    def alike(unit: Unit) -> tuple[str, ...]:
        return unit.entry.case, unit.kind, unit.check

    for _, group in groupby(sorted(units, key=alike), key=alike):
        members = list(group)
        for start in range(0, len(members), MOST_IN_A_BATCH):
            yield members[start : start + MOST_IN_A_BATCH]


def _begin(judge: str) -> None:
    global _bench
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing else tells it that the benchmark was killed
    zygote = Zygote("cpu")
    Finalize(None, zygote.close, exitpriority=10)
    _bench = Bench(zygote, judge)


def _run(units: Sequence[Unit]) -> list[dict[str, Any]]:
    assert _bench is not None
    return [_bench.run(unit) for unit in units]
