"""Joules for a unit of work against throughput: the Pareto front is drawn and named, what it beats is grey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joulegrid.jobs.report.columns import headline_title, row_name
from joulegrid.jobs.report.labels import Mark, place_labels
from joulegrid.jobs.report.pareto import headline_throughput, headline_unit
from joulegrid.jobs.report.plots import COLOURS, SOFT, Figure, new_figure, saved, shortened, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joulegrid.jobs.report.energy_statistic import EnergyStatistic
    from joulegrid.jobs.report.statistic import Statistic
    from joulegrid.jobs.report.summary import EnergyKind
    from joulegrid.jobs.report.summary_row import SummaryRow

_KINDS_SHOWN = 2
_LABELLED = 12
"""Points that are beaten are named too while there are no more than this."""


@dataclass(frozen=True, slots=True)
class Point:
    """An experiment in the plane."""

    row: SummaryRow
    x: Statistic
    y: EnergyStatistic


def pareto_plane(rows: Sequence[SummaryRow]) -> Figure | None:
    """Draw the plane, a panel below the other for each kind of energy; `None` without throughput or known energy."""
    unit, throughput = headline_unit(rows), headline_throughput(rows)
    kinds: dict[tuple[EnergyKind, str | None], list[Point]] = {}
    for row in rows:
        x, y = row.metrics.get(throughput or ""), row.energy_per.get(unit or "")
        if x is not None and y is not None:
            kind = (row.provenance, row.source, row.scope)
            kinds.setdefault((kind, row.stratum), []).append(Point(row, x, y))
    if not kinds or max(map(len, kinds.values())) < 2 or throughput is None or unit is None:
        return None
    shown = list(kinds.values())[:_KINDS_SHOWN]
    with styled():
        figure = new_figure(8.4, 4.4 * len(shown))
        panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
        for panel, points in zip(panels, shown, strict=True):
            _draw(panel, points)
            panel.set_xlabel(headline_title(throughput))
            panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
            row = points[0].row
            panel.set_ylabel(f"energy per {unit.replace('_', ' ')}, J\n({row.energy_words}; {row.source})")
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # what is placed now shall stay
        missed = sum(_label(panel, points) for panel, points in zip(panels, shown, strict=True))
        return saved(figure, "pareto", "Energy against throughput", _caption(len(kinds) - len(shown), missed))


def _draw(panel: Any, points: Sequence[Point]) -> None:
    for point in points:
        colour = COLOURS[0] if point.row.on_front else SOFT
        panel.errorbar(
            point.x.mean,
            point.y.mean,
            xerr=point.x.half_width,
            yerr=point.y.half_width,
            fmt="o",
            color=colour,
            markersize=7 if point.row.on_front else 5,
            elinewidth=1.0,
            alpha=1.0,
            zorder=3 if point.row.on_front else 2,
        )
    front = sorted((point.x.mean, point.y.mean) for point in points if point.row.on_front)
    panel.plot(*zip(*front, strict=True), color=COLOURS[0], linewidth=1.2, linestyle="--", zorder=1)
    _limit(panel, points)


def _limit(panel: Any, points: Sequence[Point]) -> None:
    """Show every mean with room for its name; an interval wider than the plane is cut, not the plane blown up."""
    for axis, values in (("x", [point.x.mean for point in points]), ("y", [point.y.mean for point in points])):
        getattr(panel, f"set_{axis}lim")(0.0, 1.3 * max(values) or 1.0)


def _label(panel: Any, points: Sequence[Point]) -> int:
    first = sorted(points, key=lambda point: (not point.row.on_front, point.row.index))
    return place_labels(panel, [_mark(point, named=point.row.on_front or len(points) <= _LABELLED) for point in first])


def _mark(point: Point, *, named: bool | None) -> Mark:
    x, y = (one.mean for one in (point.x, point.y))
    (dx, dy) = (one.half_width or 0.0 for one in (point.x, point.y))
    name = shortened(row_name(point.row)) if named else None
    return Mark(x, y, ((x - dx, x + dx), (y - dy, y + dy)), name)


def _caption(left_out: int, missed: int) -> str:
    parts = [
        "Blue, dashed: the Pareto front, by the means; what it beats is grey. Bars: 95 % intervals, as in the table."
    ]
    if missed:
        parts.append(f"{missed} without room for a name.")
    if left_out:
        parts.append(f"{left_out} further kinds of energy are in the table.")
    return " ".join(parts)
