"""The figures of a report, as SVG and PNG: energy against throughput, and power over time. Needs matplotlib.

matplotlib is imported when a figure is drawn, with its file back end and without pyplot, so that nothing of a
process' state changes. Without it there are no figures, and `Figures.missing` says how to get them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from joulegrid.jobs.report.columns import headline_title, row_name
from joulegrid.jobs.report.pareto import headline_throughput
from joulegrid.jobs.report.quantity import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from joulegrid.jobs.report.energy_statistic import EnergyStatistic
    from joulegrid.jobs.report.run_report import RunReport
    from joulegrid.jobs.report.statistic import Statistic
    from joulegrid.jobs.report.summary import EnergyKind, SummaryRow

INK, PAPER, GRID = "#1f2329", "#fefefe", "#d5d9df"  # no other part of a figure has these: a page may exchange them
# Okabe and Ito's palette: told apart by colour-blind readers too; yellow left out, it vanishes on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#6b4c9a", "#7f7f7f")
MARKERS = "osD^vP*X"
_KINDS_SHOWN = 3
_LEGEND_SHOWN = 24
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "joulegrid",
    "text.parse_math": False,  # a label may hold a dollar sign
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn figure."""

    name: str
    title: str
    caption: str
    svg: str
    png: bytes


@dataclass(slots=True)
class Figures:
    """What could be drawn, and why the rest could not."""

    drawn: list[Figure] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Point:
    """An experiment in the plane of throughput and energy."""

    row: SummaryRow
    x: Statistic
    y: EnergyStatistic


@dataclass(frozen=True, slots=True)
class Plane:
    """What the axes of the first figure are."""

    x_title: str
    y_title: str
    x: Callable[[SummaryRow], Statistic | None]
    y: Callable[[SummaryRow], EnergyStatistic | None]


def draw(run: RunReport) -> Figures:
    """Draw the figures that the run has numbers for."""
    if find_spec("matplotlib") is None:
        return Figures(missing=["Figures need matplotlib: pip install 'joulegrid[figures]', then report again."])
    from joulegrid.jobs.report.power_plot import power_over_time

    figures = Figures()
    for drawn in (energy_plane(run.study.summary), power_over_time(run)):
        if isinstance(drawn, Figure):
            figures.drawn.append(drawn)
        else:
            figures.missing.append(drawn)
    return figures


def energy_plane(rows: Sequence[SummaryRow]) -> Figure | str:
    """Draw energy per unit of work against throughput or time, a panel for each kind of energy; or say why not."""
    plane = _plane(rows)
    kinds: dict[EnergyKind, list[Point]] = {}
    for row in rows:
        x, y = plane.x(row), plane.y(row)
        if x is not None and y is not None:
            kinds.setdefault((row.provenance, row.source, row.scope), []).append(Point(row, x, y))
    if not kinds:
        return "No figure of energy: no experiment has both a known energy and the number to set it against."
    shown = list(kinds.values())[:_KINDS_SHOWN]
    with styled():
        figure = new_figure(1.6 + 4.6 * len(shown) + 2.0, 4.2)
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        styles = _styles([point.row for points in shown for point in points])
        for panel, points in zip(panels, shown, strict=True):
            _draw_plane(panel, points, plane, styles)
        _legend(figure, panels)
        title = f"{plane.y_title.removesuffix(', J').capitalize()} against {plane.x_title}"
        return saved(figure, "energy", title, _caption(shown, len(kinds) - len(shown)))


def _plane(rows: Sequence[SummaryRow]) -> Plane:
    """Joules per output token against tokens per second where these exist, else what is nearest to it."""
    units = dict.fromkeys(unit for row in rows for unit in row.energy_per if not unit.startswith("total"))
    throughput = headline_throughput(rows)
    unit = "output_token" if "output_token" in units else next(iter(units), None)
    x_title, x = "seconds of the headline window", lambda row: row.seconds
    if throughput is not None:
        x_title, x = headline_title(throughput), lambda row: row.metrics.get(throughput)
    if unit is None:
        return Plane(x_title, "energy of the headline window, J", x, lambda row: row.energy_j)
    return Plane(x_title, f"energy per {unit.replace('_', ' ')}, J", x, lambda row: row.energy_per.get(unit))


def _draw_plane(panel: Any, points: list[Point], plane: Plane, styles: dict[str, tuple[str, str]]) -> None:
    for point in points:
        name = row_name(point.row)
        colour, marker = styles[name]
        if point.y.stated_low is not None and point.y.stated_high is not None:
            panel.vlines(point.x.mean, point.y.stated_low, point.y.stated_high, color=colour, alpha=0.3, linewidth=4)
        panel.errorbar(
            point.x.mean,
            point.y.mean,
            xerr=point.x.half_width,
            yerr=point.y.half_width,
            fmt=marker,
            color=colour,
            capsize=3,
            markersize=6,
            label=name,
        )
    panel.set_xlabel(plane.x_title)
    panel.set_ylabel(f"{plane.y_title}\n({points[0].row.energy_words}; {points[0].row.source})")
    panel.set_xlim(left=0)
    panel.set_ylim(bottom=0)


def _styles(rows: Sequence[SummaryRow]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each experiment; two axes give one each, else they walk through both."""
    names = list(dict.fromkeys(row_name(row) for row in rows))
    by_name = {row_name(row): row for row in rows}
    varied = [path for path in dict.fromkeys(path for row in rows for path in row.axes) if len(_values(rows, path)) > 1]
    one_stratum = not any(row.stratum for row in rows)
    if one_stratum and len(varied) == 2 and all(len(_values(rows, path)) <= len(COLOURS) for path in varied):
        first, second = sorted(varied, key=lambda path: -len(_values(rows, path)))
        colours, markers = _values(rows, first), _values(rows, second)
        return {
            name: (COLOURS[colours.index(_value(row, first))], MARKERS[markers.index(_value(row, second))])
            for name, row in by_name.items()
        }
    size = len(COLOURS)
    return {name: (COLOURS[n % size], MARKERS[n // size % len(MARKERS)]) for n, name in enumerate(names)}


def _values(rows: Sequence[SummaryRow], path: str) -> list[str]:
    return list(dict.fromkeys(_value(row, path) for row in rows))


def _value(row: SummaryRow, path: str) -> str:
    return repr(row.axes.get(path))


def _legend(figure: Any, panels: Any) -> None:
    entries = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    labels = list(entries)[:_LEGEND_SHOWN]
    shown = [label if len(label) <= 44 else f"{label[:43]}…" for label in labels]
    title = "experiment" if len(entries) == len(labels) else f"experiment (first {len(labels)} of {len(entries)})"
    figure.legend([entries[label] for label in labels], shown, loc="outside right upper", fontsize=8, title=title)


def _caption(shown: list[list[Point]], left_out: int) -> str:
    points = [point for kind in shown for point in kind]
    repeated = any(point.y.n > 1 for point in points)
    parts = ["Bars: 95 % Student t interval of the mean over cycles." if repeated else "One cycle each: no interval."]
    if any(point.y.stated_low is not None for point in points):
        parts.append("Pale bars: the interval that the energy's source states.")
    if left_out:
        parts.append(f"{left_out} further kinds of energy are in the table.")
    return " ".join(parts)


def styled() -> Any:
    """Return a context with the figures' style; outside it nothing of matplotlib has changed."""
    from matplotlib import rc_context

    return rc_context(_STYLE)


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure, in inches, that no list of figures knows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    figure = Drawing(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def saved(figure: Any, name: str, title: str, caption: str) -> Figure:
    """Return the figure as SVG and PNG; equal numbers give equal bytes."""
    import io
    import warnings

    svg, png = io.StringIO(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a label in a script the font lacks
        figure.savefig(svg, format="svg", metadata={"Date": None, "Title": plain(title)})
        figure.savefig(png, format="png", dpi=150)
    return Figure(name, title, caption, svg.getvalue(), png.getvalue())
