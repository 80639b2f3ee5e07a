"""The benchmark of the judge's strictness: surveys that go on, what is kept, and the arithmetic of its tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks.strictness import ablation, plan
from benchmarks.strictness.ablation import Rows
from benchmarks.strictness.running import Kept, open_pool
from benchmarks.strictness.survey import only
from benchmarks.strictness.tables import lines
from benchmarks.strictness.units import Bench, Unit
from joulegrid.kernels.judge.limits import Checks
from joulegrid.kernels.judge.verdict import Verdict
from joulegrid.kernels.judge.zygote import Zygote
from tests.attacks import catalog
from tests.attacks.judging import judged


def row(kind: str, name: str, verdict: str = "passed", check: str = "", **more: Any) -> dict[str, Any]:
    return {
        "kind": kind, "name": name, "round": 0, "check": check, "verdict": verdict, "by": None, "where": None,
        "right": True, "found": [],
    } | more  # fmt: skip


def found(*pairs: tuple[str, Sequence[str]]) -> list[Any]:
    return [[check, "wrong_values", list(relies), 1] for check, relies in pairs]


def test_a_survey_begins_with_the_judges_finding_and_goes_on(zygote: Zygote) -> None:
    bench = Bench(zygote, "judge")
    rows = {kind: bench.run(Unit(kind, "memory/residual_in_place", 0)) for kind in ("plain", "survey")}
    said = [(one["verdict"], one["by"], one["where"], one["draws"]) for one in rows.values()]
    assert said[0][:3] == said[1][:3]
    assert said[0][3] < said[1][3] == 16
    assert {"input_hash", "alias"} <= {check for check, *_ in rows["survey"]["found"]}


def test_a_survey_finds_nothing_in_an_honest_candidate(zygote: Zygote) -> None:
    survey = Bench(zygote, "judge").run(Unit("survey", "benign/forbidden_words", 0))
    assert (survey["verdict"], survey["found"], survey["draws"]) == ("passed", [], 16)


def test_what_relies_on_a_check_does_not_come_about_without_it(zygote: Zygote) -> None:
    bench = Bench(zygote, "judge")
    survey = bench.run(Unit("survey", "memory/offset_ignored", 0))
    assert ablation.failed(survey)
    assert ablation.failed(bench.run(Unit("on", "memory/offset_ignored", 0, "layouts")))
    assert not ablation.failed(bench.run(Unit("off", "memory/offset_ignored", 0, "layouts")))
    assert "layouts" in ablation.needed_off(survey)


@pytest.mark.parametrize("checks", [Checks().without("fresh_weights"), only("near_draws")], ids=["less", "alone"])
def test_weights_that_are_not_drawn_anew_are_not_exchanged_either(checks: Checks, zygote: Zygote) -> None:
    candidate = next(one for one in catalog.benign() if one.name == "benign/split_sums")
    assert judged(candidate, zygote, checks).passed


def test_a_decoy_in_a_case_with_weights_is_seen_on_the_tiny_shape(zygote: Zygote) -> None:
    attack = next(one for one in catalog.attacks() if one.name == "fallback/decoy_kernel")
    checks = Checks().without("static_gate", "dispatch_log", "provenance", "hidden_shapes")
    assert judged(attack, zygote, checks).verdict is Verdict.FORBIDDEN


def test_tables_tell_what_is_caught_alone_lost_and_found_by_one_check_only() -> None:
    rows = Rows(
        [
            row("none", "replay/a"), row("none", "memory/b"), row("none", "no_work/c", "wrong_values", by="values"),
            row("on", "replay/a", check="poison"), row("on", "memory/b", "tampering", "alias"),
            row("survey", "replay/a", "wrong_values", found=found(("values", ["poison", "layouts"]))),
            row("survey", "memory/b", "tampering", found=found(("alias", ["alias"]), ("values", ["layouts"]))),
            row("off", "replay/a", check="poison"), row("off", "memory/b", "tampering", "poison"),
            row("all", "memory/b", "forbidden", by="static_gate"), row("all", "replay/a", "wrong_values", by="values"),
        ]
    )  # fmt: skip
    alone, lost = ablation.caught_alone(rows), ablation.lost_without(rows)
    assert (alone["alias"], alone["values"], alone["poison"]) == (["memory/b"], ["no_work/c"], [])
    assert ablation.together_alone(rows) == []
    everything = [row("on", "replay/a", check=check) for check in Checks.names()]
    assert ablation.together_alone(Rows([*rows.rows, *everything])) == ["replay/a"]
    assert lost["poison"] == ["replay/a"]
    assert ablation.single_points(rows) == {
        "only_finder": {"values": ["replay/a"]}, "lost_by_the_judge": {"poison": ["replay/a"]},
    }  # fmt: skip
    assert [ablation.needed_off(one) for one in rows.of("survey")] == [["layouts", "poison"], []]
    assert ablation.agreement(rows)["not_lost"] == {"compared": 1, "same": 1, "other": []}


def test_every_check_that_a_survey_leaves_open_is_run_and_some_of_the_others() -> None:
    surveys = [row("survey", "memory/b", "tampering", found=found(("values", ["layouts", "freeze"])))]
    units = plan.without(0, [*surveys, row("survey", "memory/c")], Random(0))
    assert {unit.check for unit in units[:2]} == {"layouts", "freeze"}
    assert {unit.name for unit in units} == {"memory/b"} and len(units) == len(Checks.names()) - 1


def test_kept_rows_are_not_run_again_and_what_there_was_no_time_for_is_missing(tmp_path: Path) -> None:
    done, due = Unit("all", "memory/order_by_chance", 0), Unit("all", "memory/order_by_chance", 1)
    Kept(tmp_path / "rows", "judge").add(done, row("all", done.name))
    with (tmp_path / "rows").open("a") as stream:
        stream.write('\n{"key": "cut sh')
    with open_pool(Kept(tmp_path / "rows", "judge").read(), jobs=1, minutes=0) as pool:
        assert [one["name"] for one in pool.run([done, due])] == [done.name]
    assert ablation.missing(pool.missing) == {"all, round 1": 1}
    pool.kept.add(due, row("all", due.name))
    assert Kept(tmp_path / "rows", "judge").read().get(due) is not None
    assert Kept(tmp_path / "rows", "another judge").read().get(done) is None


def test_facts_of_a_run_without_time_can_be_printed() -> None:
    nothing: dict[str, Any] = {
        "rates": {}, "wrong": [], "rewritten": {"tried": 0, "refused_by_the_gate": 0, "passed": []},
        "ablation": {"finds": {}}, "unsteady": [], "missing": {"all, round 0": 2}, "controls": {},
    }  # fmt: skip
    assert list(lines(nothing))[-1] == "  all, round 0: 2"
