"""What the rows of all units say: rates, what each check catches alone, what only one catches. Arithmetic alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.judge_false_rejections import interval_95
from benchmarks.strictness.units import Unit
from joulegrid.kernels.judge.limits import Checks
from joulegrid.kernels.judge.verdict import Verdict

Row = Mapping[str, Any]
Names = dict[str, list[str]]
"""Names of candidates by check."""
ALWAYS = ("values", "sandbox", "protocol", "limits")
"""What no `Checks` switches off."""
EVERY = (*Checks.names(), *ALWAYS)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one benchmark, honest candidates apart or not."""

    rows: Sequence[Row]

    def of(self, kind: str, check: str | None = None) -> list[Row]:
        """Return the rows of one kind, and of one check if it is named."""
        return [row for row in self.rows if row["kind"] == kind and check in (None, row["check"])]

    def attacks(self) -> Rows:
        """Return the rows of attacks."""
        return Rows([row for row in self.rows if not honest(row)])

    def controls(self) -> Rows:
        """Return the rows of honest candidates."""
        return Rows([row for row in self.rows if honest(row)])


def honest(row: Row) -> bool:
    """Whether a row is of a candidate that must be accepted."""
    return str(row["name"]).startswith("benign/")


def failed(row: Row) -> bool:
    """Whether the judge refused."""
    return bool(row["verdict"] != Verdict.PASSED)


def rates(rows: Rows) -> dict[str, dict[str, Any]]:
    """Return by part how many verifications, and how many candidates in every round, were judged rightly."""
    return {part: _rate(rows.of(part)) for part in ("all", "open", "honest") if rows.of(part)}


def _rate(rows: Sequence[Row]) -> dict[str, Any]:
    by_name = defaultdict(list)
    for row in rows:
        by_name[row["name"]].append(bool(row["right"]))
    events, always = sum(map(sum, by_name.values())), sum(map(all, by_name.values()))
    return {
        "right": events,
        "n": len(rows),
        "rate": events / len(rows),
        "interval_95": interval_95(events, len(rows)),
        "candidates": len(by_name),
        "right_in_every_round": always,
        "candidates_interval_95": interval_95(always, len(by_name)),
    }


def caught_alone(rows: Rows) -> Names:
    """Return by check the attacks that fail with it alone, and pass with none; and what fails with none, by finder."""
    undecided = {(row["name"], row["round"]) for row in rows.of("none") if not failed(row)}
    found: Names = {check: [] for check in EVERY}
    for row in rows.of("on"):
        if failed(row) and (row["name"], row["round"]) in undecided:
            found[row["check"]].append(row["name"])
    for row in rows.of("none"):
        if failed(row):
            found[row["by"]].append(row["name"])
    return {check: _ordered(names) for check, names in found.items()}


def found_at_all(rows: Rows) -> Names:
    """Return by check the attacks in which it finds anything, others having found something before or not."""
    found: Names = {check: [] for check in EVERY}
    for row in rows.of("survey"):
        for check in {one[0] for one in row["found"]}:
            found[check].append(row["name"])
    for row in rows.of("all"):
        if row["by"] == "static_gate":
            found["static_gate"].append(row["name"])
    return {check: _ordered(names) for check, names in found.items()}


def lost_without(rows: Rows) -> Names:
    """Return by check the attacks that pass without it and the static gate, though not with it."""
    refused = {(row["name"], row["round"]) for row in rows.of("survey") if failed(row)}
    found: Names = {check: [] for check in Checks.names()}
    for row in rows.of("off"):
        if not failed(row) and (row["name"], row["round"]) in refused:
            found[row["check"]].append(row["name"])
    gated = {row["name"] for row in rows.of("all") if row["by"] == "static_gate"}
    found["static_gate"] = [row["name"] for row in rows.of("open") if row["name"] in gated and not failed(row)]
    return {check: _ordered(names) for check, names in found.items()}


def needed_off(row: Row) -> list[str]:
    """Return the checks on which everything that a survey found may rely: without them it has to be run again."""
    relied = [set(relies) for _, _, relies, _ in row["found"]]
    return sorted(set.intersection(*relied)) if relied else []


def single_points(rows: Rows) -> dict[str, Names]:
    """Return by check the attacks that nothing else finds, and those that pass the whole judge less this check."""
    finders = defaultdict(set)
    for check, names in found_at_all(rows).items():
        for name in names:
            finders[name].add(check)
    surveyed = {row["name"] for row in rows.of("survey")}
    alone: Names = defaultdict(list)
    for name, checks in sorted(finders.items()):
        if name in surveyed and len(checks) == 1:
            alone[next(iter(checks))].append(name)
    gated = set(found_at_all(rows)["static_gate"])
    lost = {
        check: [name for name in names if check == "static_gate" or name not in gated]
        for check, names in lost_without(rows).items()
    }
    return {"only_finder": dict(alone), "lost_by_the_judge": {check: names for check, names in lost.items() if names}}


def tried(rows: Rows) -> dict[str, Any]:
    """Count by check the attacks that were tried with it alone and without it, and all that were surveyed."""
    counts = {kind: {check: len(rows.of(kind, check)) for check in Checks.names()} for kind in ("on", "off")}
    return {**counts, "survey": len(rows.of("survey")), "none": len(rows.of("none"))}


def together_alone(rows: Rows) -> list[str]:
    """Return the attacks that no check catches alone, though all together do."""
    alone = {name for names in caught_alone(rows).values() for name in names}
    tried = {row["name"] for row in rows.of("on")}
    for check in Checks.names():  # nothing is said of what was not tried with each of them
        tried &= {row["name"] for row in rows.of("on", check)}
    refused = {row["name"] for row in rows.of("survey") if failed(row)}
    return sorted((tried & refused) - alone)


def agreement(rows: Rows) -> dict[str, Any]:
    """Return how often a survey's first finding is the judge's, and how often it foretold rightly what is not lost."""
    surveys = {(row["name"], row["round"]): row for row in rows.of("survey")}
    pairs = [
        (row, surveys[row["name"], row["round"]]) for row in rows.of("plain") if (row["name"], row["round"]) in surveys
    ]
    wrong = [row["name"] for row, other in pairs if _said(row) != _said(other)]
    tried = [(row, surveys.get((row["name"], row["round"]))) for row in rows.of("off")]
    foretold = [row for row, other in tried if other and failed(other) and row["check"] not in needed_off(other)]
    lost = [f"{row['name']} without {row['check']}" for row in foretold if not failed(row)]
    return {
        "first_finding": {"compared": len(pairs), "same": len(pairs) - len(wrong), "other": wrong},
        "not_lost": {"compared": len(foretold), "same": len(foretold) - len(lost), "other": lost},
    }


def _said(row: Row) -> tuple[Any, ...]:
    return row["verdict"], row["by"], row["where"]


def unsteady(rows: Rows) -> list[str]:
    """Return where rounds disagree, as lines that a person reads."""
    seen = defaultdict(list)
    for row in rows.rows:
        if row["kind"] != "rewritten":
            seen[row["kind"], row["check"], row["name"]].append(row)
    lines = []
    for (kind, check, name), some in sorted(seen.items()):
        refused = sum(map(failed, some))
        if 0 < refused < len(some):
            lines.append(f"{' '.join(filter(None, (kind, check)))}: {name} refused in {refused} of {len(some)} rounds")
    return lines


def wrong_reasons(rows: Rows) -> list[str]:
    """Return what was judged otherwise than its header says."""
    wrong = [row for row in rows.rows if row["kind"] in ("all", "open", "honest") and not row["right"]]
    return sorted(
        f"{row['kind']}: {row['name']} was {row['verdict']} by {row['by']} at {row['where']}" for row in wrong
    )


def missing(units: Iterable[Unit]) -> dict[str, int]:
    """Count units that there was no time for, by kind and round."""
    counts: dict[str, int] = defaultdict(int)
    for unit in units:
        counts[f"{unit.kind}, round {unit.round}"] += 1
    return dict(counts)


def _ordered(names: Iterable[str]) -> list[str]:
    return sorted(set(names))
