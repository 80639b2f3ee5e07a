"""Searches end to end on a real local Ray: what is run, what the searcher is told, what a second start does."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest

from joulegrid.cluster.folder import FolderStore
from joulegrid.errors import PreFlightError, UsageError
from joulegrid.jobs.api import run_study
from joulegrid.jobs.loop.continuing import Choice
from joulegrid.jobs.loop.driver import Options, drive
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.plan.planning import plan_of
from joulegrid.jobs.search.search import Told
from joulegrid.jobs.state.segments import replay
from joulegrid.jobs.study.load import load_study, make_study
from joulegrid.jobs.study_result import StudyResult
from tests.jobs.studies import write_script

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.usefixtures("ray_here")

BOWL = "x = 0\ndef main():\n    return {'cost': float((x - 5) ** 2), 'gain': float(x)}"
X = "script.globals.x"


def study_of(folder: Path, source: str = BOWL, **fields: Any) -> dict[str, Any]:
    return {
        "study_name": "searched",
        "workload": "script",
        "script": {"path": str(write_script(folder, source))},
        "resources": {"cpus": 2},  # one lane: what is asked next depends on all that was asked before
        "output": str(folder / "out"),
        **fields,
    }


def searched(folder: Path, budget: int = 6, **fields: Any) -> dict[str, Any]:
    search = {"objectives": ["minimize cost"], "budget": budget, "n_startup": 3, **fields.pop("search", {})}
    return study_of(folder, **{"sweep": {X: {"low": 0, "high": 40}}, "search": search, **fields})


def run(mapping: dict[str, Any], choice: Choice | None = None) -> StudyResult:
    study = make_study(mapping)
    return drive(study, plan_of(study), Options(choice=choice or Choice(), report=False))


def run_file(folder: Path, text: str, **study: Any) -> StudyResult:
    path = folder / "study.py"
    path.write_text(f"STUDY = {study_of(folder, **study)!r}\n" + textwrap.dedent(text))
    loaded = load_study(path)
    return drive(loaded, plan_of(loaded), Options(report=False))


def asked(run_folder: str | Path) -> list[dict[str, Any]]:
    return replay(FolderStore(Path(run_folder))).states.asked


def values(run_folder: str | Path) -> list[int]:
    return [one["values"][X] for one in asked(run_folder) if "values" in one]


def test_a_search_spends_its_budget_names_the_best_and_goes_on_when_the_budget_is_raised(tmp_path: Path) -> None:
    first = run(searched(tmp_path, execution={"n_cycles": 2}))
    assert (first.state, first.counts.n_tasks, first.counts.done, first.n_experiments) == ("done", 12, 12, 6)
    assert first.search is not None
    best = min((row.metrics["cost"].mean, row.index) for row in first.summary)
    assert (first.search.best[0].values["cost"], first.search.best[0].index) == best
    assert any(note.startswith("search (optuna tpe, minimize cost): best: x=") for note in first.notes)
    second = run(searched(tmp_path, budget=8, execution={"n_cycles": 2}))
    assert (second.run, second.counts.done) == (first.run, 16)
    assert {one.attempt for one in second.iter_results()} == {0}
    grid = Plan(make_study(study_of(tmp_path, sweep={X: values(second.run)})))
    known = {(point.key, point.label, str(point.axes)) for point in grid}
    assert {(one.key, one.label, str(one.axes)) for one in second.iter_results()} == known


class Copying:
    """Copies the run's folder when it is told for the n-th time: that is what a driver leaves that is killed then."""

    def __init__(self, inner: Any, at: int, folder: Path, copy: Path) -> None:
        self.inner, self.at, self.folder, self.copy = inner, at, folder, copy
        self.n_told = 0

    def ask(self) -> Any:
        return self.inner.ask()

    def state(self) -> Any:
        return self.inner.state()

    def tell(self, told: Told) -> None:
        self.n_told += 1
        if self.n_told == self.at:
            shutil.copytree(self.folder, self.copy)
            for lease in self.copy.glob("*/lease"):  # the driver of the copy is not this living process
                lease.write_text(json.dumps(json.loads(lease.read_text()) | {"released": True}))
        self.inner.tell(told)


@pytest.mark.parametrize(("sampler", "at"), [("tpe", 5), ("nsga2", 2)])
def test_a_search_whose_driver_dies_asks_what_it_would_have_asked(tmp_path: Path, sampler: str, at: int) -> None:
    """The folder as it is in the midst of the run goes on elsewhere, and ends as the undisturbed run does."""
    mapping = searched(tmp_path, budget=7, search={"sampler": sampler, "population": 3})
    study = make_study(mapping)
    plan = plan_of(study)
    assert not isinstance(plan, Plan)
    whole, copy = tmp_path / "out", tmp_path / "copied"
    source = plan.source
    plan.source = type(source)(source.name, source.fingerprint, lambda: Copying(source.make(), at, whole, copy))
    first = drive(study, plan, Options(report=False))
    second = run({**mapping, "output": str(copy)})
    assert Path(second.run).name == Path(first.run).name
    assert second.counts.done == 7
    assert [(one["values"], one["key"], one["state"]) for one in asked(second.run) if "values" in one] == [
        (one["values"], one["key"], one["state"]) for one in asked(first.run) if "values" in one
    ]
    before = {path.name for path in (Path(first.run) / "commit").rglob("*-c0*")}
    assert {path.name for path in (Path(second.run) / "commit").rglob("*-c0*")} == before


def test_several_objectives_give_a_front_and_several_lanes_run_at_once(tmp_path: Path) -> None:
    objectives = ["minimize cost", "maximize gain"]
    search = {"sampler": "nsga2", "population": 4, "objectives": objectives}
    result = run(searched(tmp_path, budget=8, search=search, resources={"cpus": 1}))
    assert (result.counts.done, result.n_experiments) == (8, 8)
    assert result.search is not None
    front = [(one.values["cost"], one.values["gain"]) for one in result.search.best]
    assert front == sorted(front)
    assert len({one.lane.lane for one in result.iter_results()}) == 2


def test_an_unknown_metric_ends_the_run_after_the_first_result_whose_data_stay(tmp_path: Path) -> None:
    mapping = searched(tmp_path, search={"objectives": ["minimize speed"]})
    with pytest.raises(UsageError, match=r"no number 'speed'; it has cost, .*gain.*begin again with --fresh"):
        run(mapping)
    [folder] = (tmp_path / "out").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["state"], manifest["counts"]["done"]) == ("stopped", 1)
    with pytest.raises(UsageError, match="the study was changed since") as caught:
        run(searched(tmp_path))
    assert "search.objectives" in str(caught.value)


def test_a_generator_without_end_runs_until_max_experiments_and_goes_on_when_that_is_raised(tmp_path: Path) -> None:
    text = f"from itertools import count\ndef config_gen():\n    for n in count():\n        yield {{{X!r}: n // 2}}"
    first = run_file(tmp_path, text, execution={"max_experiments": 20}, resources={"cpus": 1})
    assert (first.state, first.counts.done, first.n_duplicates) == ("done", 20, 19)
    second = run_file(tmp_path, text, execution={"max_experiments": 25}, resources={"cpus": 1})
    assert (second.run, second.counts.done, second.n_duplicates) == (first.run, 25, 24)
    assert sorted(one.axes[X] for one in second.iter_results()) == list(range(25))
    assert (Path(first.run) / "study.py").read_text().startswith("STUDY = ")
    assert not (Path(first.run) / "study.yaml").exists()


def test_a_generator_that_listens_is_told_what_its_experiment_came_to(tmp_path: Path) -> None:
    text = f"""
    def config_gen():
        x, cost = 0, 99.0
        while cost > 1:
            told = yield {{{X!r}: x}}
            assert told.status == ("failed" if x == 3 else "done")
            cost = told.value("cost") or 99.0
            x += 1
    """
    source = BOWL.replace("def main():", "def main():\n    assert x != 3")
    result = run_file(tmp_path, text, source=source, resources={"cpus": 1}, execution={"n_cycles": 2})
    assert values(result.run) == [0, 1, 2, 3, 4]
    assert (result.state, result.counts.done, result.counts.failed) == ("done", 8, 2)


def test_an_own_searcher_is_told_of_refused_and_repeated_asks_at_once(tmp_path: Path) -> None:
    class Noting:
        def __init__(self) -> None:
            self.asks: list[Any] = [{X: 1}, {"script.entrypoint": "none"}, {X: 1}, {X: 2}]
            self.told: list[Told] = []

        def ask(self) -> Any:
            return self.asks.pop(0) if self.asks else None

        def tell(self, told: Told) -> None:
            self.told.append(told)

    searcher = Noting()
    result = run_study(study_of(tmp_path), searcher=searcher)
    assert result.counts.done == 2
    found = {(one.number, one.status, one.repeated, one.value("gain")) for one in searcher.told}
    assert found == {
        (0, "done", False, 1.0),
        (1, "refused", False, None),
        (2, "done", True, 1.0),
        (3, "done", False, 2.0),
    }


def test_the_documented_searcher_finds_what_it_looks_for(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    text = page[page.index("# largest.py") :].partition("```")[0]
    (tmp_path / "largest.py").write_text(text)
    write_script(tmp_path, "size = 0\ndef main():\n    assert size <= 613\n    return {}", "task.py")
    study = load_study(tmp_path / "largest.py", fields={"output": str(tmp_path / "out")})
    result = drive(study, plan_of(study), Options(report=False))
    assert result.state == "done"
    assert max(one.axes["script.globals.size"] for one in result.iter_results() if one.status == "done") == 613
    assert (result.n_experiments, result.counts.failed) == (10, 5)
    assert len((Path(result.run) / "resolved.yaml").read_text().partition("experiments:")[2].splitlines()) >= 10


def test_a_given_up_family_is_told_as_failed_and_the_search_ends(tmp_path: Path) -> None:
    text = f"""
    def config_gen():
        for x in range(3):
            told = yield {{{X!r}: x}}
            assert told.status == "failed"
    """
    breaker = {"study_failures": 2, "family_failures": 2, "cooldown_seconds": 0.0}
    result = run_file(
        tmp_path, text, source="x = 0\ndef main():\n    raise ValueError", execution={"circuit_breaker": breaker}
    )
    assert result.counts.done == 0
    assert result.counts.failed >= 2


def test_a_search_that_proposes_nothing_that_can_run_says_why(tmp_path: Path) -> None:
    text = "def config_gen():\n    for n in range(3):\n        yield {'script.entrypoint': f'none{n}'}"
    with pytest.raises(UsageError, match=r"config_gen proposed no experiment that can be run: .*nothing more\n  1 × "):
        run_file(tmp_path, text)


def test_a_changed_generator_is_refused_and_a_changed_script_too(tmp_path: Path) -> None:
    text = f"def config_gen():\n    for x in range(4):\n        yield {{{X!r}: x}}"
    failing = BOWL.replace("def main():", "def main():\n    assert x")
    stop = {"fail_fast": True}
    run_file(tmp_path, text, source=failing, execution=stop)
    shown = r"what proposes the experiments was changed\n  the file differs:\n(.*\n)*    -.*range\(4\)"
    with pytest.raises(UsageError, match=shown):
        run_file(tmp_path, text.replace("range(4)", "range(5)"), source=failing, execution=stop)
    with pytest.raises((UsageError, PreFlightError), match=r"has changed since|other contents"):
        run_file(tmp_path, text, execution=stop)
