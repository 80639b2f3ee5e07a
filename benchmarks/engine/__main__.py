"""What the engine itself costs: tasks a second, plan, ledger, resume, memory of the driver, writes to the store.

Every comparison is made side by side in one run, part by part, round by round; each part is a file beside this one.
A part that is not run keeps the figures, date, commit and machine that it has in `benchmarks/results/engine.json`.

Run: `python -m benchmarks.engine [--rounds 5] [--parts throughput process scripts plan ledger resume memory]`
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.engine import ledger, memory, plan, resume, throughput
from benchmarks.measurement import Series, kept, noted, print_table, write

PARTS: dict[str, Callable[[int], list[Series]]] = {
    "throughput": throughput.no_ops,
    "process": throughput.fresh_processes,
    "scripts": throughput.scripts,
    "plan": plan.measure,
    "ledger": ledger.measure,
    "resume": resume.measure,
    "memory": memory.measure,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    given = parser.parse_args(arguments)
    logging.getLogger("ray").setLevel(logging.ERROR)
    parts = {part: noted(partial(measured, part, given.rounds)) for part in given.parts}
    write("engine", [], {"parts": kept("engine") | parts})


def measured(part: str, rounds: int) -> dict[str, Any]:
    """Measure a part, print its table, return what the file keeps of it."""
    found = PARTS[part](rounds)
    print_table(part, found)
    return {"rounds": rounds, "series": [one.row() for one in found]}


if __name__ == "__main__":
    main()
