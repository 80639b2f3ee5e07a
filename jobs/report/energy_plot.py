"""Energy of each experiment with its error bar, and its parts by device: a line each, so that no labels can meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joulegrid.jobs.report.columns import row_name
from joulegrid.jobs.report.energy_statistic import NetStatistic
from joulegrid.jobs.report.energy_tables import BASELINE_WORDS
from joulegrid.jobs.report.pareto import headline_unit
from joulegrid.jobs.report.plots import COLOURS, Figure, new_figure, saved, shortened, styled
from joulegrid.jobs.report.summary_row import SCOPE_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from joulegrid.jobs.report.energy_statistic import EnergyStatistic
    from joulegrid.jobs.report.summary import EnergyKind
    from joulegrid.jobs.report.summary_row import SummaryRow

LINES_SHOWN = 24
_KINDS_SHOWN = 3
_PARTS_SHOWN = 4
_COLOUR_OF = {"measured": COLOURS[0], "modelled": COLOURS[1], "simulated": COLOURS[3]}
"""What was calculated shall not look like what was measured: nor has it a filled mark."""


@dataclass(frozen=True, slots=True)
class Line:
    """An experiment's energy in a panel."""

    name: str
    energy: EnergyStatistic | None


def energy_bars(rows: Sequence[SummaryRow]) -> Figure | str:
    """Draw energy for a unit of work with error bars, a panel for each kind of energy; or say why not."""
    unit = headline_unit(rows)
    kinds: dict[EnergyKind, list[Line]] = {}
    for row in rows:
        energy = row.energy_j if unit is None else row.energy_per.get(unit)
        if energy is not None:
            kinds.setdefault((row.provenance, row.source, row.scope), []).append(Line(row_name(row), energy))
    if not kinds:
        return "No figure of energy: no experiment has a known energy."
    panels = list(kinds.items())[:_KINDS_SHOWN]
    shown = [lines[:LINES_SHOWN] for _, lines in panels]
    what = "energy of the headline window, J" if unit is None else f"energy per {unit.replace('_', ' ')}, J"
    with styled():
        figure = new_figure(8.4, sum(_height(lines) for lines in shown))
        drawn = figure.subplots(len(shown), 1, squeeze=False, height_ratios=[_height(lines) for lines in shown])
        for panel, ((provenance, source, scope), _), lines in zip(drawn[:, 0], panels, shown, strict=True):
            draw_lines(panel, lines, str(provenance))
            panel.set_xlabel(f"{what} ({provenance}, {SCOPE_WORDS.get(str(scope), scope)}; {source})")
        left_out = sum(map(len, kinds.values())) - sum(map(len, shown))
        return saved(figure, "energy", what.partition(",")[0].capitalize(), _caption(shown, left_out))


def energy_breakdown(rows: Sequence[SummaryRow]) -> Figure | None:
    """Draw the headline window's joules by device, a panel each; `None` where one device is all there is.

    Panels never share an axis or a sum: each has a provenance of its own.
    """
    shown = [row for row in rows if row.energy_j is not None][:LINES_SHOWN]
    panels = [(kind, "energy, J", [pick(row) for row in shown]) for kind, pick in _parts(shown).items()]
    caption = "The headline window by device, each on an axis of its own: measured and modelled joules are never added."
    return _side_by_side(shown, panels, ("breakdown", "Energy by device", caption))


def net_energy(rows: Sequence[SummaryRow]) -> Figure | None:
    """Draw the headline window's joules whole and above each idle baseline, a panel each; `None` without a baseline.

    Rows of another kind of energy than the first's are left out, as an axis has one kind.
    """
    shown = [row for row in rows if row.net and row.energy_j is not None]
    if not shown:
        return None
    first = shown[0]
    shown = [row for row in shown if (row.provenance, row.scope) == (first.provenance, first.scope)][:LINES_SHOWN]
    kind = f"{first.provenance} {SCOPE_WORDS.get(str(first.scope), first.scope)}"
    panels: list[tuple[str, str, Sequence[EnergyStatistic | None]]] = [(kind, "gross, J", [r.energy_j for r in shown])]
    panels += [
        (kind, f"above {BASELINE_WORDS.get(name, name)}, J", [row.net.get(name) for row in shown])
        for name in dict.fromkeys(name for row in shown for name in row.net)
    ]
    caption = "Energy of the headline window, and what is left of it above idle power; that may be negative."
    return _side_by_side(shown, panels, ("net", "Energy above idle", caption))


def power_by_window(rows: Sequence[SummaryRow]) -> Figure | None:
    """Draw the mean power of each kind of window, a panel each; `None` where tasks have one window only."""
    shown = [row for row in rows if row.power_w][:LINES_SHOWN]
    first = next(iter(shown), None)
    if first is None:
        return None
    shown = [row for row in shown if (row.provenance, row.scope) == (first.provenance, first.scope)]
    names = list(dict.fromkeys(name for row in shown for name in row.power_w))[:_PARTS_SHOWN]
    panels = [
        (f"{first.provenance} {SCOPE_WORDS.get(str(first.scope), first.scope)}", f"{name}: power, W", powers)
        for name in names
        if (powers := [row.power_w.get(name) for row in shown])
    ]
    caption = "Mean power in each window. The windows are separate measurements, no parts of one another."
    return _side_by_side(shown, panels, ("windows", "Power by window", caption))


def _side_by_side(
    shown: Sequence[SummaryRow],
    panels: Sequence[tuple[str, str, Sequence[EnergyStatistic | None]]],
    about: tuple[str, str, str],
) -> Figure | None:
    """Draw panels of (kind, title, numbers) beside one another, the experiments' names at the left."""
    if len(panels) < 2:
        return None
    with styled():
        figure = new_figure(8.4, _height(shown) + 0.2)
        drawn = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for panel, (kind, title, numbers) in zip(drawn, panels, strict=True):
            lines = [Line(row_name(row), one) for row, one in zip(shown, numbers, strict=True)]
            draw_lines(panel, lines, kind.partition(" ")[0])
            panel.set_xlabel(f"{title}\n({kind.replace(' ', ', ', 1)})")
            panel.locator_params(axis="x", nbins=3)
        figure.get_layout_engine().set(wspace=0.06)
        name, title, caption = about
        return saved(figure, name, title, f"{caption} Filled: measured; hollow: modelled or simulated.")


def draw_lines(panel: Any, lines: Sequence[Line], provenance: str) -> None:
    """Draw one energy a line, from the top; zero is always on the axis."""
    colour = _COLOUR_OF.get(provenance, COLOURS[7])
    for place, line in enumerate(lines):
        if line.energy is not None:
            _draw_line(panel, place, line.energy, colour, filled=provenance == "measured")
    panel.set_yticks(range(len(lines)), [shortened(line.name) for line in lines])
    panel.set_ylim(len(lines) - 0.5, -0.5)
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", length=0)
    panel.margins(x=0.08)
    panel.set_xlim(left=min(0.0, panel.get_xlim()[0]) if any(_is_negative(line) for line in lines) else 0.0)
    panel.locator_params(axis="x", nbins=6)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")


def _draw_line(panel: Any, place: int, energy: EnergyStatistic, colour: str, *, filled: bool) -> None:
    if energy.edges is None and energy.stated_low is not None and energy.stated_high is not None:
        panel.hlines(place, energy.stated_low, energy.stated_high, color=colour, alpha=0.25, linewidth=7)
    panel.errorbar(
        energy.mean,
        place,
        xerr=energy.half_width,
        fmt="o",
        color=colour,
        markerfacecolor=colour if filled else "none",
        capsize=3,
        markersize=6,
    )


def _parts(rows: Sequence[SummaryRow]) -> dict[str, Callable[[SummaryRow], EnergyStatistic | None]]:
    """`measured GPU` → its energy in a row: the row's own devices first, then those beside."""
    kinds = dict.fromkeys((row.provenance, row.scope) for row in rows)
    kinds |= dict.fromkeys((one.provenance, one.scope) for row in rows for one in row.beside)
    return {
        f"{provenance} {SCOPE_WORDS.get(str(scope), scope)}": _picker(provenance, scope)
        for provenance, scope in list(kinds)[:_PARTS_SHOWN]
    }


def _picker(provenance: object, scope: object) -> Callable[[SummaryRow], EnergyStatistic | None]:
    def pick(row: SummaryRow) -> EnergyStatistic | None:
        if (row.provenance, row.scope) == (provenance, scope):
            return row.energy_j
        found = (one.energy_j for one in row.beside if (one.provenance, one.scope) == (provenance, scope))
        return next(found, None)

    return pick


def _is_negative(line: Line) -> bool:
    """Whether a line needs room below zero; the interval of a difference does, that of a sum says nothing there."""
    if line.energy is None:
        return False
    below = line.energy.half_width if isinstance(line.energy, NetStatistic) else None
    return line.energy.mean - (below or 0.0) < 0


def _height(lines: Sequence[object]) -> float:
    return 0.85 + 0.27 * len(lines)


def _caption(shown: Sequence[Sequence[Line]], left_out: int) -> str:
    energies = [line.energy for lines in shown for line in lines if line.energy is not None]
    edges = any(one.edges is not None for one in energies)
    repeated = any(one.n > 1 for one in energies)
    what = " and ".join(word for word, told in (("repeats", repeated), ("edges of the windows", edges)) if told)
    parts = [f"Bars: 95 % interval of the mean ({what})." if what else "One cycle each: no interval."]
    if any(one.systematic is not None for one in energies):
        parts.append("The sensor's own accuracy, common to a card, is not in them.")
    if any(one.edges is None and one.stated_low is not None for one in energies):
        parts.append("Pale: the interval that the model states.")
    if left_out:
        parts.append(f"{left_out} more are in the table.")
    return " ".join(parts)
