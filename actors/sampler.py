"""The sampler: one long-lived Ray actor a node, a thin coat around the power recorder.

The recorder supervises a small process of its own that reads the sensors, so that neither Ray's interpreter nor the
load's delays a reading. The actor holds no GPU: Ray hides all of them from it through `CUDA_VISIBLE_DEVICES`, which
NVML does not look at.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from joulegrid.cluster.power.sampler.recorder import Recorder, Target
from joulegrid.cluster.power.sensors.series import MARGIN_NS
from joulegrid.errors import PreFlightError

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Energy
    from joulegrid.cluster.power.sensors.conditions import Conditions
    from joulegrid.cluster.power.sensors.series import Sample
    from joulegrid.cluster.power.sensors.sources import PowerConfig
    from joulegrid.jsontypes import Json

THREADS = 16
"""Calls answered at once. A window's answer may wait 0.75 s for four ticks, and a node has up to 8 lanes or more."""


class Sampler:
    """What the actor offers; every method is the recorder's own (`joulegrid.cluster.power.sampler.recorder`)."""

    def __init__(self, config: PowerConfig) -> None:
        self._config = config
        self._recorder: Recorder | None = None
        self._since_ns = 0
        self._starting = threading.Lock()

    def start(self) -> list[str]:
        """Open the sensors and begin to read; give the sources. `PreFlightError` if an explicit one is missing.

        Not done by the constructor: an error there would reach the caller as a dead actor instead of by its name.
        """
        with self._starting:  # every lane of the node asks for it
            if self._recorder is None:
                recorder = Recorder(self._config)
                recorder.start()
                self._recorder, self._since_ns = recorder, time.monotonic_ns()
            return self._recorder.sources

    def stop(self) -> None:
        """Stop reading."""
        self._running().stop()

    def sources(self) -> list[str]:
        """What is read here: of `counter`, `instant_integral`, `rapl`, `model`."""
        return self._running().sources

    def watch(self, lane: str, pid: int) -> None:
        """Begin to read the CPU clock of the lane's process; a sampler that Ray has restarted reads again from here."""
        self.start()
        self._running().watch(lane, pid)

    def unwatch(self, lane: str) -> None:
        """Stop reading the lane's CPU clock."""
        self._running().unwatch(lane)

    def energy(self, t0_ns: int, t1_ns: int, target: Target, cpu_s: float) -> tuple[Energy, list[Energy]]:
        """Joules of a lane between two instants of this node's monotonic clock: its main devices, others beside.

        Raises `RuntimeError` for a window that began before this sampler did, which happens after a restart, and for
        one of which nothing is known because the sampling process died.
        """
        if t0_ns < self._since_ns:
            raise RuntimeError("the window began before the sampler did")
        recorder = self._running()
        energy, beside = recorder.energy(t0_ns, t1_ns, target, cpu_s)
        lost = recorder.lost(t0_ns - MARGIN_NS, t1_ns) if energy.energy_j is None else None
        if lost is not None:
            raise RuntimeError(f"no joules are known of the window: {lost}")
        return energy, beside

    def conditions(self, t0_ns: int, t1_ns: int, target: Target) -> list[Conditions]:
        """What a lane's GPUs were like between two instants."""
        return self._running().conditions(t0_ns, t1_ns, target)

    def marks(self) -> str:
        """Abstract Unix address to which the node's tasks send their marks."""
        return self._running().marks

    def series(self, t0_ns: int, t1_ns: int, target: Target, lane: str) -> list[Sample]:
        """Power of a lane's devices between two instants."""
        return self._running().series(t0_ns, t1_ns, target, lane)

    def describe(self) -> dict[str, Json]:
        """Sources, devices, period, missed deadlines, and why other sources are missing."""
        return self._running().describe()

    def _running(self) -> Recorder:
        if self._recorder is None:
            raise RuntimeError("the sampler was not started")
        return self._recorder


def sampler_on(node_id: str, config: PowerConfig, **options: Any) -> Any:
    """Order the sampler of one node and give the handle of its actor (a `Sampler`), without waiting for it.

    `node_id` is Ray's hexadecimal node id; the actor runs there or nowhere. `options` are further actor options such
    as `name` and `namespace`. The actor lives as long as the handle and its owner. When its process dies, Ray starts
    it again; it then refuses windows that began earlier.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(node_id, soft=False)
    fixed: dict[str, Any] = {"num_cpus": 0, "num_gpus": 0, "max_concurrency": THREADS, "scheduling_strategy": here}
    actor: Any = ray.remote(Sampler)  # Ray's own types take the methods of a typed handle for calls that never return
    return actor.options(**fixed, max_restarts=-1, **options).remote(config)


def start_sampler(node_id: str, config: PowerConfig, **options: Any) -> Any:
    """Start the sampler of one node as `sampler_on` does and wait until it reads.

    Raises `PreFlightError` with the remedy if an explicit source is missing on that node.
    """
    import ray

    handle = sampler_on(node_id, config, **options)
    try:
        ray.get(handle.start.remote())
    except PreFlightError as error:
        ray.kill(handle)
        # Ray wraps the error in one that carries the remote traceback; a person needs the message alone.
        raise PreFlightError(str(getattr(error, "cause", error))) from None
    return handle
