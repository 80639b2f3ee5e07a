"""Tables of timings, baselines and operators: durations in the unit that suits them, intervals beside estimates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from joulegrid.jobs.report.columns import Cell, Column, ReportTable
from joulegrid.jobs.report.quantity import counted, number, plain

if TYPE_CHECKING:
    from joulegrid.cases.profiling import Profile
    from joulegrid.kernels.timing.result import BaselineTiming, Interval, MemberTiming, Timing

_OPERATORS_SHOWN = 12


def members_table(timing: Timing) -> ReportTable:
    """Return the members of a timing: time of a call, ratio to the candidate, first call, memory."""
    members = [one for one in timing.members if one.member != "same"]
    ratios = [timing.ratios.get(one.member) for one in members]
    numbers = [
        Column("call", [Cell(duration_words(one.call_s.estimate), _times(one.call_s)) for one in members]),
        Column(
            "against candidate", [Cell("–" if one is None else f"{one.estimate:.3f}×", _bounds(one)) for one in ratios]
        ),
        *_device_columns(members),
        Column("first call", [Cell(duration_words(max(one.first_call_s, default=0.0))) for one in members]),
        Column("peak memory, MiB", [Cell(_mebibytes(one.peak_memory_bytes)) for one in members]),
    ]
    names = Column("member", [Cell(_named(one.member, timing.strongest)) for one in members], is_number=False)
    return ReportTable([names], numbers)


def baselines_table(found: Sequence[BaselineTiming], strongest: str) -> ReportTable:
    """Return the ways to run the unmodified module that ran here, the strongest marked."""
    ran = [(one, one.timing) for one in found if one.timing is not None]
    numbers = [
        Column("call", [Cell(duration_words(timing.call_s.estimate), _times(timing.call_s)) for _, timing in ran]),
        Column("against eager", [Cell(_ratio(one.against_eager), _bounds(one.against_eager)) for one, _ in ran]),
        *_device_columns([timing for _, timing in ran]),
        Column("first call", [Cell(duration_words(max(timing.first_call_s, default=0.0))) for _, timing in ran]),
        Column("note", [Cell("pathological" if one.pathological else "") for one, _ in ran], is_number=False),
    ]
    shown = [column for column in numbers if any(cell.text for cell in column.cells)]
    return ReportTable(
        [Column("baseline", [Cell(_named(one.name, strongest)) for one, _ in ran], is_number=False)], shown
    )


def operators_table(found: Profile) -> ReportTable:
    """Return the operators that took the most time."""
    rows = found.operators[:_OPERATORS_SHOWN]
    numbers = [
        Column("calls", [Cell(str(row.calls)) for row in rows]),
        Column("CPU, µs", [Cell(number(row.cpu_us, 3)) for row in rows]),
        Column("share", [Cell(f"{row.share:.1%}") for row in rows]),
    ]
    if any(row.device_us for row in rows):
        numbers.insert(2, Column("GPU, µs", [Cell(number(row.device_us, 3)) for row in rows]))
    left = len(found.operators) - len(rows)
    notes = [f"… and {counted(left, 'more operator')} in operators.json."] if left > 0 else []
    return ReportTable([Column("operator", [Cell(plain(row.name)) for row in rows], is_number=False)], numbers, notes)


def duration_words(seconds: float) -> str:
    """Return a short time in the unit that suits it."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return f"{number(seconds * factor, 3)} {unit}"
    return f"{number(seconds * 1e9, 3)} ns"


def interval_words(found: Interval) -> str:
    """Return an interval of ratios."""
    return f"{found.low:.3f}–{found.high:.3f}"


def _device_columns(members: Sequence[MemberTiming]) -> list[Column]:
    """Device time beside a call's, where there is a device that has a clock."""
    if all(one.device_s is None for one in members):
        return []
    told = ["–" if one.device_s is None else duration_words(one.device_s) for one in members]
    return [Column("on the device", [Cell(words) for words in told])]


def _named(member: str, strongest: str | None) -> str:
    return f"{member} (strongest)" if member == strongest else member


def _bounds(found: Interval | None) -> str:
    return "" if found is None else f"[{interval_words(found)}]"


def _ratio(found: Interval | None) -> str:
    return "–" if found is None else f"{found.estimate:.3f}×"


def _times(found: Interval) -> str:
    return f"[{duration_words(found.low)} – {duration_words(found.high)}]"


def _mebibytes(found: int | None) -> str:
    return "–" if found is None else number(found / 2**20, 4)
