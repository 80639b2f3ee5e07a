"""The part `jitter`: does the recorder read on its deadlines?"""

from __future__ import annotations

import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.energy.score import quantile
from tests.cluster.nvml_simulated.build import simulated_nvml, uuid_of
from tests.cluster.nvml_simulated.record import Recording

PERIOD_NS = 50_000_000
PIECE_S = 60.0


def run(seconds: float) -> dict[str, Any]:
    """Record eight idle boards and look at the times of one board's readings."""
    times_ns: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        env = simulated_nvml(Path(folder), gpus=8)
        env["XDG_CACHE_HOME"] = folder
        with Recording(env, source="nvml", period_s=PERIOD_NS / 1e9) as recording:
            from_ns = time.monotonic_ns()
            end_ns = from_ns + round(seconds * 1e9)
            while from_ns < end_ns:  # asked for piece by piece: an answer of ten minutes would stop the reading itself
                to_ns = min(end_ns, from_ns + round(PIECE_S * 1e9))
                time.sleep(max(0, to_ns - time.monotonic_ns()) / 1e9 + 0.2)
                times_ns += [each["t_ns"] for each in recording.series(from_ns, to_ns - 1, [uuid_of(0)])]
                from_ns = to_ns
            missed = recording.describe()["missed_deadlines"]
    return {"period_s": PERIOD_NS / 1e9, "asked_s": seconds, "missed_deadlines": missed, **figures(times_ns, seconds)}


def figures(times_ns: list[int], seconds: float) -> dict[str, Any]:
    """Jitter about the best grid of deadlines, drift of the grid, and gaps; times in order."""
    turns = [round((t_ns - times_ns[0]) / PERIOD_NS) for t_ns in times_ns]
    late_ms = [(t_ns - times_ns[0] - turn * PERIOD_NS) / 1e6 for t_ns, turn in zip(times_ns, turns, strict=True)]
    slope_ms = statistics.linear_regression(turns, late_ms).slope
    middle_ms = statistics.median(late_ms)
    sizes_ms = [abs(each - middle_ms) for each in late_ms]
    gaps = sum(after - before > 2 * PERIOD_NS for before, after in pairwise(times_ns))
    p99_ms, drift_pct = quantile(sizes_ms, 0.99), 100 * slope_ms * 1e6 / PERIOD_NS
    length = f"in {seconds / 60:g} min"
    return {
        "n": len(times_ns),
        "jitter_ms": {str(share): quantile(sizes_ms, share) for share in (0.5, 0.9, 0.99, 0.999)},
        "longest_gap_ms": max((after - before) / 1e6 for before, after in pairwise(times_ns)),
        "aims": [
            {"aim": f"p99 jitter ≤ 2 ms {length}", "value": p99_ms, "met": p99_ms <= 2.0},
            {"aim": "drift < 0.1 %", "value": drift_pct, "met": abs(drift_pct) < 0.1},
            {"aim": f"gaps > 2 periods {length} = 0", "value": float(gaps), "met": gaps == 0},
        ],
    }
