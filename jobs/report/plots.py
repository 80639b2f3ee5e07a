"""The figures of a report, as SVG and PNG, in one style. Needs matplotlib.

matplotlib is imported when a figure is drawn, with its file back end and without pyplot, so that nothing of a
process' state changes. Without it there are no figures, and `Figures.missing` says how to get them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from joulegrid.jobs.report.quantity import plain

if TYPE_CHECKING:
    from joulegrid.jobs.report.run_report import RunReport

# No other part of a figure has these four: a page may exchange them.
INK, PAPER, GRID, SOFT = "#1f2329", "#fefefe", "#d5d9df", "#8a929c"
# Okabe and Ito's palette: told apart by colour-blind readers too; yellow left out, it vanishes on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#6b4c9a", "#7f7f7f")
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


def draw(run: RunReport) -> Figures:
    """Draw the figures that the run has numbers for."""
    if find_spec("matplotlib") is None:
        return Figures(missing=["Figures need matplotlib: pip install 'joulegrid[figures]', then report again."])
    from joulegrid.jobs.report.energy_plot import energy_bars, energy_breakdown, net_energy, power_by_window
    from joulegrid.jobs.report.pareto_plot import pareto_plane
    from joulegrid.jobs.report.power_plot import power_over_time

    rows, figures = run.study.summary, Figures()
    pictures = (energy_bars(rows), pareto_plane(rows), energy_breakdown(rows), net_energy(rows), power_by_window(rows))
    for drawn in (*pictures, power_over_time(run)):
        if isinstance(drawn, Figure):
            figures.drawn.append(drawn)
        elif drawn is not None:
            figures.missing.append(drawn)
    return figures


def shortened(label: str, width: int = 44) -> str:
    """Return a label that fits beside a point."""
    return label if len(label) <= width else f"{label[: width - 1]}…"


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
