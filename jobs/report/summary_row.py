"""A row of a summary: one experiment over its cycles, in figures with their spread. It is made by `Summary`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from joulegrid.cluster.power.energy import Provenance, Scope, Source
from joulegrid.jobs.report.energy_parts import BesideEnergy
from joulegrid.jobs.report.energy_statistic import EnergyStatistic, NetStatistic
from joulegrid.jobs.report.statistic import Statistic
from joulegrid.jsontypes import Json

SCOPE_WORDS = {"gpu_board": "GPU", "cpu_package": "CPU", "dram": "DRAM", "node": "node"}


class SummaryRow(BaseModel):
    """One experiment over its cycles, as far as its energy is of one kind."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    index: int
    """Number of the experiment in the plan."""
    key: str
    label: str
    axes: dict[str, Json] = Field(default_factory=dict)
    stratum: str | None = None
    """Letter of the environment that the row was measured in; null where the whole run had one."""
    n_done: int = 0
    """Done tasks in this row."""
    n_failed: int = 0
    """Failed tasks of the experiment; on its first row only, so that a column may be summed."""
    failures: dict[str, int] = Field(default_factory=dict)
    """The same by failure class."""
    provenance: Provenance | None = None
    source: Source | None = None
    scope: Scope | None = None
    unknown: str | None = None
    """Why the energy is unknown, where it is."""
    interval: str | None = None
    """What `stated_low` and `stated_high` cover, in the source's words."""
    headline: str | None = None
    """Name of the window that the row's energy, seconds and work belong to."""
    seconds: Statistic | None = None
    """Length of the headline window."""
    energy_j: EnergyStatistic | None = None
    """Energy of the headline window."""
    energy_per: dict[str, EnergyStatistic] = Field(default_factory=dict)
    """Unit of work → joules for one of them."""
    differences: dict[str, EnergyStatistic] = Field(default_factory=dict)
    """Cost by difference, of one repetition of the headline window less one of another → joules for one of its unit."""
    net: dict[str, NetStatistic] = Field(default_factory=dict)
    """`bare_idle`, `loaded_idle` → joules of the headline window above that baseline."""
    beside: list[BesideEnergy] = Field(default_factory=list)
    """Other devices in the headline window, by kind."""
    windows: dict[str, EnergyStatistic] = Field(default_factory=dict)
    """Every window → joules of the row's own kind. Windows are separate measurements, no parts of one another."""
    power_w: dict[str, EnergyStatistic] = Field(default_factory=dict)
    """Every window → its mean power."""
    flags: dict[str, int] = Field(default_factory=dict)
    """Mark of the headline window's energy (`short`, `throttled`, …) → done tasks that have it."""
    n_cross_checked: int = 0
    """Done tasks whose headline energy was read from a second source as well."""
    n_disagreeing: int = 0
    """Of these, where the two differ by more than edges, update periods and aliasing explain."""
    devices: list[str] = Field(default_factory=list)
    """What the tasks ran on, the first twenty: GPUs by UUID, else the node."""
    on_front: bool | None = None
    """Whether no row of the same kind of energy and stratum has at least its throughput for at most its joules, and one
    of the two better (by the means); null where one of these numbers is missing."""
    work: dict[str, Statistic] = Field(default_factory=dict)
    """Unit of work → count in the headline window."""
    metrics: dict[str, Statistic] = Field(default_factory=dict)
    """Dotted name → every metric that is a finite number."""
    texts: dict[str, list[str]] = Field(default_factory=dict)
    """Dotted name → the first five different values of every other metric."""
    footprint: dict[str, EnergyStatistic] = Field(default_factory=dict)
    """Derived from `energy_j`, with its kind: `average_g`, `marginal_g` (grams of CO₂ equivalent), `facility_…` (times
    the PUE), `energy_cost`, `gpu_cost`; only what is known."""

    @property
    def energy_words(self) -> str:
        """How the energy was obtained and of what, e.g. `modelled, CPU`."""
        if self.provenance is None:
            return "unknown"
        return f"{self.provenance}, {SCOPE_WORDS.get(str(self.scope), str(self.scope))}"
