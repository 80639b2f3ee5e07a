"""The study as its author wrote it: `StudyConfig`. Nothing is expanded or resolved here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, model_validator
from pydantic.json_schema import SkipJsonSchema

from joulegrid.cases.contract import ExperimentConfig
from joulegrid.cases.registry import workload_named
from joulegrid.cluster.power.sensors.sources import PowerConfig
from joulegrid.errors import UsageError
from joulegrid.jobs.plan.grid import Axis, GrammarError, Segment, is_group, segments
from joulegrid.jobs.plan.merge import deep_merge, sections
from joulegrid.jobs.search.search import SearcherSource
from joulegrid.jobs.search.space import listed
from joulegrid.jobs.study.execution import ExecutionConfig
from joulegrid.jobs.study.schema import field_at, known_paths, unknown_in, unknown_key
from joulegrid.jobs.study.search_config import SearchConfig


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
