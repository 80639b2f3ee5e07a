"""The pool on a real local Ray: lanes that rest, share a node, lose their worker or their sampler."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest

from joulegrid.actors.outcome import Outcome
from joulegrid.actors.placement import Need, Node, Place, place_lanes
from joulegrid.actors.pool import Pool, Terms, cluster_nodes
from joulegrid.actors.record import RunFacts
from joulegrid.actors.result import ExperimentResult, Task
from joulegrid.actors.roster import NO_LANE_S, Roster
from joulegrid.actors.worker import Setup
from joulegrid.cluster.folder import FolderStore
from joulegrid.cluster.power.sensors.sources import PowerConfig
from joulegrid.errors import PreFlightError
from tests.actors.lanes import script_task

MODEL = PowerConfig(source="model")
TIMED = """
import time
def main():
    t0 = time.monotonic()
    time.sleep(0.3)
    return {"t0": t0, "t1": time.monotonic()}
"""


@dataclass(frozen=True, slots=True)
class Rest:
    until_s: float
    why: str = "gap"


@dataclass
class Orders:
    """An agenda: a list of tasks in order; what is lost comes again."""

    tasks: list[Task]
    rests: Callable[[str, float], Rest | None] = lambda lane, now_s: None
    ended: list[Outcome] = field(default_factory=list)
    ordered_s: list[tuple[float, Task]] = field(default_factory=list)
    together: int = 1

    def next(self, now_s: float, lane: str, *, skip_gap: bool = False) -> Task | Rest | None:
        if not self.tasks:
            return None
        rest = self.rests(lane, now_s)
        if rest is None:
            self.ordered_s.append((time.monotonic(), self.tasks[0]))
        return rest or self.tasks.pop(0)

    def at_once(self) -> int:
        return self.together

    def carry_out(self, pool: Pool, tick: Callable[[], None] = lambda: None) -> dict[str, list[Outcome]]:
        """Run all, giving lost tasks out again; return the outcomes by lane."""
        by_lane: dict[str, list[Outcome]] = {lane.place.lane: [] for lane in pool.lanes}
        for outcome in pool.run(self, lambda task: task, tick):
            by_lane[outcome.lane].append(outcome)
            self.ended.append(outcome)
            if outcome.failure_class in ("infra", "cancelled"):
                task = next(task for _, task in self.ordered_s if task.id == outcome.task_id)
                self.tasks.append(replace(task, attempt=outcome.attempt + 1))
        return by_lane


def setup_in(folder: Path) -> Setup:
    facts = RunFacts("tests", "tests_run", (), "zygote", None)
    return Setup(facts, FolderStore(folder / "run"), str(folder), ())


def tasks_of(folder: Path, source: str, count: int, name: str = "task") -> list[Task]:
    return [replace(script_task(folder, source, name=name), index=index) for index in range(count)]


def results_of(folder: Path, outcomes: list[Outcome]) -> list[ExperimentResult]:
    store = FolderStore(folder / "run")
    return [ExperimentResult.model_validate_json(store.get(f"{one.path}/result.json")) for one in outcomes if one.path]


@pytest.mark.usefixtures("ray_here")
def test_a_worker_that_cannot_come_up_ends_the_start_with_the_reason(tmp_path: Path) -> None:
    nowhere = Place("ghost/cpu0", Node("ab" * 28, "ghost", 1, 0), 0, 1, 0)
    with pytest.raises(PreFlightError, match="no worker could be started"):
        Pool([nowhere], setup_in(tmp_path), MODEL).__enter__()
    [place] = place_lanes(cluster_nodes(), Need(None, None))
    with pytest.raises(PreFlightError, match="no_such_module is not installed there"):
        Pool([place], replace(setup_in(tmp_path), packages=("no_such_module",)), MODEL).__enter__()


@dataclass(frozen=True, slots=True)
class Standing:
    """Two lanes that several tests use one after the other."""

    pool: Pool
    folder: Path
    notes: list[str]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, ray_here: None) -> Iterator[Standing]:
    folder, notes = tmp_path_factory.mktemp("two"), list[str]()
    places = place_lanes(cluster_nodes(), Need(None, 1))[:2]
    with Pool(places, setup_in(folder), MODEL, Terms(note=notes.append)) as pool:
        yield Standing(pool, folder, notes)


def test_while_one_lane_rests_the_other_is_never_idle(two: Standing, tmp_path: Path) -> None:
    first = two.pool.lanes[0].place.lane
    began_s = time.monotonic()
    orders = Orders(
        tasks_of(tmp_path, TIMED, 10),
        lambda lane, now_s: Rest(began_s + 600.0) if lane == first else None,
    )
    busy_s = idle_s = 0.0
    ended_s = None
    for outcome in two.pool.run(orders, lambda task: task, lambda: None):
        ordered_s = orders.ordered_s[-1][0]
        idle_s += ordered_s - ended_s if ended_s is not None else 0.0
        ended_s = time.monotonic()
        busy_s += ended_s - ordered_s
        assert outcome.lane != first
    assert idle_s / (busy_s + idle_s) < 0.05


def test_a_rest_ends_when_it_should_though_another_lane_is_busy(two: Standing, tmp_path: Path) -> None:
    first, until_s = two.pool.lanes[0].place.lane, time.monotonic() + 0.5
    orders = Orders(
        tasks_of(tmp_path, TIMED.replace("0.3", "1.5"), 2),
        lambda lane, now_s: Rest(until_s) if lane == first and now_s < until_s else None,
    )
    for _ in two.pool.run(orders, lambda task: task, lambda: None):
        break
    begun_s = orders.ordered_s[1][0]
    assert begun_s >= until_s  # it was given out before the other lane's task had ended
    while any(lane.running is not None for lane in two.pool.lanes):
        orders.carry_out(two.pool)


def test_a_killed_worker_costs_its_task_one_attempt_and_the_other_lane_nothing(two: Standing, tmp_path: Path) -> None:
    flag = tmp_path / "killed"
    source = f"""
    import os, pathlib, psutil, signal, time
    def main():
        flag = pathlib.Path({str(flag)!r})
        if not flag.exists():
            flag.touch()
            os.kill(psutil.Process(os.getppid()).ppid(), signal.SIGKILL)  # the zygote's parent is the worker
        time.sleep(0.3)
        return {{}}
    """
    orders = Orders([*tasks_of(tmp_path, source, 1), *tasks_of(tmp_path, TIMED, 30, "timed")])
    orders.carry_out(two.pool)
    [number] = [number for number, one in enumerate(orders.ended) if one.status == "failed"]
    lost = orders.ended[number]
    assert lost.failure_class == "infra"
    back = next(n for n, one in enumerate(orders.ended) if n > number and one.lane == lost.lane)
    assert back > number + 1  # the other lane went on meanwhile
    assert len({one.task_id for one in orders.ended if one.status == "done"}) == 31
    assert "a new worker is started there" in two.notes[0]


def test_of_tasks_that_were_ordered_together_only_the_one_that_ran_is_lost_with_its_worker(
    two: Standing, tmp_path: Path
) -> None:
    kill = f"""
    import os, pathlib, psutil, signal, time
    def main():
        flag = pathlib.Path({str(tmp_path / "killed")!r})
        if not flag.exists():
            flag.touch()
            os.kill(psutil.Process(os.getppid()).ppid(), signal.SIGKILL)
            time.sleep(60)
    """
    fine = [replace(one, index=n) for n, one in enumerate(tasks_of(tmp_path, "def main(): pass", 3, "fine"))]
    [killer] = tasks_of(tmp_path, kill, 1, "killer")
    orders = Orders([fine[0], killer, *fine[1:]], together=4)
    orders.carry_out(two.pool)
    back = {one.task_id: (one.failure_class, one.is_given_back) for one in orders.ended if one.status == "failed"}
    given_back = dict.fromkeys([one.id for one in fine], ("cancelled", True))
    assert back == {killer.id: ("infra", False), **given_back}
    assert sorted(one.task_id for one in orders.ended if one.status == "done") == sorted(back)


def test_after_a_failure_what_was_ordered_with_it_comes_back_and_what_was_done_before_counts(
    two: Standing, tmp_path: Path
) -> None:
    fine = tasks_of(tmp_path, "def main(): pass", 2, "fine")
    [fails] = tasks_of(tmp_path, "def main(): raise ValueError('on purpose')", 1, "fails")
    orders = Orders([fine[0], fails, fine[1]], together=3)
    orders.carry_out(two.pool)
    told = [(one.task_id, one.failure_class) for one in orders.ended]
    assert told == [(fine[0].id, None), (fails.id, "app"), (fine[1].id, "cancelled"), (fine[1].id, None)]


def test_a_sampler_that_dies_costs_the_task_an_attempt_and_no_energy_is_made_up(two: Standing, tmp_path: Path) -> None:
    orders = Orders(tasks_of(tmp_path, TIMED.replace("0.3", "1.5"), 4))
    pid = sampler_process()
    struck: list[int] = []

    def strike() -> None:
        running = [lane.started_s for lane in two.pool.lanes if lane.task is not None]
        if not struck and running and time.monotonic() - max(running) > 0.7:
            struck.append(pid)
            os.kill(pid, signal.SIGKILL)

    orders.carry_out(two.pool, strike)
    assert struck and {one.failure_class for one in orders.ended} == {"infra", None}
    done = results_of(two.folder, [one for one in orders.ended if one.status == "done"])
    assert len({result.key for result in done}) == 4
    for result in done:
        assert result.energy is not None and result.energy.energy_j is not None


def test_an_exclusive_node_runs_one_task_at_a_time_and_its_lanes_take_turns(two: Standing, tmp_path: Path) -> None:
    orders = Orders(tasks_of(tmp_path, TIMED, 6))
    shared = Pool([], setup_in(two.folder), MODEL, Terms(exclusive_node=True))
    shared.lanes.extend(two.pool.lanes)
    by_lane = orders.carry_out(shared)
    assert [len(outcomes) for outcomes in by_lane.values()] == [3, 3]
    metrics = [result.metrics or {} for result in results_of(two.folder, orders.ended)]
    spans = sorted((float(str(one["t0"])), float(str(one["t1"]))) for one in metrics)
    assert all(after[0] >= before[1] for before, after in pairwise(spans))


def test_without_any_lane_a_run_waits_a_minute_for_a_node_and_then_says_what_was_lost(tmp_path: Path) -> None:
    roster = Roster(setup_in(tmp_path), MODEL, Terms())
    assert roster.may_grow(1000.0) and roster.may_grow(1000.0 + NO_LANE_S - 1)
    with pytest.raises(PreFlightError, match=r"no lane is left.*start the same study again"):
        roster.may_grow(1001.0 + NO_LANE_S)


def sampler_process() -> int:
    import psutil

    [pid] = [one.pid for one in psutil.Process().children(recursive=True) if "ray::Sampler" in " ".join(one.cmdline())]
    return pid
