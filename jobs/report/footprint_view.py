"""Grams and money in the report: columns of the headline table, and the words of a section of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from joulegrid.jobs.carbon.carbon_account import CarbonAccount, CarbonTotal, IntensityUsed
from joulegrid.jobs.report.quantity import counted, interval, number, plain
from joulegrid.jobs.report.summary_row import SCOPE_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from joulegrid.jobs.report.summary_row import SummaryRow
    from joulegrid.jobs.study_result import StudyResult

TITLES = {
    "average_g": "g CO₂e",
    "facility_average_g": "facility g CO₂e",
    "marginal_g": "marginal g CO₂e",
    "facility_marginal_g": "facility marginal g CO₂e",
    "facility_energy_j": "facility J",
    "energy_cost": "energy cost",
    "gpu_cost": "GPU cost",
}
_IN_HEADLINE = ("average_g", "facility_average_g", "marginal_g", "energy_cost", "gpu_cost")
METHOD = (
    "Grams are derived: the stored joules of each UTC hour times that hour's carbon intensity. Only the electricity of "
    "the hardware named is counted, not its making. Grams at the average intensity are for accounting; at the marginal "
    "intensity they say what one kilowatt-hour more would have caused; the two are never added. Joules that a model "
    "calculated make modelled grams."
)


def shown_names(rows: Sequence[SummaryRow], names: Sequence[str] = _IN_HEADLINE) -> list[str]:
    """Return the columns that some row has."""
    return [name for name in names if any(name in row.footprint for row in rows)]


def title_of(name: str, currency: str | None) -> str:
    """Return a column's title, money with its currency."""
    return f"{TITLES[name]}, {currency}" if name.endswith("cost") and currency else TITLES[name]


def currency_of(studies: Sequence[StudyResult]) -> str | None:
    """Return the currency that all runs share."""
    found = {study.carbon.currency for study in studies if study.carbon is not None}
    return found.pop() if len(found) == 1 else None


def account_lines(account: CarbonAccount | None) -> list[str]:
    """Return what a run's grams and money come to and whose numbers they are; nothing where nobody asked for any."""
    if account is None or (account.provider == "none" and account.price_per_kwh is None and not account.gpu_cost):
        return []
    totals = [f"{_kind(total)}: {_amounts(total, account)}" for total in account.totals if total.energy_j is not None]
    unknown = sum(total.n_windows for total in account.totals if total.energy_j is None)
    lines = [*totals, *([f"{counted(unknown, 'window')} of unknown energy: grams unknown"] if unknown else [])]
    return [plain(line) for line in [*lines, *_sources(account), *account.notes]]


def _kind(total: CarbonTotal) -> str:
    return f"All windows, {total.provenance}, {SCOPE_WORDS.get(str(total.scope), total.scope)}"


def _amounts(total: CarbonTotal, account: CarbonAccount) -> str:
    grams = "g CO₂e unknown" if total.average_g is None else f"{number(total.average_g)} g CO₂e (average)"
    parts = [f"{number(total.energy_j)} J", grams]
    if total.marginal_g is not None:
        parts.append(f"{number(total.marginal_g)} g CO₂e (marginal)")
    if total.facility_energy_j is not None:
        of_facility = [("average", total.facility_average_g), ("marginal", total.facility_marginal_g)]
        told = [f"{number(grams)} g CO₂e ({name})" for name, grams in of_facility if grams is not None]
        parts.append(f"with the facility {', '.join([f'{number(total.facility_energy_j)} J', *told])}")
    if total.energy_cost is not None:
        parts.append(f"energy cost {money(total.energy_cost, account.currency)}")
    return "; ".join(parts)


def money(amount: float, currency: str | None) -> str:
    """Return an amount with its currency."""
    return f"{number(amount)} {currency or '(no currency given)'}"


def _sources(account: CarbonAccount) -> Iterator[str]:
    for used in account.intensities:
        yield f"Intensity, {used.signal}: {_intensity(used)}"
    for signal, why in account.unknown.items():
        if account.provider != "none" and (signal == "average" or account.provider == "watttime"):
            yield f"Intensity, {signal}: unknown: {why}"
    if account.provider == "none":
        yield f"g CO₂e unknown: {account.unknown.get('average', 'no energy is known')}"
    if account.pue is not None:
        yield f"PUE {account.pue:g}, {account.pue_source or 'as given, its source was not said'}"
    if account.gpu_cost is not None:
        yield f"GPU cost {money(account.gpu_cost, account.currency)} for {number(account.gpu_hours)} GPU-hours of tasks"


def _intensity(used: IntensityUsed) -> str:
    low, high = used.low_g_per_kwh, used.high_g_per_kwh
    value = number(low) if low == high else interval(low, high)
    about = [used.zone, str(used.dataset_year) if used.dataset_year else None, used.factor_type, used.licence]
    parts = [f"{value} g/kWh, {used.source}", *(part for part in about if part)]
    if used.n_estimated:
        parts.append(f"{used.n_estimated} of {counted(used.n_hours, 'hour')} estimated")
    if used.n_stale:
        age = f"{(used.oldest_s or 0) / 3600:.1f} h"
        parts.append(f"{used.n_stale} of {counted(used.n_hours, 'hour')} from an old copy, up to {age} old")
    return ", ".join(parts)
