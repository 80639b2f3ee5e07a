"""The headline table, whatever draws it: which columns a workload has and the text of every cell. No layout."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from joulegrid.jobs.report.footprint_view import currency_of, shown_names
from joulegrid.jobs.report.footprint_view import title_of as footprint_title
from joulegrid.jobs.report.legend import constant_lines, is_bracketed, is_constant, stated_factor, table_notes
from joulegrid.jobs.report.marks import marks_of, shared_flags
from joulegrid.jobs.report.pareto import FIRST_UNITS, THROUGHPUT, headline_throughput
from joulegrid.jobs.report.quantity import interval, plain, title_of, with_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from joulegrid.jobs.report.energy_statistic import EnergyStatistic
    from joulegrid.jobs.report.run_report import RunReport
    from joulegrid.jobs.report.statistic import Statistic
    from joulegrid.jobs.report.summary_row import SummaryRow
    from joulegrid.jobs.study_result import StudyResult

FIRST_TOKEN = re.compile(r"(^|\.)(ttft|time_to_first_token)(_m?s)?[._](p50|median)(_m?s)?$")
_METRICS_SHOWN = 5
_TEXTS_SHOWN = 2
_TEXT_WIDTH = 24


@dataclass(frozen=True, slots=True)
class Cell:
    """What one cell says: the number or word, and below it how it was obtained."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column with its unit in the title."""

    title: str
    cells: list[Cell]
    note: str = ""
    """Holds for every cell, e.g. `measured, GPU`."""
    is_number: bool = True


@dataclass(frozen=True, slots=True)
class ReportTable:
    """The leading columns name a row; the others hold its numbers; notes explain both."""

    names: list[Column]
    numbers: list[Column]
    notes: list[str] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    """What is alike in all rows, told once above them."""

    @property
    def n_rows(self) -> int:
        """How many rows each column has."""
        return len(self.names[-1].cells)


def headline_table(reports: Sequence[RunReport]) -> ReportTable:
    """Return the table of one run, or of several with a column that tells them apart."""
    runs = [plain(report.name) for report in reports for _ in report.study.summary]
    rows = [row for report in reports for row in report.study.summary]
    shared = _shared_kind(rows)
    marks = shared_flags(rows) if len(rows) > 1 else []
    names = [Column("run", [Cell(run) for run in runs], is_number=False)] if len(reports) > 1 else []
    names.append(
        Column("experiment", [_name_cell(row, marks, with_kind=shared is None) for row in rows], is_number=False)
    )
    numbers = [Column("n", [Cell(str(row.n_done)) for row in rows])]
    if any(row.n_failed for row in rows):
        numbers.append(Column("failed", [Cell(str(row.n_failed)) for row in rows]))
    first, rest = _metric_columns(rows)
    numbers += [*first, *_energy_columns(rows, shared), *rest]
    numbers.append(_column("seconds", rows, lambda row: row.seconds))
    numbers.append(energy_column(rows))
    numbers += footprint_columns(rows, shown_names(rows), currency_of([report.study for report in reports]))
    left_out = [note for note in (rows_left_out(report.study) for report in reports) if note]
    told = [column for column in numbers if _says_something(column)]
    constant = [column for column in told if is_constant(column)]
    shown = [column for column in told if column not in constant]
    return ReportTable(names, shown, [*left_out, *table_notes(rows)], constant_lines(constant, rows))


def experiment_name(row: SummaryRow) -> str:
    """Return the label of a row's experiment for people; the experiment's number where it has none."""
    return plain(row.label).replace("\n", " ").strip() or f"experiment {row.index}"


def row_name(row: SummaryRow) -> str:
    """Return a row's name for people: the experiment's, and the letter of the stratum where there are several."""
    return f"{experiment_name(row)} ({row.stratum})" if row.stratum else experiment_name(row)


def rows_left_out(study: StudyResult) -> str | None:
    """Say how many rows of a large study its record does not hold."""
    if study.n_summary_rows is None or study.n_summary_rows <= len(study.summary):
        return None
    return f"The first {len(study.summary):,} of {study.n_summary_rows:,} rows; all are in summary.parquet."


def statistic_cell(statistic: Statistic | None, n_done: int) -> Cell:
    """Return mean and interval; how many cycles counted where not all did; `–` for nothing."""
    if statistic is None:
        return Cell("–")
    half = statistic.half_width or None  # what never varies is a count, not a measurement
    return Cell(with_interval(statistic.mean, half), _counted(statistic, n_done))


def metric_names(rows: Iterable[SummaryRow]) -> list[str]:
    """Return the dotted names of all numeric metrics, in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row.metrics))


def _metric_columns(rows: Sequence[SummaryRow]) -> tuple[list[Column], list[Column]]:
    """The metrics before and after the energies: throughput and latency, or whatever numbers a workload has."""
    names = metric_names(rows)
    throughput = headline_throughput(rows)
    if throughput is None:
        return [], [_metric(name, rows) for name in names[:_METRICS_SHOWN]] + _text_columns(rows)
    latency = next((name for name in names if FIRST_TOKEN.search(name)), None)
    first = _metric(throughput, rows, headline_title(throughput))
    return [first], [_metric(latency, rows, headline_title(latency))] if latency else []


def headline_title(name: str) -> str:
    """Return the title of a well-known metric without the group that a workload keeps it in."""
    known = THROUGHPUT.search(name) or FIRST_TOKEN.search(name)
    return title_of(name[known.start() :].lstrip(".") if known else name)


def _metric(name: str, rows: Sequence[SummaryRow], title: str | None = None) -> Column:
    return _column(title or title_of(name), rows, lambda row: row.metrics.get(name))


def _text_columns(rows: Sequence[SummaryRow]) -> list[Column]:
    names = dict.fromkeys(name for row in rows for name in row.texts)
    shown: Mapping[str, list[str]] = {name: [" | ".join(row.texts.get(name, [])) for row in rows] for name in names}
    short = [name for name, texts in shown.items() if all(len(text) <= _TEXT_WIDTH for text in texts)]
    return [
        Column(title_of(name), [Cell(plain(text) or "–") for text in shown[name]], is_number=False)
        for name in short[:_TEXTS_SHOWN]
    ]


def _energy_columns(rows: Sequence[SummaryRow], shared: str | None) -> list[Column]:
    units = list(dict.fromkeys(unit for row in rows for unit in row.energy_per))
    if FIRST_UNITS[0] in units:  # tokens say it all; the rest is among the metrics of the page
        units = [unit for unit in FIRST_UNITS if unit in units]
    elif names := dict.fromkeys(
        name for row in rows for name in row.differences
    ):  # the cost itself, without its setting
        return [_difference_column(name, rows, shared) for name in names]
    return [_per_column(unit, rows, shared) for unit in units if not _is_one(unit, rows)]


def energy_column(rows: Sequence[SummaryRow]) -> Column:
    """Return the column of the headline windows' joules."""
    return _energy_column("energy, J", rows, lambda row: row.energy_j, _shared_kind(rows))


def footprint_columns(rows: Sequence[SummaryRow], names: Sequence[str], currency: str | None) -> list[Column]:
    """Return columns derived from the joules, with the kind of these."""
    shared = _shared_kind(rows)

    def column(name: str) -> Column:
        title, kind = footprint_title(name, currency), None if name == "gpu_cost" else shared
        return _energy_column(title, rows, lambda row: row.footprint.get(name), kind)

    return [column(name) for name in names]


def _per_column(unit: str, rows: Sequence[SummaryRow], shared: str | None) -> Column:
    return _energy_column(f"J/{unit.replace('_', ' ')}", rows, lambda row: row.energy_per.get(unit), shared)


def _difference_column(name: str, rows: Sequence[SummaryRow], shared: str | None) -> Column:
    found = [row.differences.get(name) for row in rows]
    unit = next(one.unit for one in found if one is not None)
    cells = [
        Cell("unknown") if one is None and row.headline is not None else _energy_cell(row, one, bracket=True)
        for row, one in zip(rows, found, strict=True)
    ]
    return Column(f"{name}, {unit}", cells, note=shared or "")


def _is_one(unit: str, rows: Sequence[SummaryRow]) -> bool:
    """Whether a window holds just one such unit, so that its energy says the same."""
    counts = [row.work[unit] for row in rows if unit in row.work]
    return all(count.mean == 1 and not count.sd for count in counts)


def _column(title: str, rows: Sequence[SummaryRow], pick: Callable[[SummaryRow], Statistic | None]) -> Column:
    return Column(title, [statistic_cell(pick(row), row.n_done) for row in rows])


def _energy_column(
    title: str, rows: Sequence[SummaryRow], pick: Callable[[SummaryRow], EnergyStatistic | None], shared: str | None
) -> Column:
    bracket = stated_factor(rows) is None
    cells = [_energy_cell(row, pick(row), bracket=bracket) for row in rows]
    return Column(title, cells, note=shared or "")


def _name_cell(row: SummaryRow, shared_marks: Sequence[str], *, with_kind: bool) -> Cell:
    """A row's name, its marks that not all have, and where the rows' energies differ in kind what this row's are."""
    kind = f"energy {row.energy_words}" if with_kind and row.n_done else ""
    return Cell(row_name(row), " · ".join(part for part in (kind, marks_of(row, shared_marks)) if part))


def _energy_cell(row: SummaryRow, statistic: EnergyStatistic | None, *, bracket: bool) -> Cell:
    if statistic is None:
        return Cell("unknown" if row.headline is not None and row.unknown else "–")
    cell = statistic_cell(statistic, row.n_done)
    notes = [cell.note] if cell.note else []
    if bracket and is_bracketed(statistic) and statistic.stated_low is not None and statistic.stated_high is not None:
        notes.append(f"[{interval(statistic.stated_low, statistic.stated_high)}]")
    return Cell(cell.text, " ".join(notes))


def _shared_kind(rows: Sequence[SummaryRow]) -> str | None:
    """How every known energy of the table was obtained, if all alike; empty where none is known."""
    kinds = {row.energy_words for row in rows if row.energy_j is not None}
    return "".join(kinds) if len(kinds) < 2 else None


def _counted(statistic: Statistic, n_done: int) -> str:
    return f"(n = {statistic.n})" if statistic.n != n_done else ""


def _says_something(column: Column) -> bool:
    """A column of dashes is left out; one of `unknown` is not."""
    return any(cell.text != "–" for cell in column.cells) or column.title == "n"
