"""How long it takes until a run whose driver was killed is held again, with all its tasks known."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.engine.child import run_child
from benchmarks.engine.ledger import run_through
from benchmarks.engine.studies import study_of
from benchmarks.measurement import Series
from joulegrid.cluster.folder import FolderStore
from joulegrid.cluster.storage import open_store
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.state.ledger import Ledger
from joulegrid.jobs.study.design import design_of, write_design
from joulegrid.jobs.study.load import make_study

CHILD = """
import json, sys, time
from joulegrid.jobs.study.load import make_study
from joulegrid.jobs.loop.continuing import Choice
from joulegrid.jobs.loop.opening import open_output, open_run
from joulegrid.jobs.plan.plan import Plan
study = make_study(json.load(open(sys.argv[1])))
plan = Plan(study)
root = open_output(study)
began_s = time.perf_counter()
run = open_run(study, plan, root, Choice(), conditional=True)
print(json.dumps({"seconds": time.perf_counter() - began_s, **run.counts()}))
"""


def measure(rounds: int) -> list[Series]:
    """Return seconds until 10⁵ done tasks are known on disk and on an S3 server, and 10⁶ on disk."""
    from benchmarks.engine.s3 import rclone

    rows = []
    for n_tasks, name in ((100_000, "10⁵"), (1_000_000, "10⁶")):
        with tempfile.TemporaryDirectory() as folder:
            study = _killed_run(Path(folder) / "bucket", n_tasks)
            repeats = range(rounds if n_tasks == 100_000 else 1)
            for kind in ("disk", "s3"):
                for number in repeats:
                    shutil.copytree(Path(folder) / "bucket", Path(folder) / f"bucket-{kind}-{number}")
            on_disk = [str(Path(folder) / f"bucket-disk-{number}") for number in repeats]
            rows.append(Series(f"resume with {name} done, disk", "s", _opened(study, on_disk)))
            if n_tasks == 100_000:
                with rclone(Path(folder)) as environment:
                    there = [f"s3://bucket-s3-{number}" for number in repeats]
                    rows.append(Series(f"resume with {name} done, S3 server", "s", _opened(study, there, environment)))
    return rows


def _killed_run(folder: Path, n_tasks: int) -> dict[str, Any]:
    """Write a run as a driver leaves it that is killed with one task left."""
    folder.mkdir(parents=True)
    mapping = study_of(folder, 1, "inline")
    Path(mapping["script"]["path"]).write_text("x = y = 0\ndef main():\n    return {'x': x}\n")
    mapping["sweep"] = {"script.globals.x": list(range(n_tasks // 1_000)), "script.globals.y": list(range(1_000))}
    study = make_study(mapping)
    store = open_store(folder).child("engine_20260101-000000-abcdef")
    write_design(store, design_of(study, Plan(study)))
    ledger = Ledger.open(FolderStore(Path(str(store.url)), durable=False))
    run_through(ledger, list(range(n_tasks - 1)))
    ledger.flush()
    return mapping


def _opened(study: dict[str, Any], outputs: list[str], environment: dict[str, str] | None = None) -> list[float]:
    """Open copies of the run, each once: what a resume leaves behind makes the next one quicker."""
    seconds = []
    for output in outputs:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({**study, "output": output}, file)
            file.flush()
            found = run_child(CHILD, file.name, environment=environment)
        assert found["done"] == found["n_tasks"] - 1, found
        seconds.append(float(found["seconds"]))
    return seconds
