"""How a study is carried out: `ExecutionConfig`, the section `execution`. Never part of what is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from joulegrid.cases.contract import Section
from joulegrid.cluster.carbon.config import CarbonConfig
from joulegrid.jobs.study.auto_cycles import AutoCycles
from joulegrid.jobs.study.idle_baselines import IdleBaselines

_ORDER_ALIASES = {"interleave": "interleaved", "shuffle": "shuffled", "reverse": "reversed", "williams": "latin_square"}

CycleOrder = Annotated[
    Literal["sequential", "interleaved", "shuffled", "reversed", "latin_square"],
    BeforeValidator(lambda value: _ORDER_ALIASES.get(value, value) if isinstance(value, str) else value),
]
Isolation = Literal["zygote", "spawn", "inline"]
RetriedClass = Literal[
    "invalid", "app", "timeout", "oom_host", "oom_device", "crash", "no_result", "import", "infra", "contaminated"
]
"""Failure classes that a task may be tried again after. `cancelled` is no failure, and `unschedulable` stays so."""
RETRIES: dict[RetriedClass, int] = {"infra": 3, "contaminated": 3, "oom_host": 1}
"""How often a class of failure is tried again where the study says nothing; every other class is not."""


class CircuitBreaker(Section):
    """After how many failures in a row something is left to cool, then probed with one task, then given up."""

    lane_failures: int = Field(default=3, ge=1)
    """Failures in a row of one lane's own making (`infra`, `contaminated`); then the lane is quarantined."""
    family_failures: int = Field(default=10, ge=1)
    """Failures in a row of experiments with the same inputs (one model, one script); then its rest is skipped."""
    study_failures: int = Field(default=20, ge=1)
    """Failures in a row over the whole study; then its rest is skipped."""
    cooldown_seconds: float = Field(default=60.0, ge=0, allow_inf_nan=False)
    """How long what has failed is left alone before one probe decides."""


class TemperatureGate(Section):
    """A GPU lane begins its next task when its GPUs are cool enough, while the other lanes go on."""

    max_celsius: float = Field(gt=0, lt=120)
    """The hottest that any GPU of the lane may be."""
    max_wait_seconds: float = Field(default=300.0, gt=0, allow_inf_nan=False)
    """After so long the task begins all the same, and its result says how warm the GPU was."""


class ReportConfig(Section):
    """What the report of the run shall tell."""

    baseline: str | None = Field(default=None, min_length=1)
    """The experiment that the others are compared with: its label (`joulegrid plan --points` shows it) or its key."""


_CYCLES = {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "auto"}]}


def _number_or_auto(given: Any) -> Any:
    if isinstance(given, str) and not given.strip().lstrip("+-").isdecimal():
        raise ValueError("give a whole number of cycles, or the word auto")
    return given


_RANDOM_ORDERS = ("shuffled", "latin_square")


class ExecutionConfig(Section):
    """How a study is carried out. Never part of its design: changing it changes no experiment's identity."""

    n_cycles: Annotated[int, BeforeValidator(_number_or_auto), WithJsonSchema(_CYCLES)] = Field(default=1, ge=1)
    """How often every experiment is repeated; `auto` runs a pilot that decides it once."""
    auto_cycles: AutoCycles | None = None
    """How `n_cycles: auto` decides; its default where nothing is said."""
    cycle_order: CycleOrder = "interleaved"
    """`sequential` A A B B; `interleaved` A B, A B; `shuffled` each cycle in an order of its own; `reversed` every
    second cycle backwards; `latin_square` Williams' design, where every experiment follows every other as often."""
    shuffle_seed: int | None = None
    """Seed of `shuffled`; `null` derives it from the design, so that the same study has the same order."""
    experiment_timeout_seconds: float | None = Field(default=600.0, gt=0, allow_inf_nan=False)
    """A task that takes longer is killed with all its processes; `null` never kills."""
    config_gap_seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Idle time on a lane between two different experiments, for the device to cool."""
    cycle_gap_seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Idle time on a lane when it enters another cycle; the longer of both gaps holds."""
    confirm_above: int = Field(default=100, ge=0)
    """With more tasks than this, `run` shows count and time and asks first."""
    max_experiments: int | None = Field(default=None, ge=1)
    """A plan with more experiments than this is refused; `null` for no limit."""
    fail_fast: bool = False
    """Start nothing more after the first failed task."""
    isolation: Isolation = "zygote"
    """How a task gets its fresh process: forked from a prepared `zygote`, or a new interpreter by `spawn`. `inline`
    gives it none: it runs in the worker itself, without protection, for many tiny tasks that are trusted; at its limit
    the worker is killed and replaced."""
    max_retries: dict[RetriedClass, Annotated[int, Field(ge=0, le=100)]] = Field(default_factory=dict)
    """Failure class → how often such a task is tried again; without a word `infra` and `contaminated` three times,
    `oom_host` once, any other never. What a drain, a lost node or a dead driver cut short counts as no try."""
    circuit_breaker: CircuitBreaker | None = CircuitBreaker()
    """What stops a series of failures; `null` for nothing."""
    exclusive: Literal["gpu", "node"] = "gpu"
    """What a task has to itself while it is measured: its lane's GPUs, or the whole node (one task at a time)."""
    temperature_gate: TemperatureGate | None = None
    """How cool a GPU must be before its next task; `null` does not look."""
    baseline: IdleBaselines | None = IdleBaselines()
    """Idle power, from which the net energy is made; `null` measures none."""
    wall_clock_timeout_hours: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """After so many hours of one start nothing more is begun, the running tasks are cut short, and the run is drained
    (exit code 75): the next start goes on."""
    carbon: CarbonConfig = CarbonConfig()
    """Where the power is drawn and how it is priced; grams and money are derived from stored joules."""
    energy_budget_j: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Nothing more is begun once the run, all its starts together, has spent so many joules (exit code 3)."""
    carbon_budget_g: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The same in grams of CO₂ equivalent: average intensity, of the facility where a PUE is given."""
    archive: bool | None = None
    """Archive every judged kernel when the run ends; `null` does it for the workload `kernel`, the only one."""
    report: ReportConfig = ReportConfig()
    """What the report shall tell."""

    @property
    def has_budget(self) -> bool:
        """Whether joules or grams are limited."""
        return self.energy_budget_j is not None or self.carbon_budget_g is not None

    @model_validator(mode="before")
    @classmethod
    def _auto(cls, values: Any) -> Any:
        """`auto` begins with the pilot's cycles, in an order that is drawn."""
        if not isinstance(values, Mapping) or values.get("n_cycles") != "auto":
            return values
        terms = {} if values.get("auto_cycles") is None else values["auto_cycles"]
        pilot = terms.get("pilot") if isinstance(terms, Mapping) else getattr(terms, "pilot", None)
        n_cycles = pilot if isinstance(pilot, int) else AutoCycles().pilot
        return {"cycle_order": "shuffled", **values, "n_cycles": n_cycles, "auto_cycles": terms}

    @model_validator(mode="after")
    def _auto_is_whole(self) -> ExecutionConfig:
        if self.auto_cycles is not None and self.n_cycles != self.auto_cycles.pilot:
            raise ValueError(
                f"auto_cycles belongs to n_cycles: auto, but n_cycles is {self.n_cycles}; "
                "drop auto_cycles, or say n_cycles: auto (on the command line --cycles N drops both)"
            )
        if self.auto_cycles is not None and self.cycle_order not in _RANDOM_ORDERS:
            raise ValueError(f"n_cycles: auto needs cycles in random order: {' or '.join(_RANDOM_ORDERS)}")
        return self

    def cycles(self, decided: int | None) -> tuple[int, bool]:
        """How many cycles a run has whose pilot came to `decided`, and whether it has still to decide."""
        if self.auto_cycles is None:
            return self.n_cycles, False
        return decided or self.n_cycles, decided is None

    @property
    def most_cycles(self) -> int:
        """Cycles at the most; with `n_cycles: auto` more than the pilot's, of which `n_cycles` tells."""
        return max(self.n_cycles, self.auto_cycles.most) if self.auto_cycles is not None else self.n_cycles
