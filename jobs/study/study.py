"""The study as its author wrote it: `StudyConfig` and `ExecutionConfig`. Nothing is expanded or resolved here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SkipValidation, WithJsonSchema, model_validator
from pydantic.json_schema import SkipJsonSchema

from joulegrid.cases.contract import ExperimentConfig, Section
from joulegrid.cases.registry import workload_named
from joulegrid.cluster.carbon.config import CarbonConfig
from joulegrid.cluster.power.sensors.sources import PowerConfig
from joulegrid.errors import UsageError
from joulegrid.jobs.plan.grid import Axis, GrammarError, Segment, is_group, segments
from joulegrid.jobs.plan.merge import deep_merge, sections
from joulegrid.jobs.search.search import SearcherSource
from joulegrid.jobs.search.space import listed
from joulegrid.jobs.study.auto_cycles import AutoCycles
from joulegrid.jobs.study.idle_baselines import IdleBaselines
from joulegrid.jobs.study.schema import field_at, known_paths, unknown_in, unknown_key
from joulegrid.jobs.study.search_config import SearchConfig

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
_RANDOM_ORDERS = ("shuffled", "latin_square")


class ExecutionConfig(Section):
    """How a study is carried out. Never part of its design: changing it changes no experiment's identity."""

    n_cycles: Annotated[int, WithJsonSchema(_CYCLES)] = Field(default=1, ge=1)
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
                f"auto_cycles belongs to n_cycles: auto, but n_cycles is {self.n_cycles}; keep one of them"
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


class StudyConfig(BaseModel):
    """A study: a name, the shared fields of its experiments, its sweep, and how it is carried out.

    Fields of an experiment stand at the top level (`model=…`, `pytorch={…}`, or dotted: `"pytorch.batch_size"`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    study_name: str = Field(default="study", min_length=1, max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Letters, digits, dot, dash and underscore: it names the run's folder."""
    experiment: dict[str, Any] = Field(default_factory=dict)
    """The shared fields of all experiments; what stands at the study's top level is collected here."""
    sweep: dict[str, Any] = Field(default_factory=dict)
    """Dotted path → list of values (an axis), or a free name → list of mappings (a dependent group)."""
    zip: dict[str, Any] | list[Any] | None = None
    """Dotted paths → lists of equal length that move together; a list of such mappings for several groups."""
    experiments: list[dict[str, Any]] | None = None
    """Explicit points after the sweep, each merged over the shared fields."""
    search: SearchConfig | None = None
    """Do not run the whole sweep: a sampler proposes one experiment after the other from what earlier ones came to."""
    deduplicate: bool = True
    """Run equivalent points once."""
    execution: ExecutionConfig = ExecutionConfig()
    """Cycles, order, gaps, limits."""
    output: str | None = None
    """A folder or `s3://bucket/prefix`; `null` is the user's default, else `results`."""
    power: PowerConfig = PowerConfig()
    """Which power sensors are read; a plain word is the source."""
    folder: Path = Field(default_factory=Path.cwd, exclude=True, repr=False)
    """Where relative names in the study are looked up."""
    source: str | None = Field(default=None, exclude=True, repr=False)
    """The study's text as it was given."""
    source_name: str = Field(default="study.yaml", exclude=True, repr=False)
    """Under which name a run keeps that text."""
    searcher: SkipJsonSchema[SkipValidation[SearcherSource | None]] = Field(default=None, exclude=True, repr=False)
    """What proposes the experiments where a Python file or a caller gives it; no part of a study file."""

    if TYPE_CHECKING:

        def __init__(self, **values: Any) -> None:
            """Take the study's fields and, beside them, those of its experiments."""

    @model_validator(mode="before")
    @classmethod
    def _collect(cls, values: Any) -> Any:
        return collected(values, tuple(cls.model_fields)) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _refuse_unknown_keys(self) -> StudyConfig:
        problems = list(unknown_in_experiments(self.experiment, self.segments()))
        if problems:
            raise UsageError("\n".join(problems))
        return self

    def segments(self) -> list[Segment]:
        """Return the axes of the study; `UsageError` where the sweep contradicts itself."""
        try:
            sweep = self.sweep if self.search is None else listed(self.sweep)
            return segments(sweep, self.zip, self.experiments)
        except GrammarError as error:
            raise UsageError(str(error)) from error

    @property
    def is_search(self) -> bool:
        """Whether something proposes the experiments one by one, so that nobody knows them before."""
        return self.search is not None or self.searcher is not None


NOT_IN_A_FILE = ("folder", "source", "source_name", "searcher")
SECTIONS = tuple(name for name in StudyConfig.model_fields if name not in NOT_IN_A_FILE)
"""What may stand at the top level of a study file beside the fields of its experiments."""
_HIDDEN = ("experiment",)


def collected(values: Mapping[str, Any], own: tuple[str, ...] = SECTIONS) -> dict[str, Any]:
    """Sort a study's top level into its own sections and `experiment`; dotted keys become nested."""
    nested_values = sections(values)
    found = {name: value for name, value in nested_values.items() if name in own}
    shared = {name: value for name, value in nested_values.items() if name not in own}
    if "power" in found:
        found["power"] = power_section(found["power"])
    within = found.get("experiment", {})
    if isinstance(within, Mapping):
        found["experiment"] = deep_merge(within, shared)
    return found


def power_section(given: Any) -> Any:
    """A plain word is the source; `null` says nothing."""
    if given is None:
        return {}
    if given is False or given in ("off", "no"):
        return {"source": "none"}
    return {"source": given} if isinstance(given, str) else given


def unknown_keys(given: Mapping[str, Any]) -> list[str]:
    """Explain every unknown key of a collected study at once, each with the nearest name; `UsageError` never."""
    problems = [*_unknown_in_section("execution", ExecutionConfig, given)]
    problems += _unknown_in_section("power", PowerConfig, given)
    problems += _unknown_in_section("search", SearchConfig, given)
    shared = given.get("experiment")
    try:
        sweep, zips, points = (_or_none(given, name, kinds) for name, kinds in _GRAMMAR_KINDS.items())
        found = segments(sweep if given.get("search") is None else listed(sweep), zips, points)
    except (GrammarError, UsageError) as error:
        found = []
        problems.append(str(error))
    try:
        problems += unknown_in_experiments(shared if isinstance(shared, Mapping) else {}, found)
    except UsageError as error:  # an unknown workload: nobody can say which fields it has
        problems.append(str(error))
    return problems


_GRAMMAR_KINDS: dict[str, tuple[type, ...]] = {"sweep": (dict,), "zip": (dict, list), "experiments": (list,)}


def _or_none(given: Mapping[str, Any], name: str, kinds: tuple[type, ...]) -> Any:
    """The section, where it has the form that it should have; pydantic complains of any other."""
    value = given.get(name)
    if name == "experiments" and isinstance(value, list):
        return [one for one in value if isinstance(one, Mapping)]
    return value if isinstance(value, kinds) else {} if name == "sweep" else None


def unknown_in_experiments(shared: Mapping[str, Any], found: list[Segment]) -> Iterator[str]:
    """Yield a line for each key of the shared fields and of the axes that the study's workload does not know."""
    model = workload_named(shared.get("workload", "inference")).Config
    candidates = [name for name in (*known_paths(model), *_own_paths()) if name not in _HIDDEN]
    for path in unknown_in(model, shared):
        yield unknown_key(path, candidates)
    for segment in found:
        for axis in segment.axes:
            yield from _axis_problems(model, axis)


def _own_paths() -> Iterator[str]:
    return (path for path in known_paths(StudyConfig) if path.partition(".")[0] in SECTIONS)


def _axis_problems(model: type[ExperimentConfig], axis: Axis) -> Iterator[str]:
    where = "experiments: " if axis.name == "experiments" else "zip: " if axis.name.startswith("zip") else "sweep: "
    names = (*known_paths(model), *SECTIONS)
    if where == "sweep: " and is_group(axis) and (axis.name in names or field_at(model, axis.name) is not None):
        yield f"sweep: the group {axis.name!r} has the name of a field; give the group a free name or list plain values"
    for path in axis.paths:
        if path.partition(".")[0] in SECTIONS and field_at(model, path) is None:
            yield f"{where}{path}: belongs to the study, not to its experiments; only their fields can vary"
        elif field_at(model, path) is None:
            yield unknown_key(path, list(known_paths(model)), where)
        if path == "workload":
            yield f"{where}workload: one study has one workload; write one study for each"


def _unknown_in_section(section: str, model: type[BaseModel], given: Mapping[str, Any]) -> Iterator[str]:
    """Pydantic alone would not name the nearest key."""
    inner = given.get(section)
    if isinstance(inner, Mapping):
        names = [f"{section}.{name}" for name in known_paths(model)]
        for path in unknown_in(model, inner):
            yield unknown_key(f"{section}.{path}", names)
