"""What a workload is: the experiment that defines it, the probe that it is given, the measurement it returns.

Neither Ray nor torch nor `joulegrid.cluster` is imported here: a workload sees its lane through the probe alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, model_validator

from joulegrid.jsontypes import Json


class Section(BaseModel):
    """A part of an experiment's definition; unknown keys are refused and values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Resources(Section):
    """What one task occupies. Part of the experiment, because it changes what is measured."""

    gpus: int | None = Field(default=None, ge=0)
    """GPUs of one node; `null` means one where the node has any, else none."""
    cpus: int | None = Field(default=None, ge=1)
    """CPU cores the task is pinned to; `null` means all that its lane owns."""


class ExperimentConfig(Section):
    """One resolved, validated point of a study. `ExperimentConfig(workload=…, …)` gives that workload's own class."""

    workload: str = "inference"
    """The code that a task runs; one of the registered workloads."""
    resources: Resources = Resources()
    """GPUs and CPU cores of one task."""

    if TYPE_CHECKING:

        def __init__(self, **values: Any) -> None:
            """Take the fields of the workload's own class."""

    def __new__(cls, **values: Any) -> ExperimentConfig:
        """Make an instance of the class that belongs to the workload."""
        if cls is ExperimentConfig:
            cls = _config_class(values)  # noqa: PLW0642 - the base is a door to the workloads' classes
        return super().__new__(cls)

    @model_validator(mode="wrap")
    @classmethod
    def _as_workload(cls, values: Any, handler: ModelWrapValidatorHandler[ExperimentConfig]) -> ExperimentConfig:
        if cls is ExperimentConfig and isinstance(values, Mapping):
            return _config_class(values).model_validate(values)
        return handler(values)


def _config_class(values: Mapping[str, Any]) -> type[ExperimentConfig]:
    from joulegrid.cases.registry import workload_named  # the registry imports the workloads, which import this

    return workload_named(values.get("workload", "inference")).Config


SHORT_S = 10.0
"""A measured window under this is flagged `short`: 100 updates of a usual sensor."""
IDLE_WINDOW = "idle"
"""The name of the window that `Probe.idle` opens."""


class LaneCannotError(Exception):
    """Raised by a workload for what this lane cannot do (a precision, a kernel, too little memory).

    The task fails with class `invalid` and this message; the study goes on.
    """


@dataclass(frozen=True, slots=True)
class LaneView:
    """What a task may know of the lane it runs on."""

    device: str
    """`cuda` or `cpu`."""
    gpu_uuids: tuple[str, ...] = ()
    """NVML UUIDs of the GPUs that are visible, in the order of their CUDA indices."""
    cpus: tuple[int, ...] = ()
    """Logical CPU numbers that the process is pinned to; empty where it is not pinned."""
    power_sources: tuple[str, ...] = ()
    """What the node's sampler can read: of `counter`, `instant_integral`, `rapl`, `model`."""
    idle_s: float = 0.0
    """How long a workload holds still once its weights are resident (`Probe.idle`); 0: not at all."""

    @property
    def has_sensor(self) -> bool:
        """Whether the joules of this lane's main devices are read from a sensor; a MIG instance has none."""
        if any(uuid.startswith("MIG-") for uuid in self.gpu_uuids):
            return False
        of_main = {"counter", "instant_integral"} if self.gpu_uuids else {"rapl"}
        return not of_main.isdisjoint(self.power_sources)

    @property
    def usual_window_s(self) -> float:
        """How long a window should be where nobody says: 10 s before a sensor, whose edges then hardly count; else 1 s.

        Modelled joules are made of CPU time, which has no edges to speak of.
        """
        return SHORT_S if self.has_sensor else 1.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A closed window in the task's process: two edges on the node's monotonic clock."""

    name: str
    t0_ns: int
    """`time.monotonic_ns()` at the start, after the device was synchronised."""
    t1_ns: int
    """The same at the end."""
    cpu_s: float
    """CPU seconds of the process and of everything below it between the edges."""
    repeats: int = 1
    """How often the body ran inside the window."""
    other_cpu_s: float | None = None
    """CPU seconds that anybody else spent on the lane's cores between the edges; `None` where it cannot be known."""
    done: tuple[tuple[int, int], ...] = ()
    """(time, repetitions finished by then) at up to 64 moments: whether the body kept its pace."""

    @property
    def seconds(self) -> float:
        """Length of the window in seconds."""
        return (self.t1_ns - self.t0_ns) / 1e9


class Window(Protocol):
    """An open window. Iterating over it repeats the body until the window is as long as was asked for.

    Example::

        with probe.window("throughput", min_seconds=2) as window:
            for _ in window:
                run_one_batch()
        print(window.mark.seconds / window.mark.repeats)
    """

    def __iter__(self) -> Iterator[int]:
        """Yield 0, 1, 2, … until the window is long enough; once at least."""
        ...

    @property
    def mark(self) -> Mark:
        """The closed window; an error while it is still open."""
        ...


class Probe(Protocol):
    """A workload's only way out: windows to be measured, progress, and a place for its files."""

    lane: LaneView
    scratch: Path
    """An empty folder of this attempt; `artifacts/` inside it is kept beside the result."""

    def window(self, name: str, *, min_seconds: float = 0.0) -> AbstractContextManager[Window]:
        """Open a window whose edges are synchronised with the device. Windows of one task must not overlap."""
        ...

    def idle(self) -> None:
        """Hold still as long as the study asks for, in a window of its own: call it once the weights are resident.

        The power of that window is the baseline `loaded_idle`; where the study asks for none nothing happens.
        """
        ...

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Tell how far the task is. Lossy, never blocks."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """A cost that no window has for itself: that of one repetition of a window less that of another."""

    name: str
    minuend: str
    """Window of which one repetition does both parts."""
    subtrahend: str
    """Window of which one repetition does the part that is taken off."""
    unit: str
    count: float
    """What the remaining part produces in one repetition."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a workload returns.

    `metrics` are numbers and texts with units in their names, nested as one likes. `work` counts what the window
    `headline` produced (`{"output_token": 512}`): the worker divides that window's joules by it.
    `effective` says which choices were made where the experiment left them open. A file `artifacts/steps.json.gz` in
    the probe's scratch folder (`joulegrid.cases.workloads.step_log`) divides a window's joules among its requests.
    """

    metrics: dict[str, Json]
    work: dict[str, float] = field(default_factory=dict)
    headline: str | None = None
    effective: dict[str, Json] = field(default_factory=dict)
    work_of: dict[str, dict[str, float]] = field(default_factory=dict)
    """The same as `work` for other windows, by their name: each window's joules are divided by its own work."""
    differences: tuple[Difference, ...] = ()
    """Costs by difference of two windows; they are labelled so and have the errors of both."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A validity rule over a few fields, so that a grid evaluates it once per combination of these fields alone."""

    reads: tuple[str, ...]
    """Dotted paths whose values are handed to `check`, in this order."""
    check: Callable[..., str | None]
    """Return why the combination is refused, or `None` when it is valid."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Fields that have no effect under a condition: points that differ in them alone are equivalent."""

    fields: tuple[str, ...]
    reads: tuple[str, ...]
    when: Callable[..., bool]


@dataclass(frozen=True, slots=True)
class Places:
    """Where relative names of a study are looked up."""

    study_folder: Path

    def file(self, name: str | Path) -> Path:
        """The path of a file or folder named in the study: absolute, or relative to the study file's folder."""
        path = Path(name).expanduser()
        return path if path.is_absolute() else self.study_folder / path


@dataclass(frozen=True, slots=True)
class Input:
    """A thing that an experiment reads, named in the study by a path or a name.

    `fingerprint` replaces the name in the experiment's key (identity is what is read, never where it lies).
    `location` is what the task opens: an absolute path, or `hub:NAME@COMMIT`.
    """

    fingerprint: str
    location: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan can say without hardware; `None` where it cannot."""

    memory_bytes: int | None
    least_seconds: float


class Workload(Protocol):
    """The code that a task runs. A module in `cases/workloads/` offers one, `cases/registry.py` lists it."""

    name: str
    revision: int
    """Raised whenever the meaning of a measured number changes; part of every key."""
    Config: type[ExperimentConfig]
    rules: tuple[Rule, ...]
    ignored: tuple[Ignored, ...]
    input_fields: tuple[str, ...]
    """Dotted paths that `inputs` depends on, so that a grid resolves them once per combination; a path that ends in
    `.*` stands for the names below it, whose values change nothing."""

    def preload(self, config: ExperimentConfig) -> tuple[str, ...]:
        """Modules that the zygote imports once, so that each task's process has them ready. They only import."""
        ...

    def inputs(self, config: ExperimentConfig, places: Places) -> dict[str, Input]:
        """Resolve what the experiment reads, by dotted path; `UsageError` where something is missing."""
        ...

    def estimate(self, config: ExperimentConfig, places: Places) -> Estimate:
        """Memory of one task and the least time it takes, without touching hardware or network."""
        ...

    def run(self, config: ExperimentConfig, inputs: Mapping[str, str], probe: Probe) -> Measurement:
        """Do the work. `inputs` maps dotted paths to locations. Runs in a fresh process."""
        ...
