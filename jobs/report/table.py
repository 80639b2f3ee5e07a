"""The report in a terminal: what the runs are, the headline table, notes. Drawn by rich, legible at 80 columns."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from joulegrid.jobs.carbon.carbon_account import budget_words
from joulegrid.jobs.report.columns import Cell, Column, ReportTable, headline_table
from joulegrid.jobs.report.comparison_table import comparison_reason, comparison_table
from joulegrid.jobs.report.footprint_view import account_lines
from joulegrid.jobs.report.kernel_table import TITLE as KERNELS
from joulegrid.jobs.report.kernel_table import kernel_table
from joulegrid.jobs.report.marks import mark_lines
from joulegrid.jobs.report.quantity import counted, duration, interval, number, plain
from joulegrid.jobs.report.summary_row import SCOPE_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joulegrid.jobs.report.run_report import RunReport
    from joulegrid.jobs.study_result import EnergyTotal, StudyResult

_LABEL_WIDTH = 28
_GAP = 2  # one blank of padding and one between columns
_FAILURES_SHOWN = 5
_MESSAGE_WIDTH = 300
PIPED_WIDTH = 120


def print_reports(reports: Sequence[RunReport], console: Console | None = None) -> None:
    """Print heads, table, failures and notes of the runs to the terminal."""
    console = console or page_console()
    for report in reports:
        for line in head_lines(report, named=len(reports) > 1):
            console.print(Text(line), soft_wrap=False)
    for line in comparison_lines(reports):
        console.print(Text(line))
    table = headline_table(reports)
    if table.n_rows:
        for line in table.constants:
            console.print(Text(line), style="dim")
        for part in laid_out(table, console.width):
            console.print()
            console.print(part)
    else:
        console.print(Text("\nNo task has ended: there is nothing to tabulate."))
    for report in reports:
        _print_kernels(report, console, named=len(reports) > 1)
        _print_comparisons(report, console, named=len(reports) > 1)
    _print_foot(reports, table, console)


def _print_kernels(report: RunReport, console: Console, *, named: bool) -> None:
    """Nothing is printed for a study of something else."""
    drawn = kernel_table(report.study)
    if drawn is not None:
        console.print(Text(f"\n{f'{report.name}: ' if named else ''}{KERNELS}"))
        print_table(drawn, console)


def print_table(drawn: ReportTable, console: Console) -> None:
    """Print a table as wide as the console, with its notes below."""
    for part in laid_out(drawn, console.width):
        console.print(part)
    for note in drawn.notes:
        console.print(Text(note), style="dim")


def _print_comparisons(report: RunReport, console: Console, *, named: bool) -> None:
    """Nothing is printed where no baseline was declared: the page says how."""
    found = report.study.comparisons
    if found is None:
        return
    name = f"{report.name}: " if named else ""
    drawn, reason = comparison_table(found), comparison_reason(report.study)
    if drawn is None:
        console.print(Text(f"\n{name}{reason}"), style="yellow")
        return
    console.print(Text(f"\n{name}{drawn.constants[0]}"))
    print_table(drawn, console)


def page_console() -> Console:
    """Return a console as wide as the terminal; into a file or a pipe as a page of code, or as `COLUMNS` says."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, emoji=False, width=PIPED_WIDTH if piped else None)


def head_lines(report: RunReport, *, named: bool = False) -> list[str]:
    """Return what the run is, how far it came and on what hardware."""
    study = report.study
    name = f"{report.name}: " if named and report.name != study.study_name else ""
    lines = [f"{name}{study.study_name} · {state_words(study)} · {count_words(study)}"]
    about = [counted(study.n_experiments, "experiment"), counted(study.n_cycles, "cycle"), study.cycle_order]
    length = f"took {duration(study.duration_s)}" if study.duration_s is not None else None
    design = f"design {study.study_design_hash}" if study.study_design_hash else None
    lines.append(" · ".join(plain(part) for part in [*about, length, design] if part))
    lines += [f"on {plain(line)}" for line in study.hardware]
    return [plain(line) for line in lines]


def comparison_lines(reports: Sequence[RunReport]) -> list[str]:
    """Say whether several runs measured the same design; nothing for one run."""
    if len(reports) < 2:
        return []
    designs = {report.study.study_design_hash for report in reports}
    if None in designs:
        return ["The design of some run is unknown: rows of different runs may not be comparable."]
    if len(designs) == 1:
        return ["The runs have the same design."]
    return [f"The runs have {len(designs)} different designs: rows of different runs may not be comparable."]


def state_words(study: StudyResult) -> str:
    """Return the run's state, with its meaning where it is not simply done."""
    words = {"done": "finished", "running": "not finished, numbers so far", "stopped": "stopped before its end"}
    words |= {"budget_spent": "stopped, its budget is spent"}
    return words.get(study.state, "interrupted, can be resumed")


def count_words(study: StudyResult) -> str:
    """Return e.g. `11 of 12 tasks done, 1 failed`."""
    counts = study.counts
    rest = [f"{getattr(counts, name):,} {name}" for name in ("failed", "skipped", "pending", "damaged")]
    return ", ".join(
        [f"{counts.done:,} of {counted(counts.n_tasks, 'task')} done", *(part for part in rest if part[0] != "0")]
    )


def total_words(total: EnergyTotal) -> str:
    """Return a total with its kind, e.g. `1,234 J measured, GPU (counter)`."""
    if total.provenance is None or total.energy_j is None:
        of = f", {SCOPE_WORDS.get(total.scope, total.scope)}," if total.scope is not None else ""
        return f"unknown{of} in {_windows(total)}"
    ends = f" [{interval(total.low_j, total.high_j)}]" if total.low_j is not None and total.high_j is not None else ""
    ends += f" ±{number(100 * total.systematic, 2)} % sensor" if total.systematic is not None else ""
    kind = f"{total.provenance}, {SCOPE_WORDS.get(str(total.scope), total.scope)} ({total.source})"
    return f"{number(total.energy_j)} J{ends} {kind}, in {_windows(total)}"


def _windows(total: EnergyTotal) -> str:
    names = ", ".join(map(plain, total.windows))
    return counted(total.n_windows, "window") + (f" ({names})" if names else "")


def laid_out(table: ReportTable, width: int) -> list[Table]:
    """Return tables no wider than `width` that together hold every column; nothing is cut off.

    Columns that do not fit beside the names go on in a further table under the same names.
    """
    names = [(column, min(_widths(column)[1], _LABEL_WIDTH)) for column in table.names]
    room = width - sum(_GAP + wide for _, wide in names)
    parts: list[list[Column]] = [[]]
    left = room
    for column in table.numbers:
        least = _widths(column)[0] + _GAP
        if least > left and parts[-1]:
            parts.append([])
            left = room
        parts[-1].append(column)
        left -= least
    return [_drawn(names + _widened(part, room)) for part in parts]


def _widths(column: Column) -> tuple[int, int]:
    """Width that cuts no number and no word of the head, and width that leaves the head on its lines."""
    cells = max([1, *(max(cell_len(cell.text), cell_len(cell.note)) for cell in column.cells)])
    least = max(cell_len(word) for word in f"{column.title} {column.note}".split())
    return max(cells, least), max(cells, cell_len(column.title), cell_len(column.note))


def _widened(columns: list[Column], room: int) -> list[tuple[Column, int]]:
    """Give what room is left to the heads, from the left."""
    left = room - sum(_widths(column)[0] + _GAP for column in columns)
    widened = []
    for column in columns:
        least, wished = _widths(column)
        more = max(0, min(wished - least, left))
        left -= more
        widened.append((column, least + more))
    return widened


def _drawn(columns: list[tuple[Column, int]]) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column, wide in columns:
        head = Text(column.title)
        if column.note:
            head.append(f"\n{column.note}", style="dim")
        drawn.add_column(head, justify="right" if column.is_number else "left", width=wide, overflow="fold")
    for row in range(len(columns[0][0].cells)):
        drawn.add_row(*(_cell(column.cells[row]) for column, _ in columns))
    return drawn


def _cell(cell: Cell) -> Text:
    text = Text(cell.text)
    if cell.note:
        text.append(f"\n{cell.note}", style="dim")
    return text


def _print_foot(reports: Sequence[RunReport], table: ReportTable, console: Console) -> None:
    console.print()
    for report in reports:
        name = f"{report.name}: " if len(reports) > 1 else ""
        for total in report.study.energy:
            console.print(Text(f"{name}Energy of all windows of the done tasks: {total_words(total)}"))
        for line in mark_lines(report.study):
            console.print(Text(f"{name}{line}"))
        for line in account_lines(report.study.carbon):
            console.print(Text(f"{name}{line}"))
        if report.study.budget is not None:
            console.print(Text(f"{name}Budget: {budget_words(report.study.budget)}"))
        for line in failure_lines(report.study):
            console.print(Text(f"{name}{line}"))
        for point in report.study.skipped:
            example = f", e.g. {plain(point.example)}" if point.example else ""
            console.print(Text(f"{name}Skipped {counted(point.count, 'point')}: {plain(point.reason)}{example}"))
        for note in warnings(report.study):
            console.print(Text(f"{name}{note}"), style="yellow")
    for note in table.notes:
        console.print(Text(note), style="dim")


def failure_lines(study: StudyResult) -> list[str]:
    """Return the first failures, a line each, and how many more there are."""
    lines = [
        f"Failed: {plain(one.label)} cycle {one.cycle + 1}: {one.failure_class}: {' '.join(plain(one.message).split())}"
        for one in study.failures[:_FAILURES_SHOWN]
    ]
    more = study.counts.failed - len(lines)
    if more > 0 and study.failures_by_class:
        classes = ", ".join(f"{count:,} {name}" for name, count in study.failures_by_class.items())
        lines.append(f"Failed by class: {plain(classes)}")
    cut = [line if len(line) <= _MESSAGE_WIDTH else f"{line[:_MESSAGE_WIDTH]}…" for line in lines]
    return [*cut, f"… and {counted(more, 'more failed task')}"] if lines and more > 0 else cut


def warnings(study: StudyResult) -> list[str]:
    """Return what a reader must know before trusting the numbers."""
    fence = "The store ignores conditional writes: this run is unfenced, best effort."
    return [*([fence] if study.unfenced else []), *stratum_lines(study), *(plain(note) for note in study.notes)]


def stratum_lines(study: StudyResult) -> list[str]:
    """Say what each stratum of a run differs in from the first; nothing where there is one."""
    if len(study.strata) < 2:
        return []
    first, *others = study.strata
    lines = [f"Stratum {first.letter}: {counted(first.n_done, 'task')} on {', '.join(map(plain, first.nodes))}."]
    for one in others:
        where = f"{counted(one.n_done, 'task')} on {', '.join(map(plain, one.nodes))}"
        lines.append(f"Stratum {one.letter}: {where}; unlike {first.letter} in {plain('; '.join(one.differences))}.")
    return lines
