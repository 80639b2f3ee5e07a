"""Memory of a driver, Ray's client included, that has planned a million tasks and dispatched a tenth of them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.engine.child import run_child
from benchmarks.engine.studies import study_of
from benchmarks.measurement import Series

PLANNED, DISPATCHED = 1_000_000, 100_000
CHILD = """
import json, resource, sys
from benchmarks.engine.child import run_child
from benchmarks.stopwatch import Stopwatch
from joulegrid.errors import StudyInterrupted
from joulegrid.jobs.loop.driver import Options, drive
from joulegrid.jobs.study.load import make_study
from joulegrid.jobs.plan.plan import Plan

class Until(Stopwatch):
    def tick(self, lanes):
        if self.n_timed >= int(sys.argv[2]):
            raise KeyboardInterrupt
        return False

study = make_study(json.loads(sys.argv[1]))
watch = Until()
try:
    drive(study, Plan(study), Options(display=watch, report=False))
except StudyInterrupted:
    pass
peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"peak_mib": peak_mib, "dispatched": watch.n_timed, "per_second": watch.per_second}))
"""


def measure(rounds: int) -> list[Series]:
    """Return the driver's peak of resident memory, once: it takes minutes."""
    with tempfile.TemporaryDirectory() as folder:
        study = study_of(Path(folder), 1, "inline")
        study["sweep"] = {"script.globals.x": list(range(1_000)), "script.globals.y": list(range(PLANNED // 1_000))}
        Path(study["script"]["path"]).write_text("x = y = 0\ndef main():\n    return {'x': x}\n")
        study["execution"] |= {"confirm_above": PLANNED}
        found = run_child(CHILD, json.dumps(study), str(DISPATCHED))
    assert found["dispatched"] >= DISPATCHED, found
    return [
        Series(f"driver's peak memory, {PLANNED:,} planned, {DISPATCHED:,} dispatched", "MiB", [found["peak_mib"]]),
        Series("tasks a second meanwhile", "tasks/s", [found["per_second"]]),
    ]
