"""Grams and money of a run, derived in the one pass over its results: no sensor is read, nothing is written.

Each window's joules are shared out over the UTC hours that it lies in; grams are the sum of joules times the intensity
of their hour. A modelled joule makes a modelled gram, and kinds are never added up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from joulegrid.cluster.carbon.footprint import Accounting, Footprint, Once
from joulegrid.cluster.carbon.intensity import Intensity, Signal, now_text
from joulegrid.jobs.carbon.carbon_account import CarbonAccount, CarbonTotal, IntensityUsed
from joulegrid.jobs.report.quantity import counted
from joulegrid.jobs.report.summary import EnergyKind, energy_kind, headline_window
from joulegrid.jobs.report.window_hours import window_hours
from joulegrid.version import __version__

if TYPE_CHECKING:
    from joulegrid.actors.result import WindowResult
    from joulegrid.cluster.power.energy import Energy
    from joulegrid.cluster.storage import Store
    from joulegrid.jobs.report.run_results import Located

SIGNALS: tuple[Signal, ...] = ("average", "marginal")


@dataclass(slots=True)
class Footprints:
    """Takes done results one by one; gives each one's columns, and the run's account at the end."""

    accounting: Accounting
    store: Store
    _totals: dict[EnergyKind, Footprint] = field(default_factory=dict)
    _n_windows: dict[EnergyKind, int] = field(default_factory=dict)
    _hours: set[datetime] = field(default_factory=set)
    _gpu_hours: float = 0.0
    _n_placed: int = 0
    _n_even: int = 0

    def __post_init__(self) -> None:
        self.accounting = replace(self.accounting, provider=Once(self.accounting.provider))

    def add(self, located: Located) -> dict[str, float]:
        """Take a result; return name → value of the columns of its headline window, as far as they are known."""
        result = located.result
        n_gpus = len(result.lane.gpu_uuids)
        self._gpu_hours += n_gpus * result.timing.duration_s / 3_600
        headline, columns = headline_window(result), dict[str, float]()
        for window in result.windows or []:
            found = self._window(located, window)
            if window is headline and found is not None:
                columns = {name: value for name, value in asdict(found).items() if value is not None}
        columns.pop("energy_j", None)  # the row has it
        cost = self.accounting.gpu_cost(n_gpus * headline.seconds / 3_600) if headline is not None else None
        return columns if cost is None else {**columns, "gpu_cost": cost}

    def account(self) -> CarbonAccount:
        """Return the run's grams and money, and whose numbers they are made of."""
        config, said = self.accounting.config, {"pue", "pue_source", "price_per_kwh", "price_per_gpu_hour", "currency"}
        answers = {
            signal: [self.accounting.intensity(hour, signal) for hour in sorted(self._hours)] for signal in SIGNALS
        }
        return CarbonAccount(
            provider=self.accounting.provider.name,
            zone=config.zone,
            intensities=[used for signal in SIGNALS for used in intensities_used(answers[signal])],
            unknown={signal: why for signal in SIGNALS if (why := _why_unknown(answers[signal]))},
            **config.model_dump(include=said),
            totals=[self._total(kind) for kind in sorted(self._n_windows, key=lambda one: (one[0] is None, str(one)))],
            gpu_hours=self._gpu_hours,
            gpu_cost=self.accounting.gpu_cost(self._gpu_hours),
            computed_at=now_text(time.time()),
            version=__version__,
            notes=list(self._notes()),
        )

    def _window(self, located: Located, window: WindowResult) -> Footprint | None:
        """Count a window's energies in; return the footprint of its main devices."""
        main, *_ = [self._energy(located, window, energy) for energy in (window.energy, *window.beside)]
        return main

    def _energy(self, located: Located, window: WindowResult, energy: Energy) -> Footprint | None:
        kind = energy_kind(energy)
        self._n_windows[kind] = self._n_windows.get(kind, 0) + 1
        if energy.energy_j is None:
            return None
        found = window_hours(self.store, located, window, energy)
        self._hours.update(found.joules)
        self._n_placed, self._n_even = self._n_placed + found.is_placed, self._n_even + found.is_even
        footprint, before = self.accounting.footprint(found.joules), self._totals.get(kind)
        self._totals[kind] = footprint if before is None else Footprint.total((before, footprint))
        return footprint

    def _total(self, kind: EnergyKind) -> CarbonTotal:
        provenance, source, scope = kind
        total = self._totals.get(kind)
        known = dict.fromkeys(Footprint.__dataclass_fields__) if total is None else asdict(total)
        n_windows = self._n_windows[kind]
        return CarbonTotal(provenance=provenance, source=source, scope=scope, n_windows=n_windows, **known)

    def _notes(self) -> Iterator[str]:
        if self._n_placed:
            yield f"Windows whose hour is known by their task's start only, to some seconds: {self._n_placed:,}"
        if self._n_even:
            yield f"Joules across an hour, shared out evenly for lack of a power series, windows: {self._n_even:,}"


def intensities_used(answers: Sequence[Intensity]) -> list[IntensityUsed]:
    """Return the known intensities by source, zone and year."""
    groups: dict[tuple[object, ...], list[Intensity]] = {}
    for one in answers:
        if one.g_per_kwh is not None:
            groups.setdefault((one.source, one.zone, one.dataset_year, one.factor_type), []).append(one)
    return [_used(group) for group in groups.values()]


def _used(group: Sequence[Intensity]) -> IntensityUsed:
    ages = [one.age_s for one in group if one.age_s is not None]
    values = [one.g_per_kwh for one in group if one.g_per_kwh is not None]
    shared = group[0].model_dump(include={"signal", "source", "zone", "dataset_year", "factor_type", "licence"})
    return IntensityUsed(
        **shared,
        n_hours=len(group),
        n_estimated=sum(one.is_estimated is True for one in group),
        n_stale=len(ages),
        oldest_s=max(ages, default=None),
        low_g_per_kwh=min(values),
        high_g_per_kwh=max(values),
    )


def _why_unknown(answers: Sequence[Intensity]) -> str:
    """Why the intensity of some hours is unknown; empty where all are known."""
    lacking = [one for one in answers if one.g_per_kwh is None]
    if not lacking:
        return ""
    part = "" if len(lacking) == len(answers) else f"{len(lacking)} of {counted(len(answers), 'hour')}: "
    return part + "; ".join(dict.fromkeys(one.reason or "" for one in lacking[:5]))
