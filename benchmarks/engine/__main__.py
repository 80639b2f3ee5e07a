"""What the engine itself costs: tasks a second, plan, ledger, resume, memory of the driver, writes to the store.

Every comparison is made side by side in one run, part by part, round by round; each part is a file beside this one.

Run: `python -m benchmarks.engine [--rounds 5] [--parts throughput process scripts plan ledger resume memory]`
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence

from benchmarks.engine import ledger, memory, plan, resume, throughput
from benchmarks.measurement import Series, print_table, write

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
    rows: list[Series] = []
    for part in given.parts:
        found = PARTS[part](given.rounds)
        print_table(part, found)
        rows += found
    write("engine", rows, {"rounds": given.rounds, "parts": given.parts})


if __name__ == "__main__":
    main()
