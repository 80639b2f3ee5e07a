"""Inside a task's fresh process: run the workload, write what came out, leave.

`main` is called by the zygote after a fork, or as `python -m joulegrid.actors.child SPEC` in a new interpreter.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import math
import os
import random
import sys
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from joulegrid.actors.ending import REPORT_LIMIT, too_large
from joulegrid.actors.probe import Account, TaskProbe, datagrams, family_seconds
from joulegrid.actors.raised import describe
from joulegrid.cases.contract import LaneCannotError, LaneView, Measurement
from joulegrid.cases.models import fingerprint as model_fingerprint
from joulegrid.cluster.power.sampler.marks import mark_sender
from joulegrid.jsontypes import Json


class ReportTooLargeError(RuntimeError):
    """The workload returned more than a result can hold."""


@dataclasses.dataclass(frozen=True, slots=True)
class Launch:
    """A task as its lane orders it."""

    experiment: dict[str, Json]
    inputs: dict[str, str]
    fingerprints: dict[str, str]
    lane: LaneView
    seed: int
    timeout_s: float | None
    marks: str = ""
    """Abstract Unix address of the node's sampler for marks; empty: nobody listens."""


@dataclasses.dataclass(frozen=True, slots=True)
class Spec:
    """What the process is told, as a JSON file."""

    experiment: dict[str, Json]
    inputs: dict[str, str]
    fingerprints: dict[str, str]
    lane: LaneView
    scratch: str
    report: str
    """Where the process writes its report."""
    progress: str
    """Abstract Unix address for progress datagrams."""
    seed: int
    marks: str = ""
    """The same for marks."""

    def write(self, path: Path) -> None:
        """Write the file that `read` reads."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        path.write_text(json.dumps(fields | {"lane": dataclasses.asdict(self.lane)}), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Spec:
        """Read a file that `write` wrote."""
        values = json.loads(path.read_text(encoding="utf-8"))
        lane: dict[str, Any] = values.pop("lane")
        tuples: dict[str, Any] = {name: tuple(value) for name, value in lane.items() if isinstance(value, list)}
        return cls(lane=LaneView(**(lane | tuples)), **values)


def main(spec_path: str) -> None:
    """Run the task described in a file; what it raises becomes its report, never a traceback of ours."""
    entered_ns = time.monotonic_ns()
    spec = Spec.read(Path(spec_path))
    _settle(spec)
    account = Account(family_seconds, spec.lane.cpus, mark_sender(spec.marks))
    probe = TaskProbe(spec.lane, Path(spec.scratch), datagrams(spec.progress), account)
    report = perform(spec.experiment, spec.inputs, spec.fingerprints, probe)
    write_whole(Path(spec.report), json.dumps({"entered_ns": entered_ns} | report).encode())


def perform(
    experiment: dict[str, Json], inputs: dict[str, str], fingerprints: dict[str, str], probe: TaskProbe
) -> dict[str, Json]:
    """Run the workload and return its report: `status`, `marks`, and what came out or why nothing did."""
    phase = "import"
    try:
        from joulegrid.cases.contract import ExperimentConfig
        from joulegrid.cases.registry import workload_named

        config = ExperimentConfig.model_validate(experiment)
        phase = "run"
        refuse_changed(inputs, fingerprints)
        measurement = workload_named(config.workload).run(config, inputs, probe)
        report: dict[str, Json] = {"status": "done"} | _plain(measurement)
    except BaseException as error:  # noqa: BLE001 - the task's boundary: whatever is raised is the task's failure
        phase = probe.phase if phase == "run" else phase
        report = {"status": "failed", "failure": describe(error, phase)}
    report["marks"] = [dataclasses.asdict(mark) for mark in probe.marks]
    return bounded(report)


def refuse_changed(inputs: Mapping[str, str], fingerprints: Mapping[str, str]) -> None:
    """Raise `LaneCannotError` where a file is no longer what the plan read: the key would name other content."""
    for path, location in inputs.items():
        place, expected = Path(location), fingerprints.get(path)
        if expected is None or not expected.startswith("sha256:") or not place.exists():
            continue
        found = model_fingerprint(place) if place.is_dir() else "sha256:" + sha256(place.read_bytes()).hexdigest()
        if found != expected:
            raise LaneCannotError(f"{path}: {place} has changed since the study was planned; start the study again")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is either absent or whole.

    Its reader lives on this machine and dies with it: what would outlast a power loss nobody reads.
    """
    temporary = path.with_suffix(".part")
    temporary.write_bytes(data)
    temporary.rename(path)


def bounded(report: dict[str, Json]) -> dict[str, Json]:
    """Return the report, or a failure in its place where it is larger than a result may be."""
    size = len(json.dumps(report))  # ASCII: a character is a byte
    if size <= REPORT_LIMIT:
        return report
    return {"status": "failed", "failure": describe(ReportTooLargeError(too_large(size)), "run"), "marks": []}


def _settle(spec: Spec) -> None:
    """Give the process its lane: GPUs by UUID, CPU cores, seeds, line-wise output, traces of crashes."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(spec.lane.gpu_uuids)
    os.environ["JOULEGRID_ARTIFACTS"] = str(Path(spec.scratch) / "artifacts")
    os.environ["OMP_NUM_THREADS"] = str(max(1, len(spec.lane.cpus)))
    if spec.lane.cpus:
        os.sched_setaffinity(0, spec.lane.cpus)
    random.seed(spec.seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(spec.seed % 2**32)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faulthandler.enable()


def _plain(measurement: Measurement) -> dict[str, Json]:
    return {
        "metrics": to_json(measurement.metrics, "metrics"),
        "work": {unit: float(count) for unit, count in measurement.work.items()},
        "headline": measurement.headline,
        "effective": to_json(measurement.effective, "effective"),
        "work_of": {
            window: {unit: float(count) for unit, count in work.items()} for window, work in measurement.work_of.items()
        },
        "differences": [dataclasses.asdict(one) for one in measurement.differences],
    }


def to_json(value: Any, path: str) -> Json:
    """Turn a workload's value into JSON: numpy and torch scalars become numbers, NaN and infinity null.

    Raises:
        TypeError: for what no JSON file can hold, naming where it stands.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if abs(value) > sys.float_info.max:
            raise TypeError(f"{path}: an integer of {value.bit_length()} bits cannot be kept; no float is so large")
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        named = {str(name): to_json(inner, f"{path}.{name}") for name, inner in value.items()}
        if len(named) < len(value):
            raise TypeError(f"{path}: two keys have the same name as text; use texts as keys")
        return named
    if isinstance(value, list | tuple):
        return [to_json(inner, f"{path}[{index}]") for index, inner in enumerate(value)]
    if (hasattr(value, "item") and getattr(value, "size", 1) in (1, ())) or _is_scalar_tensor(value):
        return to_json(value.item(), path)
    raise TypeError(f"{path}: a {type(value).__name__} cannot be kept; return numbers, texts, lists or mappings")


def _is_scalar_tensor(value: Any) -> bool:
    return hasattr(value, "item") and hasattr(value, "numel") and value.numel() == 1


if __name__ == "__main__":
    main(sys.argv[1])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
