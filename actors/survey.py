"""A look at every node of a Ray cluster: versions, hardware and the clock, one short-lived actor a node.

It measures nothing and holds no resources, so it may run beside a study.
"""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from joulegrid.cluster import node
from joulegrid.version import __version__

_CLOCK_ASKS = 5
_PACKAGES = ("ray", "torch", "transformers", "triton")


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What one node said of itself; `error` stands alone where it did not answer."""

    node_id: str
    address: str
    hostname: str
    versions: dict[str, str | None] | None = None
    """`python`, `joulegrid` and packages → version, `None` where not installed."""
    driver: str | None = None
    gpus: tuple[str, ...] = ()
    """Model names in NVML's order."""
    cpus: int | None = None
    memory_bytes: int | None = None
    clock_offset_s: float | None = None
    """The node's wall clock less the caller's, from the quickest of five questions."""
    clock_uncertainty_s: float | None = None
    """Half of that question's round trip."""
    error: str | None = None


@ray.remote(num_cpus=0, max_restarts=0)
class Surveyor:
    """Answers for the node it was put on."""

    def facts(self) -> dict[str, Any]:
        """Versions and hardware of this node."""
        graphics = node.gpus()
        return {
            "versions": {"python": platform.python_version(), "joulegrid": __version__}
            | {name: _version(name) for name in _PACKAGES},
            "driver": next((gpu.driver for gpu in graphics.gpus), None),
            "gpus": tuple(gpu.name or "unknown GPU" for gpu in graphics.gpus),
            "cpus": node.cpu().logical_cores,
            "memory_bytes": node.memory_bytes(),
        }

    def clock_s(self) -> float:
        """Read the node's wall clock, seconds since the epoch."""
        return time.time()


def survey_nodes(timeout_s: float = 60.0) -> list[NodeReport]:
    """Ask every living node of the joined cluster; a node that does not answer in time is reported with `error`."""
    living = [entry for entry in ray.nodes() if entry["Alive"]]  # type: ignore[no-untyped-call]
    deadline = time.monotonic() + timeout_s
    asked = [(entry, _surveyor(entry["NodeID"])) for entry in living]
    return [_report(entry, surveyor, deadline) for entry, surveyor in asked]


def _surveyor(node_id: str) -> Any:
    place = NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
    return Surveyor.options(scheduling_strategy=place).remote()  # type: ignore[attr-defined, unused-ignore]


def _report(entry: dict[str, Any], surveyor: Any, deadline: float) -> NodeReport:
    blank = NodeReport(entry["NodeID"], entry["NodeManagerAddress"], entry["NodeManagerHostname"])
    try:
        facts = ray.get(surveyor.facts.remote(), timeout=max(0.1, deadline - time.monotonic()))
        offset_s, uncertainty_s = min((_clock(surveyor, deadline) for _ in range(_CLOCK_ASKS)), key=lambda ask: ask[1])
    except ray.exceptions.GetTimeoutError:
        return replace(blank, error="did not answer in time")
    except ray.exceptions.RayError as error:
        return replace(blank, error=str(error).strip().splitlines()[-1])
    finally:
        ray.kill(surveyor)
    return replace(blank, clock_offset_s=offset_s, clock_uncertainty_s=uncertainty_s, **facts)


def _clock(surveyor: Any, deadline: float) -> tuple[float, float]:
    """Offset of the node's clock and half of the round trip, both in seconds (Cristian's method)."""
    before_s, t0 = time.time(), time.monotonic()
    there_s = ray.get(surveyor.clock_s.remote(), timeout=max(0.1, deadline - time.monotonic()))
    half_s = (time.monotonic() - t0) / 2
    return there_s - (before_s + half_s), half_s


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
