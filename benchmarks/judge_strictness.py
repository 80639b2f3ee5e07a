"""How strict and how fair the judge is: attacks refused, honest candidates accepted, what each check has to do with it.

* refused for the right reason: verdicts that the attack's header names, with the static gate and without it;
* accepted: honest candidates that pass every check;
* rewritten: attacks after `tests/attacks/obfuscation.py`, and how many of those got past the static gate;
* alone on: attacks that fail when only this check is on, less those that fail with none of them (shape, dtype and
  values on the tiny shape remain);
* alone off: attacks that pass only because this check is off, all others but the static gate being on.

Draws come from the system's entropy, anew in each round. Without a GPU; attacks that only a GPU can run, or that only a
timing can see, are counted apart.

Run: `python -m benchmarks.judge_strictness [--rounds 3] [--rewritten 4] [--no-ablation]`
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measurement import Series, print_table, write
from joulegrid.kernels.judge.candidate import read_candidate
from joulegrid.kernels.judge.limits import Checks
from joulegrid.kernels.judge.static_gate import refusals
from joulegrid.kernels.judge.verdict import Evidence, Verdict
from joulegrid.kernels.judge.zygote import Zygote
from tests.attacks import catalog
from tests.attacks.catalog import Entry
from tests.attacks.judging import judged
from tests.attacks.obfuscation import obfuscated

OPEN = Checks().without("static_gate")
VERIFIED = [attack for attack in catalog.attacks() if attack.refused or attack.via == "verify"]
TESTED_OPEN = [attack for attack in catalog.attacks() if attack.via == "verify"]
DECIDING = ("hidden_shapes", "distributions", "layouts", "fresh_weights", "poison", "freeze")
"""Checks that decide what a candidate is tried on; the others only look at what it did."""
Rows = list[dict[str, Any]]


def main() -> int:
    options = _options()
    began_s = time.monotonic()
    with Zygote("cpu") as zygote:
        rates, rows = _rounds(zygote, options.rounds)
        facts: dict[str, Any] = {"counts": _counts(), "attacks": rows}
        facts["rewritten"] = _rewritten(zygote, options.rewritten)
        if options.ablation:
            facts["ablation"] = _ablation(zygote)
    print_table("Share of candidates judged rightly", rates)
    _print_families(rows)
    _print_more(facts)
    facts["seconds"] = round(time.monotonic() - began_s, 1)
    print(f"\nwritten to {write('judge_strictness', rates, facts)}")
    return 0


def _rounds(zygote: Zygote, rounds: int) -> tuple[list[Series], Rows]:
    """Judge everything, each round on fresh draws."""
    shares = {name: Series(name, "of 1") for name in ("attacks, all checks", "attacks, no static gate", "honest")}
    rows: Rows = []
    for number in range(rounds):
        found = [_judged(attack, zygote, "all", Checks()) for attack in VERIFIED]
        found += [_judged(attack, zygote, "no static gate", OPEN) for attack in TESTED_OPEN]
        found += [_judged(one, zygote, "honest", Checks()) for one in catalog.benign()]
        for series, part in zip(shares.values(), ("all", "no static gate", "honest"), strict=True):
            right = [row["right"] for row in found if row["with"] == part]
            series.values.append(sum(right) / len(right))
        rows += [{"round": number, **row} for row in found]
        _progress(f"round {number + 1} of {rounds}")
    return list(shares.values()), rows


def _judged(entry: Entry, zygote: Zygote, part: str, checks: Checks) -> dict[str, Any]:
    found = judged(entry, zygote, checks, seed=None)
    by = found.evidence[0].check if found.evidence else None
    right = found.verdict in entry.right(gate=checks.static_gate)
    return {
        "name": entry.name, "with": part, "verdict": str(found.verdict), "by": by, "right": right,
        "seconds": round(found.seconds, 3),
    }  # fmt: skip


def _rewritten(zygote: Zygote, seeds: int) -> dict[str, Any]:
    """Judge each attack after as many random rewritings; those that the gate refuses need no child."""
    tried, refused, passed = 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "candidate.py"
        for attack in VERIFIED:
            for seed in range(seeds):
                path.write_text(obfuscated(attack.path.read_text(), seed))
                tried += 1
                if refusals(read_candidate(path)):
                    refused += 1
                elif judged(attack, zygote, seed=None, path=path).passed:
                    passed.append(f"{attack.name}, seed {seed}")
    _progress("rewritten")
    return {"tried": tried, "refused_by_the_gate": refused, "passed": passed}


def _ablation(zygote: Zygote) -> dict[str, Any]:
    """What each check catches alone, and what is lost without it; all on the same draws."""
    none = Checks.none()
    undecided = [attack for attack in VERIFIED if not _fails(attack, zygote, none)]
    _progress(f"ablation: {len(undecided)} attacks pass where no check is on")
    caught_by = {attack.name: judged(attack, zygote, OPEN).evidence for attack in TESTED_OPEN}
    rows = {}
    for name in Checks.names():
        caught = [attack.name for attack in undecided if _fails(attack, zygote, _only(name))]
        tried = [attack for attack in TESTED_OPEN if _may_change(name, caught_by[attack.name])]
        lost = [attack.name for attack in tried if not _fails(attack, zygote, OPEN.without(name))]
        rows[name] = {"alone_on": caught, "alone_off": lost}
        _progress(f"ablation: {name} alone catches {len(caught)}, without it {len(lost)} more pass")
    passing = [name for name, evidence in caught_by.items() if not evidence]
    return {"attacks": len(VERIFIED), "values_alone": len(VERIFIED) - len(undecided), "pass": passing, "checks": rows}


def _may_change(check: str, evidence: Sequence[Evidence]) -> bool:
    """Whether an attack that was refused can pass without this check: it refused it, or decides what is tried."""
    return bool(evidence) and (check in DECIDING or evidence[0].check == check)


def _only(name: str) -> Checks:
    return Checks().without(*(other for other in Checks.names() if other != name))


def _fails(attack: Entry, zygote: Zygote, checks: Checks) -> bool:
    return judged(attack, zygote, checks).verdict is not Verdict.PASSED


def _counts() -> dict[str, Any]:
    families = Counter(attack.family for attack in catalog.attacks())
    return {
        "attacks": families.total(),
        "families": dict(families),
        "judged_by_verify": len(VERIFIED),
        "only_seen_by_timing": [attack.name for attack in catalog.attacks() if attack.via == "timing"],
        "only_the_gate_can_tell": [attack.name for attack in catalog.attacks() if not attack.open],
        "need_a_gpu": [attack.name for attack in catalog.gpu_attacks()],
        "honest": len(catalog.benign()),
    }


def _print_families(rows: Rows) -> None:
    for part in ("all", "no static gate", "honest"):
        families = dict.fromkeys(row["name"].partition("/")[0] for row in rows if row["with"] == part)
        print(f"\n{part}: rightly judged / judged, over all rounds")
        for family in families:
            right = [row["right"] for row in rows if row["with"] == part and row["name"].startswith(f"{family}/")]
            print(f"  {family:10} {sum(right):5} / {len(right)}")
    wrong = Counter((row["with"], row["name"], row["verdict"]) for row in rows if not row["right"])
    for (part, name, verdict), times in sorted(wrong.items()):
        print(f"  {part}: {name} was {verdict} {times}×")


def _print_more(facts: dict[str, Any]) -> None:
    rewritten = facts["rewritten"]
    print(f"\nrewritten attacks: {rewritten['tried']} tried, {rewritten['refused_by_the_gate']} refused by the gate,")
    print(f"  passed in the end: {', '.join(rewritten['passed']) or 'none'}")
    if "ablation" not in facts:
        return
    print(f"\nof {facts['ablation']['attacks']} attacks {facts['ablation']['values_alone']} fail with no check at all")
    print(f"{'':14} alone on catches   alone off (and the gate) lets pass")
    for name, row in facts["ablation"]["checks"].items():
        print(f"{name:14} {len(row['alone_on']):16}   {len(row['alone_off']):3} {', '.join(row['alone_off'][:4])}")


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="everything on fresh draws so many times")
    parser.add_argument("--rewritten", type=int, default=4, help="rewritings of each attack")
    parser.add_argument("--no-ablation", dest="ablation", action="store_false", help="leave out check by check")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
