"""`with joulegrid.meter() as m`: what a block of Python costs, without Ray and without a study."""

from __future__ import annotations

import os
import sys
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING

from joulegrid.actors.probe import family_seconds, synchronize
from joulegrid.cluster.power.sampler.marks import mark_sender
from joulegrid.cluster.power.sampler.recorder import Recorder, Target
from joulegrid.cluster.power.sensors.model import process_cpu_s
from joulegrid.errors import UsageError
from joulegrid.jobs.meter.devices import chosen_gpus, power_config
from joulegrid.jobs.meter.figure import Edges, uncertainty_j

if TYPE_CHECKING:
    from types import TracebackType

    from joulegrid.cluster.power.energy import Energy, Provenance, Source
    from joulegrid.cluster.power.sensors.conditions import Conditions

_recorders: dict[tuple[int, str, str | None], Recorder] = {}
_opening = threading.Lock()


def meter(gpu: str | int | None = None, source: str = "auto", trace: str | None = None) -> Block:
    """Return a context manager that measures its block; see `Block` for what can be read afterwards.

    `gpu` names GPUs by index or UUID, with commas, or says `none`; by default those that `CUDA_VISIBLE_DEVICES` shows.
    `source` and `trace` are those of a study's `power`. The first meter of a process starts a small process that reads
    the sensors (about 0.5 s); all others share it and cost about 0.1 ms.

    Raises `UsageError` for a GPU or a source that does not exist, `PreFlightError` for an explicit source that is
    missing here.
    """
    return Block(None if gpu is None else str(gpu), source, trace)


class Block:
    """A measured block. Everything is read after its end, and computed when it is first read (about 0.2 s)."""

    def __init__(self, gpu: str | None, source: str, trace: str | None = None) -> None:
        self._recorder = shared_recorder(source, trace)
        self._gpus, self._notes = chosen_gpus(gpu, source)
        self._mark = mark_sender(self._recorder.marks)
        self._t0_ns: int | None = None
        self._t1_ns: int | None = None
        self._synced = True
        self._pid = os.getpid()

    def __enter__(self) -> Block:
        if self._t0_ns is not None:
            raise UsageError("a meter measures one block; call joulegrid.meter() again for the next one")
        self._refuse_fork()
        self._mark()
        self._synced = _synchronized()
        self._cpu_s = self._cpu_now_s()
        self._t0_ns = time.monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        at_end = _synchronized()
        self._t1_ns = time.monotonic_ns()
        self._mark()
        self._cpu_s = max(0.0, self._cpu_now_s() - self._cpu_s)
        # Without torch nobody here knows how to wait for a GPU, and another library may have used one.
        self._synced = self._synced and at_end and (not self._gpus or "torch" in sys.modules)

    @property
    def seconds(self) -> float:
        """Length of the block."""
        t0_ns, t1_ns = self._window()
        return (t1_ns - t0_ns) / 1e9

    @property
    def edges(self) -> Edges:
        """`synced` where every CUDA device that torch had initialised was waited for at both edges, else `unsynced`."""
        self._window()
        return "synced" if self._synced else "unsynced"

    @cached_property
    def energies(self) -> tuple[Energy, list[Energy]]:
        """Joules of the GPUs, or without any of the CPU; and of other devices beside them."""
        t0_ns, t1_ns = self._window()
        main, beside = self._recorder.energy(t0_ns, t1_ns, Target(self._gpus), self._cpu_s)
        if not self._synced and main.energy_j is not None:
            main = main.model_copy(update={"flags": tuple(sorted({*main.flags, "unsynced"}))})
        return main, beside

    @property
    def energy(self) -> Energy:
        """The block's energy with all that is known of it."""
        return self.energies[0]

    @property
    def energy_j(self) -> float | None:
        """Joules; `None` where they are unknown, and `reason` says why."""
        return self.energy.energy_j

    @property
    def uncertainty_j(self) -> float | None:
        """Half the width of the stated interval."""
        return uncertainty_j(self.energy)

    @property
    def source(self) -> Source | None:
        """What was read."""
        return self.energy.source

    @property
    def provenance(self) -> Provenance | None:
        """Measured, modelled or simulated."""
        return self.energy.provenance

    @property
    def reason(self) -> str | None:
        """Why the energy is unknown."""
        return self.energy.reason

    @property
    def parts(self) -> tuple[Energy, ...]:
        """Every device by itself: GPUs, CPU, memory. They are of unlike kinds and have no sum."""
        main, beside = self.energies
        return (*(main.parts or (main,)), *beside)

    @property
    def conditions(self) -> list[Conditions]:
        """What each GPU was like."""
        t0_ns, t1_ns = self._window()
        return self._recorder.conditions(t0_ns, t1_ns, Target(self._gpus))

    def _window(self) -> tuple[int, int]:
        if self._t0_ns is None or self._t1_ns is None:
            raise UsageError("the block has not ended; read its meter after the with block")
        self._refuse_fork()
        return self._t0_ns, self._t1_ns

    def _refuse_fork(self) -> None:
        """What listens to the sensors is a thread, and a fork has none of its parent's."""
        if self._pid != os.getpid():
            raise UsageError(
                f"this meter belongs to process {self._pid}, of which this one is a fork; call joulegrid.meter() here"
            )

    def _cpu_now_s(self) -> float:
        """CPU seconds of this process and of everything below it, without the process that reads the sensors."""
        pid = self._recorder.sampling_pid
        return time.process_time() + family_seconds() - ((process_cpu_s(pid) if pid else None) or 0.0)


def shared_recorder(source: str, trace: str | None = None) -> Recorder:
    """Return the recorder of this process for a source; a fork has one of its own."""
    config = power_config(source, trace)
    with _opening:
        key = (os.getpid(), source, trace)
        if key not in _recorders:
            recorder = Recorder(config)
            recorder.start()
            _recorders[key] = recorder
        return _recorders[key]


def _synchronized() -> bool:
    """Wait for torch's devices; an error of theirs belongs to the block's own next call, not to the meter."""
    try:
        synchronize()
    except RuntimeError:
        return False
    return True
