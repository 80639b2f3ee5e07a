"""What a timing says, with all that it was made of. Speed stands on `passed` alone."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from joulegrid.kernels.judge.verdict import Evidence, Verdict
from joulegrid.kernels.timing.bootstrap import FEWEST_PROCESSES, Bounds, Change
from joulegrid.kernels.timing.conditions import Conditions
from joulegrid.kernels.timing.floor import Floor

Mode = Literal["cpu", "cuda"]
BaselineName = Literal["eager", "eager-graph", "compile", "max-autotune-no-cudagraphs", "max-autotune"]
LAUNCH_BOUND_S = 20e-6
"""Below it a call's time is mostly that of its launches, and device time is given beside it."""


class Fact(BaseModel):
    """Frozen, without unknown fields, described by its docstrings."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Interval(Fact):
    """An estimate with the interval that a bootstrap over fresh processes gives it."""

    low: float
    """Lower bound: of a ratio it is the claim."""
    estimate: float
    """Mean over the processes, of a ratio the geometric one."""
    high: float
    """Upper bound."""
    confidence: float
    """Of the interval, e.g. 0.95."""

    @property
    def bounds(self) -> Bounds:
        """Return it without its confidence."""
        return Bounds(self.low, self.estimate, self.high)

    @classmethod
    def of(cls, bounds: Bounds, confidence: float, scale: float = 1.0) -> Interval:
        """Return bounds in other units."""
        low, estimate, high = (value * scale for value in (bounds.low, bounds.estimate, bounds.high))
        return cls(low=low, estimate=estimate, high=high, confidence=confidence)


class SeriesSample(Fact):
    """One timed series as it was: raw."""

    process: int
    """Which set of fresh processes."""
    pair: int
    """Which inputs; those of one pair are the same for every member."""
    member: str
    """`candidate`, a baseline's name, or `same`: the strongest baseline in a process of its own once more."""
    place: int
    """How many series of the same pair ran before it."""
    calls: int
    """N or 2N, and up to a quarter of N more."""
    elapsed_ns: int
    """By the judge's clock, from `go` to `done`."""
    waited_ns: int | None
    """Of these, how long the process waited for a core, as the kernel counts; never taken off; null where unknown."""


class MemberTiming(Fact):
    """The times of one member of a comparison."""

    member: str
    """`candidate`, a baseline's name, or `same`."""
    call_s: Interval
    """Seconds per call, without the channel's own cost."""
    slope_s: float
    """The plain slope between N and 2N calls; far below `call_s` where short series were slowed on purpose."""
    first_call_s: list[float]
    """The first call of each fresh process: compilation, tuning and first touch; never part of `call_s`."""
    peak_memory_bytes: int | None
    """The most that one of its processes had resident (`VmHWM`) or allocated (CUDA); null where unknown."""
    waited_share: float | None
    """Share of its series in which it waited for a core: above a hundredth the machine was too busy for a timing."""
    device_s: float | None = None
    """Device time of a call, as the process says; null on a CPU or where it was not asked for."""


class BaselineTiming(Fact):
    """One way to run the unmodified module."""

    name: BaselineName
    """Eager in inference mode, in a CUDA graph, or compiled."""
    available: bool
    """Whether it ran here."""
    reason: str | None
    """Why it did not run."""
    timing: MemberTiming | None = None
    """Its times; null where it did not run."""
    against_eager: Interval | None = None
    """Eager's time over its own; above 1 it is the faster one."""
    pathological: bool = False
    """Eager takes over five times what its own operators' bytes and the module's operations would: a ratio to it says
    little of the candidate."""


class Baselines(Fact):
    """All baselines of one problem, shape and dtype, timed beside each other."""

    problem: str
    """The case."""
    dtype: str
    """Of `fp32`, `fp16`, `bf16`."""
    dims: dict[str, int]
    """Sizes."""
    mode: Mode
    """Where it ran."""
    strongest: BaselineName
    """The one with the least time per call: what a headline is held against."""
    baselines: list[BaselineTiming]
    """Every one, also those that could not run."""
    eager_bytes: int | None
    """Bytes that eager's operators read and write by the sizes of their tensors (the byte model)."""
    floor: Floor
    """The least time of a call on this machine."""
    conditions: Conditions
    """What held meanwhile."""
    samples: list[SeriesSample]
    """Raw."""
    seconds: float
    """What timing them took."""


class EnergyWindow(Fact):
    """Series repeated for long enough that a sampler can tell their joules, or the writing of their inputs alone."""

    name: str
    """Of the probe's window, by which its joules are found."""
    member: str
    """`candidate` or a baseline's name."""
    part: Literal["calls", "inputs"]
    """Joules per call: a repetition of `calls` less one of `inputs`, over `calls`."""
    series: int
    """Repetitions inside the window."""
    calls: int
    """Calls, or inputs for so many, of each repetition."""
    seconds: float
    """Length of the window."""
    calling_s: float
    """Of these, the time between `go` and `done`."""
    agrees: bool | None
    """Whether a call took as long as when it was timed, within a tenth: otherwise joules per call say nothing. Null
    for `inputs`."""


class Timing(Fact):
    """How fast one candidate is for one shape and dtype, or why that was not said."""

    problem: str
    """The case."""
    candidate_sha256: str
    """Of the candidate's source."""
    dtype: str
    """Of `fp32`, `fp16`, `bf16`."""
    dims: dict[str, int]
    """Sizes."""
    mode: Mode
    """Where it ran."""
    verdict: Verdict
    """`passed`, or what was found while or after it was timed."""
    evidence: list[Evidence]
    """What the verdict rests on."""
    calls: int | None = None
    """N: series have N and 2N calls. Null where nothing was timed."""
    processes: int = 0
    """Sets of fresh processes that were timed to the end."""
    inputs: str | None = None
    """How the inputs of a series came into being, and whether they exceed the last-level cache."""
    members: list[MemberTiming] = Field(default=[])
    """Times of candidate, baselines and `same`; empty unless passed."""
    strongest: str | None = None
    """The baseline of the headline."""
    ratios: dict[str, Interval] = Field(default={})
    """Baseline ÷ candidate by baseline: above 1 the candidate is faster. Empty unless passed."""
    same: Interval | None = None
    """A/A: the strongest baseline ÷ itself in another process, timed beside all others."""
    claim: float | None = None
    """The lower bound of the ratio to the strongest baseline: the speed-up that may be said. Null unless passed."""
    change: Change | None = None
    """`no change` where the ratio lies within the A/A interval. Null unless passed."""
    launch_bound: bool | None = None
    """A call is shorter than 20 µs, so that its time is mostly launching. Null unless passed."""
    floor: Floor | None = None
    """The least time of a call on this machine."""
    verified_calls: int = 0
    """Timed calls whose outputs were compared with a baseline's; some of them with the oracle, too."""
    baselines: list[BaselineTiming] = Field(default=[])
    """What the strongest was chosen from."""
    energy: list[EnergyWindow] = Field(default=[])
    """Windows for joules per call; empty where no probe was given."""
    conditions: Conditions | None = None
    """What held meanwhile."""
    samples: list[SeriesSample] = Field(default=[])
    """Raw, also of a candidate that did not pass: evidence, not speed."""
    seconds: float
    """What all of it took."""

    @model_validator(mode="after")
    def _speed_on_passed_alone(self) -> Timing:
        speed = (self.claim, self.change, self.launch_bound, self.same)
        if self.verdict == Verdict.PASSED and any(value is None for value in speed):
            raise ValueError("a passed timing has claim, change, launch_bound and same")
        if self.verdict != Verdict.PASSED and (
            any(value is not None for value in speed) or self.ratios or self.members
        ):
            raise ValueError(f"a timing that is {self.verdict} has no speed")
        return self


class TimingSettings(Fact):
    """How long and how often is timed."""

    device: Mode = "cpu"
    """Where members run."""
    dtype: str | None = None
    """Of `fp32`, `fp16`, `bf16`; the case's first by default."""
    shape: str | None = None
    """Name of one of the case's shapes, on a CPU of its scaled ones; by default the one that moves the least bytes."""
    dims: dict[str, int] | None = None
    """Sizes, instead of a shape's name."""
    threads: int = Field(default=1, ge=1)
    """torch's threads in the timed processes, and cores that they are pinned to."""
    processes: int = Field(default=FEWEST_PROCESSES, ge=FEWEST_PROCESSES)
    """Sets of fresh processes at least: below five no interval can be given."""
    most_processes: int = Field(default=60, ge=FEWEST_PROCESSES)
    """Sets of fresh processes at most."""
    precision: float = Field(default=0.02, gt=0)
    """Half-width of the ratios' intervals, as a share, at which no further processes are started."""
    pairs: int = Field(default=6, ge=2)
    """Visits to every member in each of them, half of them in reverse order."""
    series_s: float = Field(default=0.02, gt=0)
    """Least length of a series of N calls of the fastest member."""
    warm_up_s: float = Field(default=0.2, ge=0)
    """How long each fresh process is warmed up: by time, not by count."""
    memory_bytes: int = Field(default=128 << 20, ge=1 << 20)
    """Most memory for the inputs and outputs of one series, of one member."""
    budget_s: float = Field(default=90.0, gt=0)
    """About how long a comparison may take. Pairs are left out, down to two, where the series of the fewest processes
    would take longer; more processes than those are started within it alone."""
    most_calls: int = Field(default=2048, ge=1)
    """N at most."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of all intervals."""
    oracle_samples: int = Field(default=1, ge=1)
    """Series of each process of which one call's outputs are held against the oracle; those of many more are held
    against a baseline's."""
    oracle_kinds: int = Field(default=3, ge=1)
    """Kinds of inputs (large, sparse, sorted, …) in each process's untimed series, each held against the oracle; five
    processes have them all."""
    baselines: tuple[BaselineName, ...] = (
        "eager",
        "eager-graph",
        "compile",
        "max-autotune-no-cudagraphs",
        "max-autotune",
    )
    """Those to choose the strongest from; those that a device lacks are said to be unavailable."""
    energy_s: float = Field(default=10.0, gt=0)
    """Length of each energy window, where a probe is given."""
