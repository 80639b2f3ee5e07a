"""The words around a table: what is alike in all its rows, told once above, and what its signs mean, told below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from joulegrid.jobs.report.marks import flag_words, shared_flags
from joulegrid.jobs.report.quantity import number, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joulegrid.jobs.report.columns import Column
    from joulegrid.jobs.report.energy_statistic import EnergyStatistic
    from joulegrid.jobs.report.summary_row import SummaryRow

SOURCE_WORDS: dict[str, str] = {
    "counter": "from the device's energy counter",
    "instant_integral": "integral of instantaneous power readings",
    "average_deconvolved": "averaged power readings with the averaging undone",
    "rapl": "from the processor's RAPL counters",
    "model": "calculated from how busy the device was; no sensor was read",
}


def table_notes(rows: Sequence[SummaryRow]) -> list[str]:
    """Return what the signs in a table of these rows mean, as far as they occur."""
    done = [row for row in rows if row.n_done]
    notes = interval_notes(rows)
    if not stated_factor(rows):
        stated = dict.fromkeys(row.interval for row in done if is_bracketed(row.energy_j))
        notes += [f"[a–b]: what the source states for each value: {plain(words or 'not said')}." for words in stated]
    unknown = dict.fromkeys(row.unknown for row in done if row.unknown)
    notes += [f"Energy unknown: {plain(reason)}." for reason in unknown]
    if any(row.stratum for row in done):
        notes.append("(A), (B), …: strata, environments whose numbers are not comparable and never averaged.")
    return notes


def interval_notes(rows: Sequence[SummaryRow]) -> list[str]:
    """Say what ± holds in a table of these rows, and what comes on top."""
    done = [row for row in rows if row.n_done]
    energies = [row.energy_j for row in done if row.energy_j is not None]
    notes = []
    if any(row.n_done > 1 for row in done):
        edges = any(energy.edges is not None for energy in energies)
        more = "; of energies with the windows' edges" if edges else ""
        notes.append(f"±: 95 % Student t interval of the mean over n cycles{more}.")
    if any(row.n_done == 1 for row in done):
        alone = all(energy.edges is None for energy in energies)
        notes.append(f"n = 1: one cycle, {'no interval' if alone else 'no spread; ± is of the windows’ edges alone'}.")
    accuracies = sorted({energy.systematic for energy in energies if energy.systematic is not None})
    if accuracies:
        sensor = " or ".join(f"±{number(100 * accuracy, 2)} %" for accuracy in accuracies)
        notes.append(f"The sensor's own {sensor} comes on top; it is common to all windows of one card.")
    return notes


def is_constant(column: Column) -> bool:
    """Whether a column says the same in each of several rows, and no row has a spread of its own."""
    cells = set(column.cells)
    return len(column.cells) > 1 and len(cells) == 1 and not {"±", "unknown"} & set(column.cells[0].text.split())


def constant_lines(constant: Sequence[Column], rows: Sequence[SummaryRow]) -> list[str]:
    """Return what stands once above a table: columns of one value, marks of every task, how the energy was obtained."""
    parts = [f"{column.title} = {column.cells[0].text}" for column in constant]
    windows = {row.headline for row in rows if row.n_done and row.headline}
    if len(windows) == 1:
        parts.append(f"window {plain(windows.pop())}")
    marks = shared_flags(rows) if len(rows) > 1 else []
    parts += [f"every window {flag_words(flag)}" for flag in marks]
    lines = [f"In every row: {' · '.join(parts)}"] if parts else []
    kinds = dict.fromkeys((row.energy_words, row.source, row.provenance) for row in rows if row.n_done)
    return lines + [
        f"Energy {kind}: {SOURCE_WORDS.get(source, source)}{_stated(rows, provenance)}."
        for kind, source, provenance in kinds
        if source
    ]


def _stated(rows: Sequence[SummaryRow], provenance: str | None) -> str:
    """What a sensor counts; a model's interval where it is in one proportion to every value and no cell repeats it."""
    factor = stated_factor(rows)
    if factor is None:
        return "" if provenance == "modelled" else ", idle power included"
    words = next((row.interval for row in rows if row.interval), None)
    return f". Its interval is {factor[0]} to {factor[1]} times each value{f': {plain(words)}' if words else ''}"


def stated_factor(rows: Sequence[SummaryRow]) -> tuple[str, str] | None:
    """Return the ends that a model states as parts of each value, where every row has the same two; else `None`."""
    ends = {
        (number(round(energy.stated_low / energy.mean, 3), 3), number(round(energy.stated_high / energy.mean, 3), 3))
        for row in rows
        if (energy := row.energy_j) is not None and energy.mean > 0 and is_bracketed(energy)
        if energy.stated_low is not None and energy.stated_high is not None
    }
    kinds = {row.energy_words for row in rows if row.energy_j is not None}
    return ends.pop() if len(ends) == 1 and len(kinds) == 1 else None


def is_bracketed(energy: EnergyStatistic | None) -> bool:
    """Whether the ends that the source states are shown as such: edges of windows are part of ±."""
    return energy is not None and energy.stated_low is not None and energy.edges is None
