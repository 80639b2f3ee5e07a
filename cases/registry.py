"""The registered workloads, a line each."""

from __future__ import annotations

from joulegrid.cases.contract import Workload
from joulegrid.cases.workloads.inference import Inference
from joulegrid.cases.workloads.kernel import Kernel
from joulegrid.cases.workloads.script import Script
from joulegrid.errors import UsageError

WORKLOADS: dict[str, Workload] = {
    "inference": Inference(),
    "kernel": Kernel(),
    "script": Script(),
}


def workload_named(name: object) -> Workload:
    """Return the workload of this name; `UsageError` with the known names otherwise."""
    if not isinstance(name, str) or name not in WORKLOADS:
        raise UsageError(f"workload: {name!r} is not known; choose one of {', '.join(sorted(WORKLOADS))}")
    return WORKLOADS[name]
