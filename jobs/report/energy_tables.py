"""The tables of an energy's parts: where its uncertainty comes from, and what is left above an idle baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from joulegrid.jobs.report.columns import Cell, Column, ReportTable, row_name
from joulegrid.jobs.report.legend import is_constant
from joulegrid.jobs.report.pareto import headline_unit
from joulegrid.jobs.report.quantity import number, with_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from joulegrid.jobs.report.energy_statistic import EnergyStatistic
    from joulegrid.jobs.report.summary_row import SummaryRow

BASELINE_WORDS = {"bare_idle": "bare idle", "loaded_idle": "loaded idle"}


def energy_tables(rows: Sequence[SummaryRow]) -> Iterator[tuple[str, ReportTable]]:
    """Yield the title and the table of each that these rows have numbers for."""
    parts = parts_table(rows)
    if parts is not None:
        yield "Uncertainty in parts", parts
    for baseline in dict.fromkeys(name for row in rows for name in row.net):
        drawn = net_table(rows, baseline)
        if drawn is not None:
            yield f"Above {BASELINE_WORDS.get(baseline, baseline)}", drawn


def parts_table(rows: Sequence[SummaryRow]) -> ReportTable | None:
    """Return the uncertainty of the headline energy by its cause, in percent; `None` where no energy is measured."""
    unit = headline_unit(rows)
    shown = [(row, one) for row in rows if (one := _headline_energy(row, unit)) is not None and _has_parts(one)]
    if not shown:
        return None
    title = "energy, J" if unit is None else f"J/{unit.replace('_', ' ')}"
    columns = [Column(title, [Cell(number(one.mean)) for _, one in shown])]
    columns += [
        _percent("repeats, %", shown, lambda one: one.repeats),
        _percent("edges, %", shown, lambda one: one.edges),
        _percent("both, %", shown, lambda one: one.half_width),
        _percent("sensor, %", shown, lambda one: None if one.systematic is None else one.systematic * one.mean),
    ]
    return _table(
        shown,
        columns,
        "Half-widths of 95 % intervals, as parts of the mean. Repeats: spread of the cycles. Edges: where the windows "
        "begin and end. Sensor: the maker's own figure, common to all windows of one card; it cancels in ratios on a "
        "card, never across cards.",
    )


def net_table(rows: Sequence[SummaryRow], baseline: str) -> ReportTable | None:
    """Return gross energy and what is left above a baseline; `None` where no row has that baseline."""
    shown = [(row, row.net[baseline]) for row in rows if baseline in row.net]
    if not shown:
        return None
    gross = [Cell(number(row.energy_j.mean) if row.energy_j else "–") for row, _ in shown]
    above = [Cell(with_interval(one.mean, one.half_width)) for _, one in shown]
    parts = {
        "repeats, J": [one.repeats for _, one in shown],
        "edges, J": [one.edges for _, one in shown],
        "baseline, J": [one.baseline for _, one in shown],
    }
    columns = [Column("gross, J", gross), Column(f"above {BASELINE_WORDS.get(baseline, baseline)}, J", above)]
    columns += [Column(title, [_plus_minus(half, 2) for half in halves]) for title, halves in parts.items()]
    columns.append(Column("idle, W", [Cell(number(one.baseline_power_w)) for _, one in shown]))
    return _table(shown, columns, "±: repeats, edges and baseline in quadrature. Net joules may be negative.")


def _headline_energy(row: SummaryRow, unit: str | None) -> EnergyStatistic | None:
    return row.energy_j if unit is None else row.energy_per.get(unit)


def _has_parts(one: EnergyStatistic) -> bool:
    return one.edges is not None or one.systematic is not None


def _percent(
    title: str,
    shown: Sequence[tuple[SummaryRow, EnergyStatistic]],
    pick: Callable[[EnergyStatistic], float | None],
) -> Column:
    halves = [(pick(one), one.mean) for _, one in shown]
    parts = [None if half is None or not mean else abs(100 * half / mean) for half, mean in halves]
    return Column(title, [_plus_minus(part, 2) for part in parts])


def _plus_minus(half: float | None, digits: int) -> Cell:
    return Cell("unknown" if half is None else number(round(half, 9), digits))


def _table(shown: Sequence[tuple[SummaryRow, EnergyStatistic]], columns: list[Column], note: str) -> ReportTable:
    names = [Column("experiment", [Cell(row_name(row)) for row, _ in shown], is_number=False)]
    constant = [column for column in columns if is_constant(column)]
    told = " · ".join(f"{column.title} = {column.cells[0].text}" for column in constant)
    numbers = [column for column in columns if column not in constant]
    return ReportTable(names, numbers, [note], [f"In every row: {told}"] if told else [])
