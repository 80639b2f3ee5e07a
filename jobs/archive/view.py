"""Archives for people: a list, one of them in full, the figures of many. Text and tables only; nothing is computed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from joulegrid.cases.judged import PASSED, JudgedPoint
from joulegrid.jobs.archive.record import Archived, judged_of, point_folder
from joulegrid.jobs.archive.shelf import Unreadable
from joulegrid.jobs.kernel_view import energy_lines
from joulegrid.jobs.report.columns import Cell, Column, ReportTable
from joulegrid.jobs.report.kernel_figures import figures_of
from joulegrid.jobs.report.kernel_table import figures_table
from joulegrid.jobs.report.quantity import counted, number, plain
from joulegrid.jobs.report.table import page_console, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from joulegrid.jobs.archive.replay import Replay
    from joulegrid.jobs.archive.shelf import Opened

_EVIDENCE_SHOWN = 5


def print_list(found: Sequence[Archived | Unreadable], console: Console | None = None) -> None:
    """Print one line for each archive, and below them those that cannot be read."""
    console = console or page_console()
    sound = [one for one in found if isinstance(one, Archived)]
    if sound:
        print_table(_list_table(sound), console)
    for one in found:
        if isinstance(one, Unreadable):
            console.print(Text(f"{one.name}: {plain(one.reason)}"), style="yellow")


def _list_table(found: Sequence[Archived]) -> ReportTable:
    numbers = [
        Column("archive", [Cell(one.name) for one in found], is_number=False),
        Column("case", [Cell(plain(one.case)) for one in found], is_number=False),
        Column("language", [Cell(one.language) for one in found], is_number=False),
        Column("verdict", [Cell(one.verdict) for one in found], is_number=False),
        Column("passed", [Cell(f"{_passed(one.points)} of {len(one.points)}") for one in found]),
        Column("speed-up", [Cell(times(one.speedup)) for one in found]),
    ]
    return ReportTable([Column("#", [Cell(str(place + 1)) for place in range(len(found))])], numbers)


def print_archive(opened: Opened, console: Console | None = None) -> None:
    """Print an archive in full: what it is, its points, evidence, baselines, compiled code, what is damaged."""
    console = console or page_console()
    for line in head_lines(opened.record):
        console.print(Text(plain(line)))
    print_table(points_table(opened.record.points), console)
    for point in opened.record.points:
        for line in point_lines(opened, point):
            console.print(Text(plain(f"{point.shape}, {point.dtype}: {line}")))
    for path in opened.damaged:
        console.print(Text(f"DAMAGED: {path} is missing or has other bytes than were archived"), style="red")
    console.print(Text(f"{counted(len(opened.record.files), 'file')} in {opened.store.url}"), style="dim")


def head_lines(record: Archived) -> Iterator[str]:
    """Yield what an archive is of, and when it was made."""
    yield record.name
    yield f"case {record.case} (fingerprint {record.fingerprint[:16]}), experiment {record.experiment}"
    yield f"candidate {record.candidate} ({record.language}, sha256 {record.candidate_sha256[:16]})"
    made = f" from {record.run}" if record.run else ""
    yield f"made {record.created_at}{made} by Joulegrid {record.joulegrid}"


def points_table(points: Sequence[JudgedPoint]) -> ReportTable:
    """Return shapes and dtypes with their verdicts and numbers."""
    energies = [point.energy for point in points]
    numbers = [
        Column("weight", [Cell(f"{point.weight:g}") for point in points]),
        Column("device", [Cell(point.device, _mode(point)) for point in points], is_number=False),
        Column("verdict", [Cell(point.verdict) for point in points], is_number=False),
        Column("draws", [Cell(str(point.draws)) for point in points]),
        Column("call, µs", [Cell(number(point.latency_us)) for point in points]),
        Column("speed-up", [Cell(times(point.speedup), _middle(point)) for point in points]),
        Column("against", [Cell(point.baseline or "–") for point in points], is_number=False),
        Column("roof score", [Cell(number(point.roof_score, 2)) for point in points]),
        Column("J/call", [Cell(number(one.energy_j), one.provenance or "") if one else Cell("–") for one in energies]),
    ]
    names = Column("shape, dtype", [Cell(f"{point.shape}, {point.dtype}") for point in points], is_number=False)
    notes = ["Speed-up: the lower bound of the strongest baseline's time over the candidate's; below it the middle."]
    shown = [column for column in numbers if any(cell.text != "–" for cell in column.cells)]
    return ReportTable([names], shown, notes if any(point.speedup for point in points) else [])


def point_lines(opened: Opened, point: JudgedPoint) -> Iterator[str]:
    """Yield evidence, baselines and what the compiler made, as far as they are archived."""
    for one in _json(opened, f"{point_folder(point)}/verification.json").get("evidence", [])[:_EVIDENCE_SHOWN]:
        yield evidence_line(one)
    if point.energy is not None:
        yield from energy_lines(point.energy)
    timing = _json(opened, f"{point_folder(point)}/timing.json")
    for one in timing.get("baselines", []):
        if not one.get("available"):
            yield f"baseline {one.get('name')} did not run: {(one.get('reason') or '').partition(chr(10))[0]}"
    for one in timing.get("members", []):
        if one.get("device_s") is not None and one.get("member") != "same":
            call_us, device_us = one["call_s"]["estimate"] * 1e6, one["device_s"] * 1e6
            yield f"{one['member']}: {call_us:.3g} µs a call, {device_us:.3g} µs on the device by its own events"
    same = timing.get("same")
    if same:
        yield f"the baseline against itself measured {same['low']:.3f} to {same['high']:.3f}; {timing.get('change')}"
    for call in _json(opened, f"{point_folder(point)}/aot.json").get("calls", []):
        for kernel in call.get("kernels", []):
            yield (
                f"compiled {kernel.get('kernel')}: {kernel.get('registers')} registers,"
                f" {kernel.get('spill_bytes')} bytes spilled, {kernel.get('shared_bytes')} bytes shared,"
                f" tensor cores {kernel.get('tensor_cores')}"
            )


def evidence_line(one: Mapping[str, Any]) -> str:
    """Return one piece of evidence in a line: which check, where, what was expected and found, what to do."""
    said = f"{one.get('check')} at {one.get('where')}: expected {one.get('expected')}, found {one.get('found')}"
    return f"{said}; {one['advice']}" if one.get("advice") else said


def print_report(found: Sequence[Archived], console: Console | None = None) -> None:
    """Print the figures of many archives; of one candidate and case archived several times the newest counts."""
    console = console or page_console()
    print_table(figures_table(figures_of(judged_of(found))), console)
    console.print(Text("Of equal candidates for an equal case the newest archive counts."), style="dim")
    devices = sorted({point.device for one in found for point in one.points})
    if len(devices) > 1:
        console.print(Text(f"Measured on different devices: {', '.join(devices)}; see them apart."), style="yellow")


def print_replay(found: Replay, console: Console | None = None) -> None:
    """Print whether an archive still holds, and every verification that says so."""
    console = console or page_console()
    console.print(Text(found.name))
    for path in found.damaged:
        console.print(Text(f"DAMAGED: {path} is missing or has other bytes than were archived"), style="red")
    for one in found.judged:
        seeds = "fresh seeds" if one.fresh else "archived seeds"
        words = f"{one.dtype}, {seeds}: {one.found}" + ("" if one.holds else f", archived is {one.archived}")
        console.print(Text(plain(f"{words}{f' ({one.why})' if one.why else ''}")))
    if found.case_now != "same":
        console.print(Text(f"The case that is installed here is {found.case_now}; the archived one was used."))
    told = Text("holds", style="bold green") if found.holds else Text("DOES NOT HOLD", style="bold red")
    console.print(told)


def times(speedup: float | None) -> str:
    """Return a ratio as people write it."""
    return "–" if speedup is None else f"{speedup:.2f}×"


def _mode(point: JudgedPoint) -> str:
    return "" if point.mode in (None, point.device) else str(point.mode)


def _middle(point: JudgedPoint) -> str:
    return "" if point.speedup_estimate is None else f"({point.speedup_estimate:.2f})"


def _passed(points: Sequence[JudgedPoint]) -> int:
    return sum(point.verdict == PASSED for point in points)


def _json(opened: Opened, path: str) -> dict[str, Any]:
    """A file's object; empty where it was not archived or is damaged, which is told apart."""
    if path not in opened.record.files or path in opened.damaged:
        return {}
    value = json.loads(opened.read(path))
    return value if isinstance(value, dict) else {}
