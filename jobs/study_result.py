"""What a study came to: counts, summary, energy totals, failures. Small; the results themselves stay in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from joulegrid.cluster.power.energy import Provenance, Scope, Source
from joulegrid.jobs.carbon.carbon_account import BudgetSpent, CarbonAccount
from joulegrid.jobs.report.comparison import Comparisons
from joulegrid.jobs.report.kernel_figures import KernelFigures
from joulegrid.jobs.report.summary_row import SummaryRow
from joulegrid.jobs.search.search_result import SearchResult
from joulegrid.jsontypes import Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joulegrid.actors.result import ExperimentResult

State = Literal["running", "done", "interrupted", "stopped", "drained", "budget_spent"]
SUMMARY_ROWS = 2_000
"""More rows than this stand in `summary.parquet` alone; as JSON they are about 6 MB."""


class Part(BaseModel):
    """A frozen part of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Counts(Part):
    """How many tasks came to what."""

    n_tasks: int = 0
    done: int = 0
    """Committed, and the bytes are those that were committed."""
    failed: int = 0
    skipped: int = 0
    pending: int = 0
    """Neither done, failed, skipped nor damaged; those that run now included."""
    damaged: int = 0
    """Committed, but what lies there differs."""


class EnergyTotal(Part):
    """Joules in all windows of the done tasks that are of one kind; kinds are never added up."""

    provenance: Provenance | None
    source: Source | None
    scope: Scope | None
    energy_j: float | None
    """Null for the windows whose energy is unknown."""
    low_j: float | None = None
    """Sum of the lower ends that the source states; null unless every window has one."""
    high_j: float | None = None
    systematic: float | None = None
    """The sensor's own accuracy as a fraction, common to one card and in no interval; null where it is not stated."""
    n_windows: int
    windows: list[str] = Field(default_factory=list)
    """Names of the windows that are summed, at most twenty."""


class SkippedPoints(Part):
    """Points of the space that were never tasks, for one reason."""

    reason: str
    count: int
    example: str


class TaskFailure(Part):
    """A failed task in a line."""

    index: int
    key: str
    label: str
    cycle: int
    attempt: int | None = None
    failure_class: str
    message: str
    path: str | None = None
    """The attempt's folder, where the whole failure lies."""


class Stratum(Part):
    """Tasks whose environments were alike in all that makes numbers comparable."""

    letter: str
    """`A` is what was measured first."""
    n_done: int
    first_started_at: str
    """Start of its first done task, ISO 8601, UTC."""
    nodes: list[str] = Field(default_factory=list)
    """Host names, at most twenty."""
    environment: dict[str, Json]
    """What is alike: GPUs, driver, CUDA, CPU, main packages, Joulegrid's and the study's commit."""
    differences: list[str] = Field(default_factory=list)
    """In what it differs from stratum `A`, e.g. `torch: 2.11.0 → 2.13.0`."""


class StudyResult(Part):
    """One run of a study, as `study_result.json` holds it."""

    schema_version: Literal["1.0"] = "1.0"
    study_name: str
    run: str
    """The run's folder, or its `s3://` URL."""
    study_design_hash: str | None = None
    """16 hex digits of what the study measures."""
    state: State
    counts: Counts
    n_experiments: int
    n_cycles: int
    cycle_order: str | None = None
    started_at: str | None = None
    """ISO 8601, UTC."""
    ended_at: str | None = None
    duration_s: float | None = None
    energy: list[EnergyTotal] = Field(default_factory=list)
    skipped: list[SkippedPoints] = Field(default_factory=list)
    n_duplicates: int = 0
    """Points equivalent to an earlier one, measured once."""
    summary: list[SummaryRow] = Field(default_factory=list)
    """The first 2,000 rows in the order of the plan; `summary.parquet` holds all."""
    n_summary_rows: int | None = None
    """How many rows there are; null in a record that an older version wrote, which has all of them."""
    strata: list[Stratum] = Field(default_factory=list)
    """Environments that must not be averaged; more than one where nodes differ or a run went on after an update."""
    failures: list[TaskFailure] = Field(default_factory=list)
    """The first hundred failed tasks; `counts.failed` says how many there are."""
    failures_by_class: dict[str, int] = Field(default_factory=dict)
    """All failed tasks by failure class."""
    unfenced: bool = False
    """The store ignores conditional writes: two drivers at once would not have been noticed."""
    hardware: list[str] = Field(default_factory=list)
    """Every different device, driver, main versions and commit of the done tasks, in a line each."""
    search: SearchResult | None = None
    """What proposed the experiments and what it found; null for a grid."""
    budget: BudgetSpent | None = None
    """What may be spent and what was; null without a budget."""
    carbon: CarbonAccount | None = None
    """Grams of CO₂ equivalent and money, derived from the joules; null in a record of an older version."""
    comparisons: Comparisons | None = None
    """The experiments against the baseline that was declared; null where none was."""
    kernels: list[KernelFigures] = Field(default_factory=list)
    """Of the workload `kernel`: what all kernels came to together, by environment; empty of any other workload."""
    notes: list[str] = Field(default_factory=list)

    @property
    def results(self) -> list[ExperimentResult]:
        """Every result of the run in memory, by experiment and cycle; `iter_results` reads one at a time."""
        return sorted(self.iter_results(), key=lambda result: (result.index, result.cycle, result.attempt))

    def iter_results(self) -> Iterator[ExperimentResult]:
        """Read the run's results one by one: the done ones, then what the failed ones left; nothing is written.

        Damaged results and failures that left no file are not among them.
        """
        from joulegrid.cluster.storage import open_store
        from joulegrid.jobs.report.manifest_file import read_manifest
        from joulegrid.jobs.report.run_results import RunResults

        found = RunResults(open_store(self.run))
        yield from (located.result for located in found.done())
        yield from (located.result for located in found.failed(read_manifest(found.store)["tasks"]))
