"""What the store and the plan pay for their promises: durable writes, a listing of markers, identities.

* a durable `create` of 1 kB in a folder (temporary, fsync, link, fsync of the folder), against one without fsync;
* listing 10,000 commit markers in 256 folders;
* canonical JSON and SHA-256 of 100,000 points of five fields, against planning as many points.

Run: `python -m benchmarks.store_costs [--rounds 5]`
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measurement import Series, print_table, write
from joulegrid.cluster.storage import Store, open_store
from joulegrid.jobs.plan.identity import digest
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.study.load import make_study

WRITES = 200
MARKERS = 10_000
SIDE = 100_000 // 400


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def creates(store: Store, round_: int) -> None:
    """Create small objects in one folder."""
    for number in range(WRITES):
        store.create(f"commit/{round_}/{number}", b"x" * 1_000)


def fill(store: Store) -> None:
    """Write markers as a run has them."""
    for number in range(MARKERS):
        store.create(f"commit/{number % 256:02x}/{number:016x}-c0", b"{}")


def hashed() -> None:
    """Hash as many points as are planned."""
    for number in range(100_000):
        digest({"a": number, "b": 1.5, "c": "fp16", "d": True, "e": [number, 2]})


def planned() -> None:
    """Plan 100,000 points of two axes."""
    Plan(
        make_study(
            {
                "model": "tiny-lm",
                "pytorch": {"do_sample": True},
                "sweep": {"pytorch.seed": list(range(400)), "pytorch.max_new_tokens": list(range(1, SIDE + 1))},
            }
        )
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything in turn, round by round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    rows = {
        name: Series(name, unit)
        for name, unit in (
            ("durable create", "ms"),
            ("create without fsync", "ms"),
            (f"listing {MARKERS} markers", "ms"),
            ("JSON and SHA-256", "µs/point"),
            ("plan", "µs/point"),
        )
    }
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        durable, loose = open_store(f"{folder}/durable"), open_store(f"{folder}/loose", durable=False)
        fill(loose.child("markers"))
        for round_ in range(given.rounds):
            values = (
                seconds(lambda round_=round_: creates(durable, round_)) / WRITES * 1e3,  # type: ignore[misc]
                seconds(lambda round_=round_: creates(loose, round_)) / WRITES * 1e3,  # type: ignore[misc]
                seconds(lambda: list(loose.child("markers").list("commit/"))) * 1e3,
                seconds(hashed) / 100_000 * 1e6,
                seconds(planned) / 100_000 * 1e6,
            )
            for row, value in zip(rows.values(), values, strict=True):
                row.values.append(value)
    print_table("costs", list(rows.values()))
    write("store_costs", list(rows.values()), {"rounds": given.rounds, "writes": WRITES, "markers": MARKERS})


if __name__ == "__main__":
    main()
