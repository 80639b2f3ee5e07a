"""The report as Markdown: the same table and words, with the figures beside it as files."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from joulegrid.jobs.report.columns import Cell, Column, ReportTable, headline_table
from joulegrid.jobs.report.comparison_table import comparison_reason, comparison_table
from joulegrid.jobs.report.energy_tables import energy_tables
from joulegrid.jobs.report.footprint_view import METHOD as CARBON_METHOD
from joulegrid.jobs.report.footprint_view import account_lines
from joulegrid.jobs.report.kernel_table import TITLE as KERNELS
from joulegrid.jobs.report.kernel_table import kernel_table
from joulegrid.jobs.report.marks import mark_lines
from joulegrid.jobs.report.page import METHOD
from joulegrid.jobs.report.quantity import counted, plain
from joulegrid.jobs.report.table import head_lines, total_words, warnings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from joulegrid.jobs.report.details import Details
    from joulegrid.jobs.report.plots import Figures
    from joulegrid.jobs.report.run_report import RunReport

# Signs that would begin something in Markdown or in HTML inside it.
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~$&])")


def markdown(run: RunReport, details: Details, figures: Figures) -> str:
    """Return the report; labels and messages are escaped, tables are GitHub's."""
    first, *rest = head_lines(run)
    name, _, state = first.partition(" · ")
    blocks = [f"# {escaped(name)}", escaped(state), *map(escaped, rest), f"Run: {code(run.study.run)}"]
    blocks += [f"> {escaped(note)}" for note in warnings(run.study)]
    blocks += ["## Results", *_headline(run), *_kernels(run), *_comparisons(run), "## Figures", *_figures(figures)]
    blocks += ["## How the energy was obtained", *_energy(run)]
    blocks += _carbon(run)
    blocks += ["## Environment", *_environment(details), *_failures(run, details), *_skipped(run)]
    blocks += [*_configuration(details), "## Reproduce", fenced("\n".join(details.commands), "sh")]
    return "\n\n".join(blocks) + "\n"


def escaped(text: object) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(plain(text).split()))


def code(text: object) -> str:
    """Return text as inline code, whatever backquotes it holds."""
    flat = " ".join(plain(text).split())
    fence = "`" * (_longest_run(flat) + 1)
    return f"{fence} {flat} {fence}" if "`" in flat else f"{fence}{flat}{fence}"


def fenced(text: str, language: str = "") -> str:
    """Return a code block whose fence is longer than any inside it."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{plain(text).rstrip()}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _headline(run: RunReport) -> list[str]:
    drawn = headline_table([run])
    return _report_table(drawn) if drawn.n_rows else ["No task has ended: there is nothing to tabulate."]


def _kernels(run: RunReport) -> list[str]:
    drawn = kernel_table(run.study)
    return [f"## {KERNELS}", *_report_table(drawn)] if drawn is not None else []


def _comparisons(run: RunReport) -> list[str]:
    reason, found = comparison_reason(run.study), run.study.comparisons
    drawn = comparison_table(found) if found is not None else None
    if reason is None and drawn is None:
        return []
    told = _report_table(drawn) if drawn is not None else []
    return ["## Compared with the baseline", *([escaped(reason)] if reason else []), *told]


def _report_table(drawn: ReportTable) -> list[str]:
    columns = [*drawn.names, *drawn.numbers]
    head = [_words(Cell(column.title, column.note)) for column in columns]
    rows = [[_words(column.cells[row]) for column in columns] for row in range(drawn.n_rows)]
    return [
        *map(escaped, drawn.constants),
        _table(head, rows, [_edge(column) for column in columns]),
        *(["\n".join(f"- {escaped(note)}" for note in drawn.notes)] if drawn.notes else []),
    ]


def _words(cell: Cell) -> str:
    return escaped(cell.text) + (f"<br>{escaped(cell.note)}" if cell.note else "")


def _edge(column: Column) -> str:
    return "---:" if column.is_number else "---"


def _table(head: list[str], rows: Iterable[list[str]], edges: list[str]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, edges, *rows])


def _figures(figures: Figures) -> list[str]:
    drawn = [
        f"![{escaped(figure.title)}](figures/{figure.name}.svg)\n\n{escaped(figure.title)}. {escaped(figure.caption)}"
        for figure in figures.drawn
    ]
    return drawn + [escaped(missing) for missing in figures.missing]


def _energy(run: RunReport) -> list[str]:
    totals = [f"- All windows of the done tasks: {escaped(total_words(total))}" for total in run.study.energy]
    marks = [f"- {escaped(line)}" for line in mark_lines(run.study)]
    tables = [
        block for title, drawn in energy_tables(run.study.summary) for block in (f"### {title}", *_report_table(drawn))
    ]
    listed = "\n".join([*totals, *marks]) or "No task is done: no energy is known."
    return [listed, *tables, *map(escaped, METHOD)]


def _carbon(run: RunReport) -> list[str]:
    lines = account_lines(run.study.carbon)
    listed = "\n".join(f"- {escaped(line)}" for line in lines)
    return ["## Carbon and cost", listed, escaped(CARBON_METHOD)] if lines else []


def _environment(details: Details) -> list[str]:
    blocks = []
    for one in details.environments:
        if len(details.environments) > 1:
            blocks.append(f"Seen with: {escaped(', '.join(one.names))}")
        rows = [[escaped(word), escaped(value)] for word, value in one.facts]
        blocks.append(_table(["", ""], rows, ["---", "---"]))
    return blocks or ["Unknown: no task left a result."]


def _failures(run: RunReport, details: Details) -> list[str]:
    if not run.study.counts.failed:
        return []
    rows = [
        [escaped(one.task.label), str(one.task.cycle + 1), escaped(one.task.failure_class), escaped(one.task.message)]
        for one in details.failures
    ]
    more = run.study.counts.failed - len(rows)
    shown = _table(["experiment", "cycle", "class", "message"], rows, ["---", "---:", "---", "---"])
    return ["## Failures", shown, *([f"… and {counted(more, 'more failed task')}."] if more > 0 else [])]


def _skipped(run: RunReport) -> list[str]:
    if not run.study.skipped:
        return []
    rows = [[f"{point.count:,}", escaped(point.reason), escaped(point.example)] for point in run.study.skipped]
    return ["## Skipped points", _table(["points", "reason", "example"], rows, ["---:", "---", "---"])]


def _configuration(details: Details) -> list[str]:
    if not details.configurations:
        return []
    first = details.configurations[0]
    whole = {"experiment": first.effective_config, "chosen by the workload": first.effective, "inputs": first.inputs}
    shown = fenced(json.dumps(whole, indent=2, ensure_ascii=False, default=str), "json")
    return ["## Effective configuration", f"Of {code(first.name)}; the others differ in their axes.", shown]
