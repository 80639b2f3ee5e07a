"""The marks of energies in words: what a reader must know before comparing one figure with another, and how often."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, get_args

from joulegrid.cluster.power.energy import Flag
from joulegrid.jobs.report.quantity import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from joulegrid.jobs.report.summary_row import SummaryRow
    from joulegrid.jobs.study_result import StudyResult

FLAG_WORDS: dict[str, tuple[str, str]] = {
    "short": ("short", "a window under 10 s"),
    "counter_distrusted": ("counter distrusted", "the energy counter contradicts the power readings"),
    "counter_stalled": ("counter stalled", "the energy counter stood still"),
    "counter_reset": ("counter reset", "the energy counter fell back"),
    "power_stalled": ("power stalled", "instant power did not change, and no counter says that nothing happened"),
    "period_drifted": ("period drifted", "the energy counter does not tick as calibrated"),
    "tail_undecided": ("tail undecided", "power after the window may be decay or the sensor's lag"),
    "aliasing": ("aliasing", "the load may beat with the sensor's updates"),
    "slow_updates": ("slow updates", "500 ms and more between two values of the sensor"),
    "gap": ("gap", "readings are missing inside the window"),
    "throttled": ("throttled", "the device lowered its clocks"),
    "unsynced": ("unsynced", "an edge did not wait for the device"),
    "shared": ("shared", "others computed on the device"),
    "parent_gpu": ("whole GPU", "the joules are of the whole GPU of a MIG instance"),
}
_KINDS = {
    "modelled": "calculated from how busy the device was; no sensor was read",
    "simulated": "from a simulated device; no hardware was measured",
}


def flag_words(flag: str) -> str:
    """Return a mark in a word or two; one of a later version as it is."""
    return FLAG_WORDS.get(flag, (flag.replace("_", " "), ""))[0]


def shared_flags(rows: Sequence[SummaryRow]) -> list[str]:
    """Return the marks that every done task of every row has."""
    done = [row for row in rows if row.n_done]
    first = done[0].flags if done else {}
    return [flag for flag in first if all(row.flags.get(flag) == row.n_done for row in done)]


def marks_of(row: SummaryRow, without: Iterable[str] = ()) -> str:
    """Return a row's marks, each with its tasks where not all have it: `short, throttled 1/3`; empty for none."""
    left_out = set(without)
    return ", ".join(
        flag_words(flag) + (f" {count}/{row.n_done}" if count != row.n_done else "")
        for flag, count in row.flags.items()
        if flag not in left_out
    )


def mark_lines(study: StudyResult) -> list[str]:
    """Count over a run what its energies are marked with, a line each; nothing for a run without any mark."""
    rows = [row for row in study.summary if row.n_done]
    n_done = sum(row.n_done for row in rows)
    flags, kinds = Counter[str](), Counter[str]()
    for row in rows:
        flags.update(row.flags)
        kinds[str(row.provenance)] += row.n_done
    of = f" of {counted(n_done, 'done task')}"
    lines = [f"{kinds[kind]:,}{of} {kind}: {words}." for kind, words in _KINDS.items() if kinds[kind]]
    known = [flag for flag in get_args(Flag) if flags[flag]]
    for flag in [*known, *(flag for flag in flags if flag not in known)]:
        word, meaning = FLAG_WORDS.get(flag, (flag, ""))
        lines.append(f"{flags[flag]:,}{of} {word}{f': {meaning}' if meaning else ''}.")
    return [*lines, *_disagreements(rows), *_foreign(study)]


def _disagreements(rows: Sequence[SummaryRow]) -> list[str]:
    checked, differing = sum(row.n_cross_checked for row in rows), sum(row.n_disagreeing for row in rows)
    if not checked:
        return []
    told = f"a second source disagrees in {differing:,}" if differing else "a second source agrees in all"
    return [f"{counted(checked, 'done task')} cross-checked: {told}."]


def _foreign(study: StudyResult) -> list[str]:
    count = study.failures_by_class.get("contaminated", 0)
    return [f"{counted(count, 'task')} contaminated by foreign work on the GPU, in no number."] if count else []
