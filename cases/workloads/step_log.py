"""A log of forward passes: when each ran, and for which requests. From it a window's joules are divided.

`artifacts/steps.json.gz` holds `{"window": name, "requests": [id, …], "steps": [[t0_ns, t1_ns, [[request, prefill
tokens, decode tokens, KV tokens read], …]], …]}`: times of `time.monotonic_ns()` inside the window, requests by their
place in the list. Written after the window; any workload may write one. Torch-free.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joulegrid.cases.workloads.generation import Batch
    from joulegrid.cases.workloads.inference_passes import Timed

NAME = "steps.json.gz"
ENTRIES_MOST = 300_000
"""(step, request) pairs; beyond, no log is written: it would take longer than what it is about."""


@dataclass(frozen=True, slots=True)
class Call:
    """Generation for one batch that stays together: the prompts' pass, then a pass a token for all of them."""

    prompts: tuple[int, ...]
    """Tokens of each prompt."""
    times_ns: tuple[int, ...]
    """The start, then the time after each pass."""


def calls(timed: Timed, batches: Sequence[Batch]) -> list[Call]:
    """Return the calls of a window in which the time was stamped after each token."""
    stamped = zip(timed.starts_ns, timed.stamps_ns, strict=True)
    return [
        Call(batches[number % len(batches)].lengths, (start_ns, *stamps_ns))
        for number, (start_ns, stamps_ns) in enumerate(stamped)
    ]


def write_step_log(scratch: Path, window: str, made: Sequence[Call]) -> str:
    """Write the log of these calls beside the result; return its name, or why there is none."""
    entries = sum(len(call.prompts) * (len(call.times_ns) - 1) for call in made)
    if entries > ENTRIES_MOST:
        return f"left out: {entries:,} entries are more than {ENTRIES_MOST:,}"
    requests = [f"{number}.{row}" for number, call in enumerate(made) for row in range(len(call.prompts))]
    log = {"window": window, "requests": requests, "steps": list(_steps(made))}
    folder = scratch / "artifacts"
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_bytes(gzip.compress(json.dumps(log, separators=(",", ":")).encode(), 1))
    return NAME


def _steps(made: Sequence[Call]) -> Iterator[list[object]]:
    """The prompts' pass reads no cache; each later one reads a row's prompt and the tokens before its own.

    A row that has ended is computed until its batch ends, so it is charged until then.
    """
    first = 0
    for call in made:
        for step, (t0_ns, t1_ns) in enumerate(pairwise(call.times_ns)):
            rows = enumerate(call.prompts, first)
            if step == 0:
                yield [t0_ns, t1_ns, [[row, length, 0, 0] for row, length in rows]]
            else:
                yield [t0_ns, t1_ns, [[row, 0, 1, length + step - 1] for row, length in rows]]
        first += len(call.prompts)
