"""What a judge, its clock and a profiler found, for people: verdict first, then why, then where the files lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from joulegrid.jobs.kernel_tables import baselines_table, duration_words, interval_words, members_table, operators_table
from joulegrid.jobs.report.quantity import counted, number, plain
from joulegrid.jobs.report.table import page_console, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from joulegrid.cases.judged import CallEnergy
    from joulegrid.cases.judging import Judgement, Subject
    from joulegrid.cases.profiling import Profile, RoofShare
    from joulegrid.kernels.judge.verdict import Evidence, Verification
    from joulegrid.kernels.timing.floor import Floor
    from joulegrid.kernels.timing.result import Baselines, BaselineTiming, Timing

_REFUSALS_SHOWN = 10
_UNIT = "Errors are told in units of what other sound evaluations of the module err there: docs/kernel-numerics.md."
_CONFINED = {
    "pid_namespace": "no sight of other processes",
    "network_namespace": "no network",
    "secrets_hidden": "cases hidden",
    "scratch_limited": "a small scratch folder",
    "first_to_go": "first to end when memory runs out",
    "limits": "limits of memory, files and time",
    "dies_with_zygote": "no life after the judge",
    "landlock_abi": "Landlock",
}
"""How `Verification.isolation` reads for people; other names are told as they are."""


def print_verifications(judgements: Sequence[Judgement], written: Path) -> None:
    """Print the verdict of each dtype with its evidence; then what confined the candidate, and what it used."""
    console, last = page_console(), judgements[-1].verification
    console.print(Text(_title(judgements[0].subject, [one.subject.dtype for one in judgements])))
    told: Sequence[Evidence] = ()
    for one in judgements:
        found = one.verification
        words = f"{one.subject.dtype}: {_draws(found)}, {found.seconds:.1f} s, {found.trust}, {found.mode}"
        _print_verdict(console, str(found.verdict), words)
        _print_evidence(console, () if found.evidence == told else found.evidence)
        told = found.evidence
    for refusal in last.gate[1:_REFUSALS_SHOWN]:  # the first is the evidence
        console.print(Text(plain(f"  line {refusal.line}: {refusal.code.strip()}")))
        console.print(Text(plain(f"    {refusal.reason}")), style="dim")
    for line in _facts(last):
        console.print(Text(plain(line)), style="dim")
    console.print(Text(str(written)), style="dim")


def print_timing(judgement: Judgement, spent: CallEnergy | None, written: Path) -> None:
    """Print the claim, the times of all members, and what the claim rests on."""
    console, timing, subject = page_console(), judgement.timing, judgement.subject
    verification = judgement.verification
    console.print(Text(_title(subject, [subject.dtype])))
    words = f"verified on {_draws(verification)} in {verification.seconds:.1f} s"
    if timing is None:
        _print_verdict(console, judgement.verdict, f"{words}; nothing was timed")
        _print_evidence(console, verification.evidence)
        for line in energy_lines(spent):
            console.print(Text(plain(line)), style="dim")
    elif not judgement.passed:
        _print_verdict(console, judgement.verdict, f"{words}; timed for {timing.seconds:.0f} s")
        _print_evidence(console, timing.evidence)
    else:
        _print_verdict(console, judgement.verdict, f"{words}; timed for {timing.seconds:.0f} s")
        console.print(Text(claim_words(timing), style="bold"))
        print_table(members_table(timing), console)
        for line in (*energy_lines(spent), *_timing_notes(timing)):
            console.print(Text(plain(line)), style="dim")
    console.print(Text(str(written)), style="dim")


def print_baselines(found: Baselines, shape: str) -> None:
    """Print how fast the unmodified module is in every way that this machine can run it, and the floor below all."""
    console = page_console()
    console.print(Text(f"{found.problem}, {shape} ({_dims(found.dims)}), {found.dtype} on {found.mode}"))
    print_table(baselines_table(found.baselines, found.strongest), console)
    for line in (*floor_lines(found.floor), *_missing(found.baselines)):
        console.print(Text(plain(line)), style="dim")


def print_profile(found: Profile) -> None:
    """Print the operators by their share, and how near the whole is to the roof."""
    console = page_console()
    console.print(
        Text(f"{found.case}: {plain(found.source)}, {found.shape}, {found.dtype} on {found.device}, in this process")
    )
    print_table(operators_table(found), console)
    for line in roof_lines(found.roof):
        console.print(Text(line))
    console.print(Text(f"{found.trace} (open it in ui.perfetto.dev)"), style="dim")


def claim_words(timing: Timing) -> str:
    """Return the headline: the speed-up that may be said, against what, and how sure it is."""
    if timing.claim is None or timing.strongest is None:
        return "nothing was timed"
    ratio = timing.ratios[timing.strongest]
    same = "" if timing.same is None else f"; {timing.strongest} against itself {interval_words(timing.same)}"
    if timing.change == "no change":
        return f"no change against {timing.strongest}: {interval_words(ratio)}×{same}"
    return f"{timing.claim:.2f}× against {timing.strongest} (lower bound of {interval_words(ratio)}){same}"


def floor_lines(floor: Floor) -> Iterator[str]:
    """Yield the least time of a call and what it is made of."""
    yield (
        f"Floor: {duration_words(floor.seconds)}, by {floor.bound}: {floor.bytes_moved:,} bytes"
        f" ({floor.credited_bytes:,} may stay in the cache), {floor.flops:,} operations;"
        f" {number(floor.roofs.bytes_per_s / 1e9, 3)} GB/s, {floor.roofs.provenance}."
    )


def roof_lines(roof: RoofShare) -> Iterator[str]:
    """Yield bytes and operations of a call against the device's roof."""
    yield (
        f"One call: {duration_words(roof.seconds)}; {roof.bytes:,} bytes, {roof.flops:,} operations,"
        f" {number(roof.intensity, 3)} FLOP/byte: bound by {roof.bound}."
    )
    yield (
        f"Roof: {duration_words(roof.roof_seconds)} at {number(roof.bytes_per_s / 1e9, 3)} GB/s and"
        f" {number(roof.flops_per_s / 1e9, 3)} GFLOP/s ({roof.how}): {roof.share:.0%} of it."
    )


def energy_lines(spent: CallEnergy | None) -> Iterator[str]:
    """Yield the joules of a call with how they were obtained; nothing where none were asked for."""
    if spent is None:
        return
    kind = f"{spent.provenance}, {spent.source}, {spent.scope}, {spent.calls:,} calls"
    if spent.energy_j is None:
        yield f"Energy of a call: unknown: {spent.reason}."
        return
    ends = (
        "" if spent.low_j is None or spent.high_j is None else f" [{number(spent.low_j, 3)}–{number(spent.high_j, 3)}]"
    )
    yield f"Energy of a call: {number(spent.energy_j, 3)} J{ends} ({kind})."


def _title(subject: Subject, dtypes: Sequence[str]) -> str:
    candidate = subject.candidate
    return plain(
        f"{subject.problem.name}: {candidate.path.name} ({candidate.language}, sha256 {candidate.sha256[:12]}),"
        f" {', '.join(dtypes)} on {subject.device}"
    )


def _print_verdict(console: Console, verdict: str, words: str) -> None:
    passed = verdict == "passed"
    told = Text("✓ passed" if passed else f"✗ {verdict}", style="bold green" if passed else "bold red")
    console.print(told.append(f"  {plain(words)}", style="not bold default"))


def _print_evidence(console: Console, evidence: Sequence[Evidence]) -> None:
    for one in evidence:
        for name in ("check", "where", "expected", "found", "advice"):
            said = plain(getattr(one, name))
            if said:
                console.print(Text(f"  {name:<9} ", style="dim").append(said, style="not dim"))


def _draws(found: Verification) -> str:
    if not found.draws:
        return "before the first draw"
    shapes = len({(draw.shape, tuple(draw.dims.items())) for draw in found.draws})
    return f"{counted(len(found.draws), 'draw')} on {counted(shapes, 'shape')}"


def _facts(found: Verification) -> Iterator[str]:
    if any(one.check == "values" for one in found.evidence):
        yield _UNIT
    had = [
        _CONFINED.get(name, name.replace("_", " "))
        for name, value in found.isolation.items()
        if value and not name.endswith("_reason")
    ]
    if had:
        yield f"Confined by: {', '.join(had)}."
    for name, value in found.isolation.items():
        reason = found.isolation.get(f"{name}_reason")
        if value is False and reason:
            yield f"Not had on this machine: {name.replace('_', ' ')}: {reason}."
    if found.launches:
        yield f"Kernels launched: {_counts(found.launches)}."
    if found.operators:
        yield f"Operators of torch: {_counts(found.operators)}."
    for dtype, proxy in found.proxy_dtype.items():
        yield f"{dtype} was judged in {proxy}, because the interpreter computes it wrongly."
    if found.checks_off:
        yield f"Checks that were OFF: {', '.join(found.checks_off)}: no verification for the record."


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ×{count}" if count > 1 else name for name, count in found.items())


def _timing_notes(timing: Timing) -> Iterator[str]:
    if timing.floor is not None:
        yield from floor_lines(timing.floor)
    yield from _missing(timing.baselines)
    for one in timing.baselines:
        if one.pathological:
            yield f"{one.name} is pathological here: a ratio to it says little of the candidate."
    if timing.launch_bound:
        yield "A call is shorter than 20 µs: its time is mostly that of launching it."
    if any(one.device_s is not None for one in timing.members):
        yield "On the device: by its own events, as the process says, the cache flushed before each call; no claim."
    gpu = None if timing.conditions is None else timing.conditions.gpu
    if gpu is not None and (gpu.held_back_after or gpu.power_held_s or gpu.heat_held_s):
        yield f"The GPU's clocks were held back: {', '.join(gpu.held_back_after or ()) or 'for a while'}."
    yield f"{timing.verified_calls:,} timed calls were verified afterwards; {timing.processes} sets of fresh processes."


def _missing(found: Sequence[BaselineTiming]) -> Iterator[str]:
    for one in found:
        if not one.available:
            yield f"{one.name} did not run here: {(one.reason or 'no reason was given').splitlines()[0]}"


def _dims(dims: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size}" for name, size in dims.items())
