"""A plan of a million points, each time in a process of its own: until all is counted, until the first task."""

from __future__ import annotations

from typing import Any

from benchmarks.engine.child import run_child
from benchmarks.measurement import Series

POINTS = 1_000_000
CHILD = """
import json, resource, sys, time
from joulegrid.jobs.study.load import make_study
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.loop.streams import Streams
side = 100
study = make_study({
    "study_name": "million", "model": "tiny-lm",
    "sweep": {"pytorch.batch_size": list(range(1, side + 1)), "pytorch.max_new_tokens": list(range(1, side + 1)),
              "pytorch.n_prompts": list(range(1, side + 1))},
    "execution": {"cycle_order": sys.argv[1], "n_cycles": 2},
})
began_s = time.perf_counter()
plan = Plan(study)
counted = [len(plan), plan.study_design_hash, [(one.reason, one.count) for one in plan.skipped]]
all_s = time.perf_counter() - began_s
streams = Streams(plan.order, ["a", "b"], lambda at: False, lambda visits: None)
point = plan[streams.take("a")[0]]
first_s = time.perf_counter() - began_s
refused = sum(one.count for one in plan.skipped)
print(json.dumps({"all_s": all_s, "first_s": first_s, "n": len(plan), "refused": refused,
                  "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def measure(rounds: int) -> list[Series]:
    """Return seconds until count, hash and skips are known, until the first task, and the peak of memory."""
    rows: list[Series] = []
    for order in ("interleaved", "shuffled"):
        found = [_child(order) for _ in range(rounds)]
        rows.append(Series(f"10⁶ points, {order}: count, hash and skips", "s", [one["all_s"] for one in found]))
        rows.append(Series(f"10⁶ points, {order}: first task", "s", [one["first_s"] for one in found]))
        rows.append(Series(f"10⁶ points, {order}: peak memory", "MiB", [one["peak_mib"] for one in found]))
    return rows


def _child(order: str) -> dict[str, Any]:
    found = run_child(CHILD, order)
    assert found["n"] + found["refused"] == POINTS, found
    return found
