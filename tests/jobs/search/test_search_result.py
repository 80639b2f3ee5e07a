"""What a search found: the best of one objective, the Pareto front of several, and no comparison of unlike joules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegrid.jobs.report.energy_statistic import EnergyStatistic
from joulegrid.jobs.report.statistic import Statistic
from joulegrid.jobs.report.summary_row import SummaryRow
from joulegrid.jobs.search.search_result import SearchResult, search_notes, search_result


def plan(*objectives: Any) -> dict[str, Any]:
    search = {"sampler": "tpe", "budget": 9, "objectives": list(objectives)}
    return {"grammar": {"searcher": {"name": "optuna tpe"}, "search": search}}


def row(index: int, provenance: Any = None, energy_j: float | None = None, **metrics: float) -> SummaryRow:
    return SummaryRow(
        index=index,
        key=f"{index:016x}",
        label=f"x={index}",
        metrics={name: Statistic(n=1, mean=value) for name, value in metrics.items()},
        energy_j=EnergyStatistic(n=1, mean=energy_j) if energy_j is not None else None,
        energy_per={"token": EnergyStatistic(n=1, mean=energy_j)} if energy_j is not None else {},
        provenance=provenance,
        scope="cpu_package" if provenance else None,
    )


def found(objectives: list[Any], rows: list[SummaryRow]) -> SearchResult:
    result = search_result(plan(*objectives), rows)
    assert result is not None
    return result


def test_one_objective_has_one_best() -> None:
    rows = [row(0, cost=3.0), row(1, cost=1.0), row(2, cost=1.0), row(3), row(4, cost=2.0)]
    assert [one.index for one in found(["minimize cost"], rows).best] == [1]
    assert [one.index for one in found(["maximize cost"], rows).best] == [0]
    assert search_notes(found(["minimize cost"], rows)) == ["search (optuna tpe, minimize cost): best: x=1 (cost 1)"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_is_what_no_other_experiment_beats(points: list[tuple[int, int]]) -> None:
    rows = [row(index, cost=float(cost), gain=float(gain)) for index, (cost, gain) in enumerate(points)]
    mine = {one.index for one in found(["minimize cost", {"metric": "gain", "direction": "maximize"}], rows).best}
    slow = {
        index
        for index, (cost, gain) in enumerate(points)
        if not any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in points)
    }
    assert mine == slow


@pytest.mark.parametrize("metric", ["energy_j", "energy_per.token"])
def test_joules_of_unlike_kinds_are_not_compared(metric: str) -> None:
    rows = [row(0, "measured", 3.0), row(1, "modelled", 1.0), row(2, "measured", 2.0)]
    result = found([f"minimize {metric}"], rows)
    assert [(one.index, one.energy) for one in result.best] == [(2, "measured, CPU")]
    assert result.n_incomparable == 1
    assert "1 experiments left out" in search_notes(result)[1]


def test_a_grid_is_no_search_and_a_searcher_without_objectives_has_no_best() -> None:
    assert search_result({"grammar": {"sweep": {}}}, [row(0, cost=1.0)]) is None
    own = search_result({"grammar": {"searcher": {"name": "s.py: config_gen"}, "search": None}}, [row(0, cost=1.0)])
    assert own is not None
    assert (own.searcher, own.best, search_notes(own)) == ("s.py: config_gen", [], [])


def test_no_number_for_an_objective_is_said() -> None:
    assert "no experiment has a number" in search_notes(found(["minimize speed"], [row(0, cost=1.0)]))[0]
