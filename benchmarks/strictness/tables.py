"""The facts of the judge's strictness as lines for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.strictness.ablation import EVERY
from tests.attacks.catalog import FAMILIES

PARTS = {
    "all": "attacks refused for the right reason",
    "open": "  the same without the static gate",
    "honest": "honest candidates accepted",
}


def lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield all that is worth printing."""
    yield from _rates(facts["rates"])
    yield from _listed("judged otherwise than the header says", facts["wrong"])
    rewritten = facts["rewritten"]
    yield f"\nrewritten attacks: {rewritten['tried']} tried, {rewritten['refused_by_the_gate']} refused by the gate"
    yield from _listed("  passed in the end", rewritten["passed"])
    if any(facts["ablation"]["finds"].values()):
        yield from _matrix(facts["ablation"])
        yield from _points(facts["ablation"])
        yield from _agreement(facts["ablation"]["agreement"])
        controls = facts["controls"]
        yield f"\nhonest candidates under surveys and single checks: {controls['tried']} verifications"
        yield from _listed("  refused", [f"{line} ({times}×)" for line, times in controls["refused"].items()])
    yield from _listed("\nrounds disagree", facts["unsteady"])
    missing = [f"{what}: {count}" for what, count in facts["missing"].items()]
    yield from _listed("\nMISSING, there was no time for it", missing)


def _rates(rates: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield f"{'':40} {'verifications':>16} {'95 %':>18} {'candidates, always':>20} {'95 %':>18}"
    for part, rate in rates.items():
        always = f"{rate['right_in_every_round']} of {rate['candidates']}"
        yield (
            f"{PARTS[part]:40} {rate['right']:>7} of {rate['n']:5} {_interval(rate['interval_95'])}"
            f" {always:>20} {_interval(rate['candidates_interval_95'])}"
        )


def _interval(ends: Sequence[float]) -> str:
    return f"{f'{ends[0]:.2%} … {ends[1]:.2%}':>18}"


def _matrix(ablation: Mapping[str, Any]) -> Iterator[str]:
    """One line a check: by family how many it catches alone, and in how many it finds anything."""
    yield "\ncaught with this check alone / where it finds anything, by family; lost without it (and the gate)"
    yield f"{'':14}" + "".join(f"{family:>12}" for family in FAMILIES) + f"{'all':>12}{'lost':>7}"
    for check in EVERY:
        alone, finds = (Counter(map(_family, ablation[what][check])) for what in ("alone", "finds"))
        cells = [f"{alone[family]} / {finds[family]}" for family in FAMILIES]
        lost = str(len(ablation["lost"][check])) if check in ablation["lost"] else ""
        total = f"{alone.total()} / {finds.total()}"
        yield f"{check:14}" + "".join(f"{cell:>12}" for cell in [*cells, total]) + f"{lost:>7}"
    yield "values, sandbox, protocol and limits are always on: their first number is of no check at all"


def _points(ablation: Mapping[str, Any]) -> Iterator[str]:
    lost, tried = ablation["lost"], ablation["tried"]
    yield f"\nsurveyed {tried['survey']} attacks, without any check {tried['none']}"
    yield from _idle("alone", "catch nothing alone", ablation["alone"], tried["on"])
    yield from _idle("off", "lose nothing when off", lost, tried["off"])
    yield from _listed("caught by no check alone, but together", ablation["only_together"])
    yield "pass the whole judge less one check:"
    for check, names in ablation["lost_by_the_judge"].items():
        yield f"  {check}: {', '.join(names)}"
    yield "only one check finds anything:"
    for check, names in ablation["only_finder"].items():
        yield f"  {check} ({len(names)}): {', '.join(names)}"


def _idle(what: str, title: str, names: Mapping[str, Sequence[str]], tried: Mapping[str, int]) -> Iterator[str]:
    idle = [f"{check} (of {count})" for check, count in tried.items() if count and not names[check]]
    yield f"{title}: {', '.join(idle) or 'none of those that were tried'}"
    untried = [check for check, count in tried.items() if not count]
    if untried:
        yield f"  {what}, not tried on anything: {', '.join(untried)}"


def _agreement(agreement: Mapping[str, Any]) -> Iterator[str]:
    first, lost = agreement["first_finding"], agreement["not_lost"]
    yield f"\na survey's first finding is the judge's in {first['same']} of {first['compared']} that were repeated"
    yield from _listed("  but", first["other"])
    yield f"foretold by a survey not to be lost, and not lost: {lost['same']} of {lost['compared']}"
    yield from _listed("  but", lost["other"])


def _listed(title: str, found: Sequence[str]) -> Iterator[str]:
    if found:
        yield f"{title}:"
        yield from (f"  {one}" for one in found)


def _family(name: str) -> str:
    return name.partition("/")[0]
