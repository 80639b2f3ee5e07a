"""What the benchmark of the judge's strictness is made of: one verification each, that can be run by itself."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.strictness.survey import Evaluated, Found, Shared, Survey, only
from joulegrid.kernels.judge.candidate import read_candidate
from joulegrid.kernels.judge.judgement import Judgement
from joulegrid.kernels.judge.limits import Checks
from joulegrid.kernels.judge.static_gate import refusals
from joulegrid.kernels.judge.verdict import Verdict
from joulegrid.kernels.judge.verify import Settings, verify
from joulegrid.kernels.judge.zygote import Zygote
from tests.attacks import catalog
from tests.attacks.catalog import Entry
from tests.attacks.judging import QUICK, problem
from tests.attacks.obfuscation import obfuscated

ROOT = Path(__file__).resolve().parents[2]
OPEN = Checks().without("static_gate")
"""Every check but the one that reads the source."""
RATES = ("all", "open", "honest", "rewritten")
"""Kinds of units whose draws come from the system's entropy, through the judge as it is."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One verification of one candidate.

    `kind` is one of `RATES`, `survey` (goes on after a finding), `plain` (the survey's draws through the judge as it
    is), `none` (no check on), `on` (one check alone) or `off` (all but the static gate and one).
    """

    kind: str
    name: str
    round: int
    check: str = ""
    """The one that is on or off."""

    @property
    def entry(self) -> Entry:
        """The candidate."""
        return _entries()[self.name]

    @property
    def checks(self) -> Checks:
        """The checks that are on."""
        if self.kind == "none":
            return Checks.none()
        if self.kind == "on":
            return only(self.check)
        if self.kind == "off":
            return OPEN.without(self.check)
        return OPEN if self.kind in ("open", "survey", "plain") else Checks()

    def key(self, judge: str) -> str:
        """Return what a kept result is known by: judge, candidate, case, and what is done."""
        said = (judge, _sha256(self.entry.path), problem(self.entry.case).fingerprint, self.entry.dtype)
        return hashlib.sha256(repr((*said, self.kind, self.round, self.check)).encode()).hexdigest()[:20]


@dataclass(slots=True)
class Bench:
    """What one process needs to run units: a zygote, and evaluations that units of one case share."""

    zygote: Zygote
    judge: str
    evaluated: Evaluated = field(default_factory=Evaluated)
    case: str = ""

    def run(self, unit: Unit) -> dict[str, Any]:
        """Return the row of a unit."""
        if unit.entry.case != self.case:
            self.case, self.evaluated = unit.entry.case, Evaluated()
        if unit.kind == "rewritten":
            return self._rewritten(unit)
        notes: Counter[Found] = Counter()
        judgement: Any = Judgement if unit.kind in (*RATES, "plain") else partial(Shared, evaluated=self.evaluated)
        if unit.kind == "survey":
            judgement = partial(Survey, evaluated=self.evaluated, notes=notes)
        row = self._judged(unit, judgement)
        if unit.kind == "survey":
            row["found"] = [[one.check, one.verdict, list(one.relies_on), times] for one, times in notes.items()]
        return row

    def _judged(self, unit: Unit, judgement: Any, path: Path | None = None) -> dict[str, Any]:
        """Verify; the draws are the round's where cells are to be compared, otherwise anew."""
        entry = unit.entry
        settings = Settings(dtypes=(entry.dtype,), checks=unit.checks, limits=QUICK)
        seeds = None if unit.kind in RATES else [round_seed(self.judge, unit.round)]
        began_s = time.process_time()
        found = verify(
            problem(entry.case), read_candidate(path or entry.path), settings,
            seeds=seeds, zygote=self.zygote, judgement=judgement,
        )  # fmt: skip
        by = found.evidence[0] if found.evidence else None
        return {
            **named(unit), "verdict": str(found.verdict), "by": by and by.check, "where": by and by.where,
            "right": found.verdict in entry.right(gate=unit.checks.static_gate), "seeds": list(found.seeds),
            "draws": len(found.draws), "seconds": round(found.seconds, 3),
            "judge_cpu_s": round(time.process_time() - began_s, 3),
        }  # fmt: skip

    def _rewritten(self, unit: Unit) -> dict[str, Any]:
        """Judge a random rewriting, by number; one that the gate refuses needs no child."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "candidate.py"
            path.write_text(obfuscated(unit.entry.path.read_text(), unit.round))
            if refusals(read_candidate(path)):
                return {**named(unit), "verdict": str(Verdict.FORBIDDEN), "by": "static_gate", "right": True}
            row = self._judged(unit, Judgement, path)
            return row | {"right": row["verdict"] != Verdict.PASSED}


def named(unit: Unit) -> dict[str, Any]:
    """Return what a row says of its unit."""
    return {"kind": unit.kind, "name": unit.name, "round": unit.round, "check": unit.check}


def round_seed(judge: str, number: int) -> int:
    """Return the seed of all cells of a round of the ablation: other draws for another judge."""
    return int.from_bytes(hashlib.sha256(f"{judge}/{number}".encode()).digest()[:6], "little")


def judge_digest() -> str:
    """Hash what judges: the files of `kernels/` but the hand-written candidates, torch's version, and this study."""
    import torch

    found = hashlib.sha256(torch.__version__.encode())
    ours = [Path(__file__), Path(__file__).with_name("survey.py"), ROOT / "tests" / "attacks" / "obfuscation.py"]
    for path in [*sorted((ROOT / "kernels").rglob("*.py")), *ours]:
        if "handwritten" not in path.parts:
            found.update(path.read_bytes())
    return found.hexdigest()[:16]


def verified() -> list[Entry]:
    """Return the attacks that a verification can see."""
    return [attack for attack in catalog.attacks() if attack.refused or attack.via == "verify"]


def tested_open() -> list[Entry]:
    """Return those that it can see without the static gate."""
    return [attack for attack in catalog.attacks() if attack.via == "verify"]


@cache
def _entries() -> dict[str, Entry]:
    return {entry.name: entry for entry in [*catalog.attacks(), *catalog.benign()]}


@cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
