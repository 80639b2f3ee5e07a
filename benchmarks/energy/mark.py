"""The part `mark`: how long the two edges of a window take in the task's process."""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

from benchmarks.energy.score import quantile
from joulegrid.actors.probe import Account, TaskWindow, family_seconds
from joulegrid.cluster.power.sampler.marks import mark_receiver, mark_sender, marks_arrived

N = 2000


def run() -> dict[str, Any]:
    """Open and close windows as a task does; torch is not imported, so nothing waits for a device."""
    address = f"joulegrid-benchmark-{os.getpid()}"
    receiver = mark_receiver(address)
    account = Account(family_seconds, mark=mark_sender(address))
    opened_us, closed_us = [], []
    for _ in range(N):
        began_ns = time.perf_counter_ns()
        window = TaskWindow("mark", 0.0, account)
        opened_ns = time.perf_counter_ns()
        window.close()
        closed_ns = time.perf_counter_ns()
        marks_arrived(receiver)
        opened_us.append((opened_ns - began_ns) / 1e3)
        closed_us.append((closed_ns - opened_ns) / 1e3)
    edges = {"begin": opened_us, "end": closed_us}
    found = {
        edge: {"median_us": statistics.median(values), "p99_us": quantile(values, 0.99)}
        for edge, values in edges.items()
    }
    print(found)
    worst_us = max(edge["median_us"] for edge in found.values())
    aims = [{"aim": "a mark in the task ≤ 50 µs (median of the slower edge)", "value": worst_us, "met": worst_us <= 50}]
    return {"n": N, "edges": found, "aims": aims}
