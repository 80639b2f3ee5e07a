"""Task and result: what goes to a worker, and what it writes. No Ray inside; what the driver learns is an `Outcome`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from joulegrid.actors.costs import EnergyDifference, EnergyPer
from joulegrid.cluster.environment import Environment
from joulegrid.cluster.power.attribution.shares import RequestShares
from joulegrid.cluster.power.baseline import Baseline
from joulegrid.cluster.power.energy import Energy
from joulegrid.cluster.power.sensors.conditions import Conditions
from joulegrid.cluster.power.sensors.mig import EstimatedShare
from joulegrid.cluster.power.steady import Steady
from joulegrid.jsontypes import Json

SCHEMA_VERSION = "1.0"

FailureClass = Literal[
    "invalid",  # the lane cannot do what was asked
    "app",  # the measured code raised
    "timeout",  # killed at its limit
    "oom_host",
    "oom_device",
    "crash",  # died by a signal, or left with a non-zero code
    "no_result",  # left with code 0 and wrote nothing
    "import",  # the workload or a thing it needs could not be imported
    "contaminated",  # foreign work on the device
    "cancelled",
    "unschedulable",
    "infra",  # worker, node or store: not the task's fault
]


class Record(BaseModel):
    """A frozen part of a result file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Failure(Record):
    """Why a task has no numbers."""

    failure_class: FailureClass
    type: str | None = None
    """Name of the exception."""
    message: str
    traceback: str | None = None
    """The last 8,000 characters."""
    exit_code: int | None = None
    signal: int | None = None
    phase: str | None = None
    """What the task was doing: `import`, `run`, or the name of the open window."""
    log_tail: str = ""
    """The last 8,000 characters that the task printed."""


class WindowResult(Record):
    """One measured window: how long, how often the body ran, what it cost."""

    name: str
    t0_ns: int
    """Start on the node's monotonic clock, nanoseconds."""
    t1_ns: int
    seconds: float
    cpu_s: float
    """CPU seconds of the task's process and of everything below it, inside the window; with isolation `inline` of the
    whole worker, the threads of Ray in it included."""
    repeats: int
    other_cpu_s: float | None = None
    """CPU seconds of everybody else on the lane's cores inside the window: Ray, the sampler, foreign work; null where
    it was not looked at (isolation `inline`)."""
    energy: Energy
    """The lane's main devices: GPU boards on a GPU lane, else the CPU."""
    beside: list[Energy] = Field(default_factory=list)
    """Other devices of the same window, each with its own scope; never part of `energy`. On a MIG instance the whole
    GPU is here, flagged `parent_gpu`."""
    conditions: list[Conditions] = Field(default_factory=list)
    """What each GPU was like in the window; empty on a CPU lane and where NVML is not read."""
    energy_per: list[EnergyPer] = Field(default_factory=list)
    """This window's joules by what it produced itself; the headline's stand in the result's `energy_per`."""
    steady: Steady | None = None
    """Whether throughput, power and temperature held still; null where no power series was kept."""
    estimated_share: EstimatedShare | None = None
    """On a MIG instance: what of the parent GPU's joules may be its own. An estimate, never part of a sum."""


class ForeignProcess(Record):
    """A process outside the task's tree that computed on one of its GPUs."""

    pid: int
    name: str | None
    """As the kernel calls it; null where it cannot be read."""
    gpu_uuid: str
    memory_bytes: int | None
    seen: Literal["before", "during", "after"]
    """When it was first seen, as seen from the task."""


class LaneRecord(Record):
    """Where the task ran."""

    lane: str
    """`{node}/gpu0` or `{node}/cpu0`."""
    node: str
    device: Literal["cuda", "cpu"]
    gpu_uuids: list[str] = Field(default_factory=list)
    cpus: list[int] = Field(default_factory=list)
    isolation: Literal["zygote", "spawn", "inline"]
    mig: bool = False
    """Whether the GPUs are MIG instances."""
    parent_gpu_uuids: list[str] = Field(default_factory=list)
    """The GPUs that the MIG instances are parts of, in the same order."""
    foreign: list[ForeignProcess] | None = None
    """Others' processes on the GPUs; null without GPUs, and where NVML does not show them."""
    gpu_memory_before_bytes: int | None = None
    """Device memory in use before the start, all GPUs together."""
    gpu_utilisation_before: float | None = None
    """Percent that NVML reported for the busiest GPU before the start."""
    start_celsius: float | None = None
    """Temperature of the warmest GPU at the start."""
    gate_wait_s: float | None = None
    """How long the lane waited for its GPUs to cool; null without a temperature gate. Part of no duration."""
    gate_expired: bool | None = None
    """Whether the GPUs were still too warm when the wait ended."""


class Timing(Record):
    """When, and how long each part took. Wall times are for people; durations are monotonic."""

    started_at: str
    """ISO 8601, UTC."""
    duration_s: float
    """From the order to start the process until its end."""
    start_s: float | None = None
    """Of that, until the workload's first line."""
    unix_offset_ns: int | None = None
    """Added to a `t0_ns` of this result it gives nanoseconds since 1970 (UTC), so that a window's hours are known;
    taken when the task had ended. Null in results of older versions."""


class ExperimentResult(Record):
    """Everything about one attempt at one task.

    `metrics`, `windows` and `energy_per` exist exactly on `done`, `failure` exactly on `failed`: a number of a
    failed task cannot be written down.
    """

    schema_version: Literal["1.0"] = "1.0"
    status: Literal["done", "failed"]
    study_name: str
    run: str
    """Name of the run's folder."""
    key: str
    """16 hex digits of what is measured: the experiment, the workload's revision, the inputs' fingerprints."""
    label: str
    """The axes' values of this point, for people."""
    index: int
    """Number of the experiment in the plan."""
    cycle: int
    attempt: int
    axes: dict[str, Json]
    """Dotted path → value of the swept fields."""
    effective_config: dict[str, Json]
    """The whole experiment with every default applied."""
    effective: dict[str, Json] = Field(default_factory=dict)
    """Choices that were left to the workload."""
    workload_revision: int | None = None
    """The workload's revision, part of the key: numbers of different revisions are not comparable."""
    inputs: dict[str, str] = Field(default_factory=dict)
    """Dotted path → fingerprint of what was read."""
    study_yaml: str | None = None
    """The study as it was given, secrets masked."""
    lane: LaneRecord
    timing: Timing
    environment: Environment
    metrics: dict[str, Json] | None = None
    windows: list[WindowResult] | None = None
    headline: str | None = None
    """Name of the window that `energy_per` is made of."""
    work: dict[str, float] | None = None
    """Unit → count produced in the headline window."""
    energy_per: list[EnergyPer] | None = None
    differences: list[EnergyDifference] = Field(default_factory=list)
    """Costs that no window has for itself, such as decoding as generation less prefill."""
    baselines: list[Baseline] = Field(default_factory=list)
    """Idle power of the lane's devices, or why it is unknown; each window's `energy.net` is made with it."""
    requests: RequestShares | None = None
    """Joules of single requests, estimated from the step log; null where the workload wrote none."""
    max_rss_bytes: int | None = None
    """Largest resident memory of the task's process; null where it had none of its own (isolation `inline`)."""
    escaped_processes: int = 0
    """Processes that the task left behind and that were killed."""
    teardown: Literal["killed"] | None = None
    """`killed` where the process did not end within five seconds of its report (or at its limit); the report counts."""
    gpu_bytes_left: int | None = None
    """Device memory that the GPUs had not got back five seconds after the process; null on a CPU lane."""
    carbon_place: str | None = None
    """`execution.carbon.zone` of the study or of the user's configuration."""
    log_tail: str = ""
    failure: Failure | None = None
    timeseries: str | None = None
    """File name of the power series beside this file."""
    artifacts: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _numbers_only_on_done(self) -> ExperimentResult:
        if self.status == "done" and (self.failure is not None or self.metrics is None or self.windows is None):
            raise ValueError("a done task has metrics and windows and no failure")
        numbers = (self.metrics, self.windows, self.headline, self.work, self.energy_per)
        if self.status == "failed" and (self.failure is None or any(part is not None for part in numbers)):
            raise ValueError("a failed task has a failure and no performance numbers")
        return self

    @property
    def energy(self) -> Energy | None:
        """Energy of the headline window; `None` on a failed task or where there is no such window."""
        return next((window.energy for window in self.windows or [] if window.name == self.headline), None)


@dataclass(frozen=True, slots=True)
class Task:
    """The unit that a worker runs: an experiment in a cycle, with all that its process needs."""

    index: int
    cycle: int
    attempt: int
    key: str
    label: str
    axes: dict[str, Json]
    experiment: dict[str, Json]
    inputs: dict[str, str]
    """Dotted path → location."""
    fingerprints: dict[str, str]
    timeout_s: float | None = None
    revision: int | None = None
    """Revision of the workload."""
    epoch: int = 1
    """Which driver of the run ordered the attempt; part of its folder's name."""

    @property
    def id(self) -> str:
        """`{key}-c{cycle}`: what a commit marker is named after."""
        return f"{self.key}-c{self.cycle}"
