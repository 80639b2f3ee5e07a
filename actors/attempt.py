"""What an attempt at a task leaves in the store: names and bytes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from joulegrid.actors.outcome import Outcome
from joulegrid.actors.result import ExperimentResult, Task
from joulegrid.actors.spent import spent_in
from joulegrid.cluster.environment import Environment
from joulegrid.cluster.power.sensors.series import Sample
from joulegrid.cluster.secrets import mask

CONTAMINATED = "contaminated.json"
"""What a contaminated task reported: kept beside its result, never aggregated."""


def attempt_folder(task: Task) -> str:
    """Return the folder of one attempt inside the run.

    A later driver cannot know of an attempt that an earlier one ordered in its last second: the epoch keeps them apart.
    """
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", mask(task.label)).strip("-.")[:48] or "experiment"
    driver = f"-e{task.epoch}" if task.epoch > 1 else ""
    return f"results/{task.key[:2]}/{slug}_{task.key[:8]}_c{task.cycle}-a{task.attempt}{driver}"


def outcome_of(task: Task, result: ExperimentResult, folder: str, data: bytes) -> Outcome:
    """Return what the driver is told of a stored result."""
    energy, failure = result.energy, result.failure
    return Outcome(
        task_id=task.id,
        index=task.index,
        cycle=task.cycle,
        attempt=task.attempt,
        status=result.status,
        lane=result.lane.lane,
        path=folder,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        duration_s=result.timing.duration_s,
        energy_j=energy.energy_j if energy else None,
        provenance=energy.provenance if energy else None,
        source=energy.source if energy else None,
        scope=energy.scope if energy else None,
        failure_class=failure.failure_class if failure else None,
        message=failure.message if failure else None,
        spent=spent_in(result.windows or (), result.timing.unix_offset_ns or 0),
    )


def artifacts_in(folder: Path) -> list[tuple[str, Path]]:
    """Return the plain files below `artifacts` in a task's folder, by their name beside the result."""
    files = (path for path in sorted((folder / "artifacts").rglob("*")) if path.is_file() and not path.is_symlink())
    return [(os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace"), path) for path in files]


def result_bytes(result: ExperimentResult, environment: str) -> bytes:
    """Return the file of a result whose environment, the same for every task of a lane, is text already.

    Some 300 package names make it nine tenths of the file.
    """
    text = result.model_dump_json(indent=1, exclude={"environment"})
    return f'{text[:-2]},\n "environment": {environment}\n}}'.encode()


def environment_text(environment: Environment) -> str:
    """Return a lane's environment as it stands in each of its results."""
    return environment.model_dump_json(indent=1).replace("\n", "\n ")


def series_parquet(samples: Sequence[Sample]) -> bytes:
    """Return the power series as Parquet: `t_ns` (the node's monotonic clock), device, watts and their source."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"t_ns": pa.int64(), "power_w": pa.float64()}
    names = ("t_ns", "device", "power_w", "source", "provenance", "scope")
    schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
    columns = {name: [getattr(sample, name) for sample in samples] for name in names}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=schema), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data
