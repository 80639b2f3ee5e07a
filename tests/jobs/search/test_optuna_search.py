"""Optuna's samplers behind the searcher's protocol: repeatable, resumable, and told of every ending."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from joulegrid.errors import PreFlightError, UsageError
from joulegrid.jobs.plan.planning import plan_of
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.search.asking import Asked, Ending, Search, fill
from joulegrid.jobs.search.optuna_search import OptunaSearcher
from joulegrid.jobs.search.search import CycleResult, Told
from joulegrid.jobs.search.space import Space, ranges
from joulegrid.jobs.study.load import make_study
from joulegrid.jobs.study.search_config import SearchConfig

BATCH, LENGTH = "pytorch.batch_size", "pytorch.max_new_tokens"
SWEEP: dict[str, Any] = {
    BATCH: {"low": 1, "high": 64, "log": True},
    LENGTH: {"low": 8, "high": 128, "step": 8},
    "pytorch.precision": ["fp32", "bf16"],
    "decoding": [{}, {"pytorch": {"do_sample": True, "temperature": 0.5}}],
}


def searched(sampler: str = "tpe", objectives: Any = "minimize cost", **fields: Any) -> AskedPlan:
    search = {"sampler": sampler, "objectives": objectives, "budget": 12, "n_startup": 4, "population": 4}
    study = make_study(
        {
            "model": "tiny-lm",
            "sweep": SWEEP,
            "pytorch": {"n_prompts": 64},
            **fields,
            "search": search | fields.get("search", {}),
        }
    )
    found = plan_of(study)
    assert isinstance(found, AskedPlan)
    return found


def cost(values: dict[str, Any]) -> Ending:
    """A smooth bowl at batch 16 and 40 tokens, cheaper in bf16; the second metric pulls the other way."""
    bowl = (values.get(BATCH, 1) / 16 - 1) ** 2 + ((values.get(LENGTH, 32) - 40) / 40) ** 2
    bowl += values.get("pytorch.precision", "fp32") == "fp32"
    return Ending((CycleResult(0, {"cost": bowl, "gain": float(values.get(BATCH, 1))}),))


def ask_all(search: Search, endings: dict[int, Ending], steps: int | None = None, lanes: int = 1) -> None:
    """Run a search on so many lanes, oldest first; after `steps` endings leave off, as a killed driver does."""
    running = [index for index in range(len(search.plan)) if index not in endings]
    done = 0
    while steps is None or done < steps:
        while len(running) < lanes and isinstance(index := search.next_index(), int):
            running.append(index)
        if not running:
            return
        index, done = running.pop(0), done + 1
        endings[index] = cost(search.plan[index].values)
        search.told(index, endings[index])


def values_of(log: list[Asked]) -> list[dict[str, Any]]:
    return [one.values for one in log]


def whole(sampler: str, **fields: Any) -> list[Asked]:
    log: list[Asked] = []
    plan = searched(sampler, **fields)
    ask_all(Search(plan, plan.source.make(), log.append), {})
    return log


def resumed(killed_after: int, sampler: str, **fields: Any) -> list[Asked]:
    """The log of asks of a search that was killed after so many endings and went on in another process."""
    log: list[Asked] = []
    endings: dict[int, Ending] = {}
    plan, again = searched(sampler, **fields), searched(sampler, **fields)
    ask_all(Search(plan, plan.source.make(), log.append), endings, killed_after)
    second = Search(again, again.source.make(), log.append)
    events = [one.event() for one in log]
    fill(again, events)
    second.restore(events, endings)
    ask_all(second, endings)
    return log


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
@pytest.mark.parametrize("objectives", ["minimize cost", ["minimize cost", "maximize gain"]], ids=["one", "two"])
def test_a_search_killed_at_any_point_and_resumed_asks_what_it_would_have_asked(sampler: str, objectives: Any) -> None:
    expected = whole(sampler, objectives=objectives)
    assert sum(one.index is not None for one in expected) >= 12
    for killed_after in (0, 3, 7, 11):
        assert resumed(killed_after, sampler, objectives=objectives) == expected, f"killed after {killed_after}"


def test_so_does_a_gaussian_process() -> None:
    small: dict[str, Any] = {"search": {"budget": 6, "n_startup": 3}, "sweep": {BATCH: SWEEP[BATCH]}}
    assert resumed(4, "gp", **small) == whole("gp", **small)


def test_another_seed_asks_otherwise_and_the_same_seed_the_same() -> None:
    assert values_of(whole("tpe")) == values_of(whole("tpe"))
    assert values_of(whole("tpe")) != values_of(whole("tpe", search={"seed": 1}))


def test_a_model_finds_more_than_chance_does() -> None:
    def best(kind: str) -> float:
        found = []
        for seed in range(3):
            plan = searched(kind, search={"seed": seed, "budget": 30, "n_startup": 8})
            endings: dict[int, Ending] = {}
            ask_all(Search(plan, plan.source.make()), endings)
            found.append(min(float(one.cycles[0].metrics["cost"]) for one in endings.values()))
        return sum(found) / len(found)

    assert best("tpe") < best("random")


def test_several_lanes_are_asked_for_while_others_run_and_nothing_is_run_twice() -> None:
    plan = searched("tpe")
    endings: dict[int, Ending] = {}
    ask_all(Search(plan, plan.source.make()), endings, lanes=4)
    assert len(endings) == len({one.key for one in plan}) == 12


def test_points_lie_in_the_space() -> None:
    for asked in whole("random", search={"budget": 30}):
        assert asked.values[BATCH] in range(1, 65)
        assert asked.values[LENGTH] in range(8, 129, 8)
        assert asked.values["pytorch.precision"] in ("fp32", "bf16")
        assert asked.values.get("pytorch.do_sample", True) is True


def test_zipped_lists_move_together() -> None:
    log = whole("random", sweep={}, zip={BATCH: [1, 2, 4], LENGTH: [8, 16, 32]})
    assert {(one.values[BATCH], one.values[LENGTH]) for one in log} == {(1, 8), (2, 16), (4, 32)}


def test_a_small_space_is_searched_to_its_end() -> None:
    log: list[Asked] = []
    plan = searched("tpe", sweep={BATCH: [1, 2, 4]})
    search = Search(plan, plan.source.make(), log.append)
    ask_all(search, {})
    assert (len(plan), search.ended) == (3, "the searcher has nothing more")


def test_refused_and_failed_experiments_are_failed_trials() -> None:
    plan = searched("tpe", pytorch={"n_prompts": 4}, sweep={BATCH: [1, 2, 4, 8, 16, 32]})
    searcher = plan.source.make()
    assert isinstance(searcher, OptunaSearcher)
    search = Search(plan, searcher)
    first = search.next_index()
    assert isinstance(first, int)
    search.told(first, Ending((), "timeout", "too slow"))
    ask_all(search, {})
    failed = {one.params[BATCH] for one in searcher._trials if one.state.name == "FAIL"}
    done = {one.params[BATCH] for one in searcher._trials if one.state.name == "COMPLETE"}
    assert failed == {3, 4, 5, searcher._trials[0].params[BATCH]}  # which of the six values it is
    assert failed | done == set(range(6))


@pytest.mark.parametrize("metric", ["energy_per.token", "energy_j", "speed"])
def test_a_metric_that_the_first_result_has_not_is_an_error_with_those_that_it_has(metric: str) -> None:
    plan = searched("random", objectives=[f"maximize {metric}", "minimize cost"])
    search = Search(plan, plan.source.make())
    with pytest.raises(UsageError, match=rf"no number '{metric}'; it has cost, gain"):
        ask_all(search, {})


def test_a_later_result_without_the_number_is_a_failed_trial() -> None:
    plan = searched("random")
    searcher = plan.source.make()
    assert isinstance(searcher, OptunaSearcher)
    results: list[dict[str, Any]] = [{"cost": 1.0}, {"cost": None}]
    for number, metrics in enumerate(results):
        searcher.ask()
        searcher.tell(Told(number, {}, "done", cycles=(CycleResult(0, metrics),)))
    assert [one.state.name for one in searcher._trials] == ["COMPLETE", "FAIL"]


def test_a_missing_optuna_is_said_before_anything_runs_with_the_remedy() -> None:
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "optuna"}
    sys.modules["optuna"] = None  # type: ignore[assignment]  # what Python takes for "not installed"
    try:
        with pytest.raises(PreFlightError, match=r"pip install 'joulegrid\[search\]'"):
            OptunaSearcher(SearchConfig(objectives=["minimize cost"], budget=1), Space(()))
    finally:
        del sys.modules["optuna"]
        sys.modules.update(hidden)


@pytest.mark.parametrize(
    ("given", "whole_numbers", "count"),
    [
        ({"low": 1, "high": 8}, True, 8),
        ({"low": 1, "high": 8, "step": 2}, True, 4),
        ({"low": 0, "high": 1, "step": 0.1}, False, 11),
        ({"low": 0.0, "high": 1.0}, False, None),
        ({"low": 0.0, "high": 1}, False, None),
        ({"low": 3, "high": 3}, True, 1),
    ],
)
def test_a_range_is_whole_where_all_its_numbers_are(
    given: dict[str, Any], whole_numbers: bool, count: int | None
) -> None:
    found = ranges({"x": given})["x"]
    assert (found.is_whole, found.count) == (whole_numbers, count)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"low": 1}, "two finite numbers low and high"),
        ({"low": 1, "high": "8"}, "two finite numbers"),
        ({"low": 1, "high": float("inf")}, "two finite numbers"),
        ({"low": 8, "high": 1}, "low must not be above high"),
        ({"low": 1, "high": 8, "step": 0}, "step is positive"),
        ({"low": 0, "high": 8, "log": True}, "a low above 0 and no step"),
        ({"low": 1, "high": 8, "log": True, "step": 2}, "a low above 0 and no step"),
        ({"low": 1, "high": 8, "log": "yes"}, "log is true or false"),
        ({"low": 1, "high": 8, "by": 2}, "not by"),
        ({"low": 0, "high": 8}, f"sweep.{BATCH}: {BATCH}: given 0; it should be greater than or equal to 1"),
    ],
)
def test_a_range_that_says_nothing_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        searched(sweep={BATCH: given})
    assert told in str(caught.value)


def test_a_range_without_a_search_says_what_is_missing() -> None:
    with pytest.raises(UsageError, match="a range needs a section `search:`"):
        make_study({"model": "tiny-lm", "sweep": {BATCH: {"low": 1, "high": 8}}})


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ({"objectives": []}, "search.objectives"),
        ({"objectives": ["smaller cost"]}, "write `minimize METRIC` or `maximize METRIC`"),
        ({"objectives": ["minimize"]}, "write `minimize METRIC`"),
        ({"objectives": [{"metric": "cost"}]}, "direction: minimize, or maximize"),
        ({"sampler": "tree"}, "search.sampler: given"),
        ({"budget": 0}, "search.budget: given 0"),
        ({"samplr": "tpe"}, "search.samplr: unknown key; did you mean 'search.sampler'"),
    ],
)
def test_a_wrong_search_is_refused(search: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        searched(search=search)
    assert told in str(caught.value)


def test_contradictions_are_refused() -> None:
    with pytest.raises(UsageError, match="experiments: a search asks for points of its sweep alone"):
        searched(experiments=[{BATCH: 1}])
    with pytest.raises(UsageError, match="search: there is nothing to vary"):
        searched(sweep={})


def test_the_budget_is_no_part_of_the_design_and_all_else_of_the_search_is() -> None:
    before = searched().study_design_hash
    assert searched(search={"budget": 99}).study_design_hash == before
    others = [
        searched(search={"seed": 5}),
        searched("nsga2"),
        searched(objectives="maximize cost"),
        searched(sweep={**SWEEP, LENGTH: {"low": 8, "high": 128, "step": 16}}),
        searched(pytorch={"n_prompts": 65}),
    ]
    assert len({before, *(one.study_design_hash for one in others)}) == 6
