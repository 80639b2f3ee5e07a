"""The report as one HTML page that needs nothing else: no network, no script; figures are inside it as SVG."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from joulegrid.jobs.report.columns import Cell, headline_table, row_name, statistic_cell
from joulegrid.jobs.report.comparison_table import comparison_reason, comparison_table
from joulegrid.jobs.report.energy_tables import energy_tables
from joulegrid.jobs.report.footprint_view import METHOD as CARBON_METHOD
from joulegrid.jobs.report.footprint_view import account_lines
from joulegrid.jobs.report.kernel_table import TITLE as KERNELS
from joulegrid.jobs.report.kernel_table import kernel_table
from joulegrid.jobs.report.marks import mark_lines
from joulegrid.jobs.report.markup import Html, element, folded, joined, table
from joulegrid.jobs.report.page_style import COLOUR_NAMES, STYLE
from joulegrid.jobs.report.quantity import title_of
from joulegrid.jobs.report.table import head_lines, total_words, warnings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joulegrid.jobs.report.columns import ReportTable
    from joulegrid.jobs.report.details import Details, WholeFailure
    from joulegrid.jobs.report.plots import Figure, Figures
    from joulegrid.jobs.report.run_report import RunReport
    from joulegrid.jobs.report.statistic import Statistic
    from joulegrid.jobs.report.summary_row import SummaryRow

_ROWS = 200
METHOD = (
    (
        "Energy belongs to a window of the task: both edges are synchronised with the device, and set-up, warm-up and "
        "teardown lie outside. It is of the hardware that is named beside it; measured energy is gross, idle power "
        "included, and what a model covers is said where its interval is explained. "
        "“Measured” was read from a sensor; “modelled” was calculated from another quantity and is no measurement; "
        "“simulated” came from a simulation. Numbers of different kinds are never added or averaged, and an unknown "
        "energy is shown as unknown, never as 0."
    ),
    (
        "An interval with ± is the two-sided 95 % Student t interval of the mean over the cycles of one experiment, of "
        "a sensor's joules in quadrature with the edges of the windows. A common error of the sensor or the model is "
        "not in it. Edges of different cycles are independent and shrink with the root of their number, but for those "
        "marked tail undecided, aliasing or counter distrusted, whose cause all cycles share."
    ),
)


def page(run: RunReport, details: Details, figures: Figures) -> str:
    """Return the whole page; everything that comes from a study or a task is escaped."""
    sections = [
        _head(run),
        _headline(run),
        _kernels(run),
        _comparisons(run),
        _figures(figures),
        _energy(run),
        _carbon(run),
        _environment(details),
        _failures(run, details),
        _skipped(run),
        _all_metrics(run),
        _configuration(details),
        _reproduce(run, details),
    ]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{run.study.study_name}: Joulegrid report"),
        Html(f"<style>{STYLE}</style>"),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', *sections), lang='en')}\n"


def _head(run: RunReport) -> Html:
    first, *rest = head_lines(run)
    name, _, state = first.partition(" · ")
    started = f"started {run.study.started_at}" if run.study.started_at else "start unknown"
    lines = [element("h1", name), element("p", state), *(element("p", line, class_="soft") for line in rest)]
    lines.append(element("p", f"{started} · {run.study.run}", class_="soft"))
    return joined([*lines, *(element("p", note, class_="warn") for note in warnings(run.study))])


def _headline(run: RunReport) -> Html:
    drawn = headline_table([run])
    title = element("h2", "Results")
    if not drawn.n_rows:
        return joined([title, element("p", "No task has ended: there is nothing to tabulate.")])
    return joined([title, _report_table(drawn)])


def _report_table(drawn: ReportTable) -> Html:
    names = [(column, "name") for column in drawn.names]
    columns = names + [(column, "number" if column.is_number else "word") for column in drawn.numbers]
    head = element("tr", *(_cell("th", Cell(column.title, column.note), kind) for column, kind in columns))
    rows = [[_cell("td", column.cells[row], kind) for column, kind in columns] for row in range(drawn.n_rows)]
    body = element("tbody", *(element("tr", *row) for row in rows))
    whole = element("table", element("thead", head), body)
    above = [element("p", line, class_="soft") for line in drawn.constants]
    return joined([*above, element("div", whole, class_="scroll"), *_notes(drawn.notes)])


def _kernels(run: RunReport) -> Html:
    drawn = kernel_table(run.study)
    return joined([element("h2", KERNELS), _report_table(drawn)]) if drawn is not None else Html("")


def _comparisons(run: RunReport) -> Html:
    reason, found = comparison_reason(run.study), run.study.comparisons
    drawn = comparison_table(found) if found is not None else None
    if reason is None and drawn is None:
        return Html("")
    told = _report_table(drawn) if drawn is not None else Html("")
    return joined([element("h2", "Compared with the baseline"), *_notes([reason] if reason else []), told])


def _cell(name: str, cell: Cell, kind: str) -> Html:
    note = element("span", cell.note, class_="note") if cell.note else ""
    return element(name, cell.text, note, class_=kind)


def _notes(notes: list[str]) -> list[Html]:
    return [element("p", note, class_="note") for note in notes]


def _figures(figures: Figures) -> Html:
    drawn = [_figure(figure) for figure in figures.drawn]
    return joined([element("h2", "Figures"), *drawn, *_notes(figures.missing)])


def _figure(figure: Figure) -> Html:
    caption = element("figcaption", element("b", f"{figure.title}. "), figure.caption)
    drawing = element("div", inline_svg(figure), class_="drawing", style=f"--least: {_least_width_pt(figure):.0f}pt")
    return element("figure", drawing, caption)


def _least_width_pt(figure: Figure) -> float:
    """So narrow that the figure's 9 pt letters are 6 pt; a narrower page scrolls the figure sideways."""
    found = re.search(r'<svg [^>]*?\bwidth="([\d.]+)pt"', figure.svg)
    return float(found[1]) * 2 / 3 if found else 0.0


def inline_svg(figure: Figure) -> Html:
    """Return the figure's SVG for inside a page: without prolog, in the page's colours, its ids its own."""
    svg = figure.svg[figure.svg.index("<svg") :]
    for colour, name in COLOUR_NAMES.items():
        svg = svg.replace(colour, name)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{figure.name}-", svg)
    return Html(svg.replace("<svg ", '<svg role="img" ', 1))


def _energy(run: RunReport) -> Html:
    totals = [element("li", f"All windows of the done tasks: {total_words(total)}") for total in run.study.energy]
    listed = element("ul", *totals) if totals else element("p", "No task is done: no energy is known.")
    marks = element("ul", *(element("li", line) for line in mark_lines(run.study)))
    title = element("h2", "How the energy was obtained")
    return joined([title, listed, marks, *_parts(run), *(element("p", text) for text in METHOD)])


def _parts(run: RunReport) -> Iterator[Html]:
    for title, drawn in energy_tables(run.study.summary):
        yield element("h3", title)
        yield _report_table(drawn)


def _carbon(run: RunReport) -> Html:
    lines = account_lines(run.study.carbon)
    if not lines:
        return Html("")
    listed = element("ul", *(element("li", line) for line in lines))
    return joined([element("h2", "Carbon and cost"), listed, element("p", CARBON_METHOD)])


def _environment(details: Details) -> Html:
    boxes = []
    for one in details.environments:
        names = element("p", f"seen with: {', '.join(one.names)}", class_="soft")
        facts = table([], [list(fact) for fact in one.facts], class_="facts")
        boxes.append(element("div", *([names] if len(details.environments) > 1 else []), facts, class_="box"))
    unknown = element("p", "Unknown: no task left a result.")
    return joined([element("h2", "Environment"), *(boxes or [unknown])])


def _failures(run: RunReport, details: Details) -> Html:
    if not run.study.counts.failed:
        return Html("")
    more = run.study.counts.failed - len(details.failures)
    rest = [element("p", f"… and {more:,} more; manifest.json names them all.")] if more > 0 else []
    return joined([element("h2", "Failures"), *(_failure(one) for one in details.failures), *rest])


def _failure(one: WholeFailure) -> Html:
    task, failure = one.task, one.failure
    summary = joined([element("b", task.failure_class), f" {task.label}, cycle {task.cycle + 1}: {task.message}"])
    if failure is None:
        return folded(summary, element("p", "The task left no result file; the manifest knows no more.", class_="note"))
    facts = [
        ("phase", failure.phase),
        ("type", failure.type),
        ("exit code", failure.exit_code),
        ("signal", failure.signal),
    ]
    shown = table([], [[word, str(value)] for word, value in facts if value is not None], class_="facts")
    texts = (("Traceback", failure.traceback), ("End of the log", failure.log_tail))
    parts = [joined([element("p", word, class_="note"), element("pre", text)]) for word, text in texts if text]
    return folded(summary, shown, *parts)


def _skipped(run: RunReport) -> Html:
    study = run.study
    if not study.skipped and not study.n_duplicates:
        return Html("")
    rows = [[f"{point.count:,}", point.reason, point.example] for point in study.skipped]
    shown = [table(["points", "reason", "example"], rows)] if rows else []
    if study.n_duplicates:
        shown.append(element("p", f"{study.n_duplicates:,} points equal to an earlier one were measured once."))
    return joined([element("h2", "Skipped points"), *shown])


def _all_metrics(run: RunReport) -> Html:
    rows = [row for row in run.study.summary if row.n_done]
    if not rows:
        return Html("")
    head = ["metric", "mean", "n"]
    shown = [folded(_row_title(row), table(head, _lines(row), class_="facts")) for row in rows[:_ROWS]]
    more = _notes([f"The first {_ROWS} of {len(rows):,}; all are in summary.parquet."] if len(rows) > _ROWS else [])
    return joined([element("h2", "Every metric"), *shown, *more])


def _row_title(row: SummaryRow) -> str:
    return f"{row_name(row)} (energy {row.energy_words}; n = {row.n_done})"


def _lines(row: SummaryRow) -> list[list[str]]:
    """Every number of a row, then its words."""
    energy = row.energy_words
    numbers: dict[str, Statistic] = {title_of(name): value for name, value in row.metrics.items()}
    numbers |= {f"J/{unit.replace('_', ' ')} ({energy})": value for unit, value in row.energy_per.items()}
    numbers |= {f"{unit.replace('_', ' ')}s in the headline window": value for unit, value in row.work.items()}
    lines = [[title, statistic_cell(value, value.n).text, str(value.n)] for title, value in numbers.items()]
    return lines + [[title_of(name), " | ".join(values), ""] for name, values in row.texts.items()]


def _configuration(details: Details) -> Html:
    parts = [folded("The study as it was given", element("pre", details.study_yaml))] if details.study_yaml else []
    for one in details.configurations:
        whole = {"experiment": one.effective_config, "chosen by the workload": one.effective, "inputs": one.inputs}
        parts.append(folded(one.name, element("pre", json.dumps(whole, indent=2, ensure_ascii=False, default=str))))
    return joined([element("h2", "Effective configuration"), *parts]) if parts else Html("")


def _reproduce(run: RunReport, details: Details) -> Html:
    kept = "Raw results, power series and summary.parquet lie in the run's folder."
    command = element("pre", "\n".join(details.commands))
    return joined([element("h2", "Reproduce"), command, *_notes([kept])])
