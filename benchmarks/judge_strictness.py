"""How strict and how fair the judge is: attacks refused, honest candidates accepted, what each check has to do with it.

* rates: verdicts that the attack's header names, with the static gate and without it; honest candidates that pass.
  Draws come from the system's entropy. Intervals are Clopper's and Pearson's, at 95 %: over verifications, and over
  candidates that were judged rightly in every round. They speak of further draws and of candidates like these, not of
  all attacks that could be thought of;
* rewritten: attacks after `tests/attacks/obfuscation.py`, and how many of those got past the static gate;
* alone: attacks that fail when only this check is on and pass with none (shape, dtype and values on the tiny shape
  remain). Each was really verified so;
* finds: attacks in which it finds anything in a verification that goes on after a finding (a survey);
* lost: attacks that pass only because this check is off. Verified where the survey does not show that something else
  finds them too; a sample of what it shows is verified all the same, and a sample of surveys is held against the judge.

All of one round's cells see the same draws. Without a GPU; attacks that only a GPU can run, or that only a timing can
see, are counted apart. Rows are kept by judge, candidate and case: a run that was ended goes on, and says what is
missing.

Run: `python -m benchmarks.judge_strictness [--rounds 3] [--rewritten 4] [--minutes 40] [--jobs 2] [--no-ablation]`
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.measurement import Series, write
from benchmarks.strictness import ablation, plan, tables
from benchmarks.strictness.ablation import Row, Rows, failed, honest
from benchmarks.strictness.running import Kept, Pool, open_pool
from benchmarks.strictness.units import judge_digest, tested_open, verified
from tests.attacks import catalog


def main() -> int:
    options = _options()
    judge, began_s = judge_digest(), time.monotonic()
    kept = Kept(options.kept, judge).read()
    with open_pool(kept, options.jobs, options.minutes) as pool:
        rows = Rows(_run(pool, options))
    facts = _facts(rows, pool)
    facts |= {"judge": judge, "rounds": options.rounds, "jobs": options.jobs}
    facts["seconds"] = round(time.monotonic() - began_s, 1)
    for line in tables.lines(facts):
        print(line)
    write("judge_strictness", _series(rows), facts, options.results)
    return 0


def _run(pool: Pool, options: argparse.Namespace) -> list[Row]:
    """Run stage after stage, the first round of everything before the second."""
    rows: list[Row] = pool.run(plan.rewritten(options.rewritten))
    for number in range(options.rounds):
        rows += pool.run(plan.rates(number))
        _progress(f"round {number + 1} of {options.rounds}: rates")
        if options.ablation:
            rows += _ablation(pool, number)
    return rows


def _ablation(pool: Pool, number: int) -> list[Row]:
    """One round of the ablation, on the round's draws."""
    chance = Random(f"{pool.kept.judge}/{number}")
    first = pool.run(plan.surveys(number))
    _progress(f"round {number + 1}: surveys")
    surveyed = [row for row in first if row["kind"] == "survey"]
    attacks = [row for row in surveyed if not honest(row)]
    undecided = [row for row in first if row["kind"] == "none"]
    rows = first + pool.run(plan.alone(number, undecided))
    _progress(f"round {number + 1}: each check alone")
    rows += pool.run(plan.without(number, attacks, chance))
    _progress(f"round {number + 1}: without one check")
    return rows + pool.run([*plan.compared(number, surveyed, chance), *plan.controls(number, chance)])


def _facts(rows: Rows, pool: Pool) -> dict[str, Any]:
    attacks, controls = rows.attacks(), rows.controls()
    rewritten = rows.of("rewritten")
    return {
        "missing": ablation.missing(pool.missing),
        "counts": _counts(),
        "rates": ablation.rates(rows),
        "wrong": ablation.wrong_reasons(rows),
        "unsteady": ablation.unsteady(rows),
        "rewritten": {
            "tried": len(rewritten),
            "refused_by_the_gate": sum(row["by"] == "static_gate" for row in rewritten),
            "passed": sorted(f"{row['name']}, rewriting {row['round']}" for row in rewritten if not row["right"]),
        },
        "ablation": {
            "tried": ablation.tried(attacks),
            "alone": ablation.caught_alone(attacks),
            "finds": ablation.found_at_all(attacks),
            "lost": ablation.lost_without(attacks),
            "only_together": ablation.together_alone(attacks),
            **ablation.single_points(attacks),
            "agreement": ablation.agreement(rows),
        },
        "controls": _controls(controls),
        "cost": _cost(rows),
    }


def _controls(rows: Rows) -> dict[str, Any]:
    """Honest candidates under surveys and under every choice of checks: whatever refuses them is in the wrong."""
    tried = [row for row in rows.rows if row["kind"] in ("survey", "none", "on", "off")]
    refused = [row for row in tried if failed(row)]
    lines = (f"{row['kind']} {row['check']}: {row['name']} {row['verdict']} by {row['by']}" for row in refused)
    return {"tried": len(tried), "refused": dict(Counter(lines))}


def _cost(rows: Rows) -> dict[str, float]:
    """Processor seconds of the judge for an honest candidate, its child's apart; the median."""
    honest_s = sorted(row["judge_cpu_s"] for row in rows.of("honest"))
    wall_s = sorted(row["seconds"] for row in rows.of("honest"))
    if not honest_s:
        return {}
    return {"judge_cpu_s": honest_s[len(honest_s) // 2], "seconds": wall_s[len(wall_s) // 2]}


def _series(rows: Rows) -> list[Series]:
    """The share that was judged rightly, round by round."""
    found = []
    for part in ("all", "open", "honest"):
        rounds = sorted({row["round"] for row in rows.of(part)})
        groups = [[bool(row["right"]) for row in rows.of(part) if row["round"] == number] for number in rounds]
        if groups:
            found.append(Series(part, "of 1", [sum(group) / len(group) for group in groups]))
    return found


def _counts() -> dict[str, Any]:
    families = Counter(attack.family for attack in catalog.attacks())
    return {
        "attacks": families.total(),
        "families": dict(families),
        "judged_by_verify": len(verified()),
        "without_the_gate": len(tested_open()),
        "only_seen_by_timing": [attack.name for attack in catalog.attacks() if attack.via == "timing"],
        "only_the_gate_can_tell": [attack.name for attack in catalog.attacks() if not attack.open],
        "need_a_gpu": [attack.name for attack in catalog.gpu_attacks()],
        "honest": len(catalog.benign()),
    }


def _progress(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="everything on other draws so many times")
    parser.add_argument("--rewritten", type=int, default=4, help="rewritings of each attack")
    parser.add_argument("--minutes", type=float, default=40.0, help="begin nothing after that long")
    parser.add_argument("--jobs", type=int, default=2, help="processes that verify")
    parser.add_argument("--no-ablation", dest="ablation", action="store_false", help="leave out check by check")
    kept = Path(tempfile.gettempdir()) / "joulegrid-judge-strictness.jsonl"
    parser.add_argument("--kept", type=Path, default=kept, help="file of rows, to go on from (%(default)s)")
    results = Path(__file__).resolve().parent / "results"
    parser.add_argument("--results", type=Path, default=results, help="folder for the JSON (%(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
