"""The ledger on a real folder: what a start knows after any end, and what never counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegrid.actors.outcome import Outcome
from joulegrid.actors.result import Task
from joulegrid.cluster.folder import FolderStore
from joulegrid.errors import RunHeldError
from joulegrid.jobs.state.ledger import Ledger, read_states
from joulegrid.jobs.state.segments import replay
from joulegrid.jobs.state.states import At, States, TaskState


def store_in(folder: Path) -> FolderStore:
    return FolderStore(folder, durable=False)


def task(index: int, cycle: int = 0, attempt: int = 0) -> Task:
    return Task(index, cycle, attempt, f"{index:016x}", f"x={index}", {}, {}, {}, {})


def outcome(index: int, cycle: int = 0, attempt: int = 0, failure: str | None = None) -> Outcome:
    status = "failed" if failure else "done"
    known = {"failure_class": failure, "message": "because" if failure else None, "energy_j": None if failure else 2.0}
    place = (f"{index:016x}-c{cycle}", index, cycle, attempt, status, "node/cpu0", "results/a", None, 1, 0.5)
    return Outcome(*place, provenance="modelled", **known)  # type: ignore[arg-type]


def done(ledger: Ledger, *indices: int) -> None:
    for index in indices:
        ledger.started(task(index))
        ledger.ended(outcome(index))


def test_a_later_driver_knows_what_an_earlier_one_committed(tmp_path: Path) -> None:
    first = Ledger.open(store_in(tmp_path))
    first.reserve([(0, 0), (1, 0), (2, 0), (3, 0)])
    done(first, 0)
    first.ended(outcome(1, failure="app"))
    first.started(task(2))
    first.note("something happened")
    first.flush()
    second = Ledger.open(store_in(tmp_path))
    counts = {"n_tasks": 5, "done": 1, "failed": 1, "running": 0, "skipped": 0, "pending": 3}
    assert second.states.counts(5, 1) == counts
    assert second.states.open == {(2, 0), (3, 0)}
    assert second.states.next_attempt((2, 0)) == 1
    assert second.states.next_attempt((3, 0)) == 0
    assert (second.states.failures(), second.states.joules) == ({"app": 1}, {"modelled": 2.0})
    assert second.states.notes == ["something happened"]


def test_what_a_superseded_driver_writes_later_never_counts(tmp_path: Path) -> None:
    first = Ledger.open(store_in(tmp_path))
    done(first, 0)
    first.flush()
    second = Ledger.open(store_in(tmp_path))
    done(first, 1)
    first.flush()
    first.snapshot()
    done(second, 2)
    second.flush()
    states = read_states(store_in(tmp_path))
    assert [states.status((index, 0)) for index in range(3)] == ["done", "pending", "done"]
    assert Ledger.open(store_in(tmp_path)).states.counts(3, 1)["done"] == 2


def test_two_drivers_that_take_the_same_epoch_are_told_apart(tmp_path: Path) -> None:
    first = Ledger.open(store_in(tmp_path))
    twin = Ledger(first.store, first.epoch, States(), [], {})
    twin.note("mine")
    with pytest.raises(RunHeldError, match="another driver has taken over"):
        twin.flush()


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_snapshots_change_nothing_that_a_replay_finds(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("run")
    for _ in range(data.draw(st.integers(1, 3))):
        ledger = Ledger.open(store_in(folder))
        for _ in range(data.draw(st.integers(0, 12))):
            _step(ledger, data)
        ledger.flush()
    with_snapshots = replay(store_in(folder))
    for snapshot in folder.glob("snap/*"):
        snapshot.unlink()
    assert replay(store_in(folder)).states.pack() == with_snapshots.states.pack()


def _step(ledger: Ledger, data: st.DataObject) -> None:
    index, kind = data.draw(st.integers(0, 4)), data.draw(st.sampled_from("sefrknpx"))
    if kind == "s":
        ledger.started(task(index))
    elif kind in "ef":
        ledger.ended(outcome(index, failure="timeout" if kind == "f" else None))
    elif kind == "r":
        ledger.reserve([(index, 0), (index, 1)])
    elif kind == "k":
        ledger.skipped((index, 0), 1, "given up")
    elif kind == "n":
        ledger.note(str(index))
    elif kind == "p":
        ledger.snapshot()
    else:
        ledger.flush()


@pytest.mark.parametrize("harm", ["truncated", "flipped", "gone"])
def test_a_harmed_segment_is_named_and_nothing_of_it_is_believed(tmp_path: Path, harm: str) -> None:
    ledger = Ledger.open(store_in(tmp_path))
    done(ledger, 0)
    ledger.flush()
    done(ledger, 1)
    ledger.flush()
    done(ledger, 2)
    ledger.flush()
    segment = sorted(tmp_path.glob("log/*"))[-2]
    if harm == "truncated":
        segment.write_bytes(segment.read_bytes()[:-30])
    elif harm == "flipped":
        segment.write_bytes(segment.read_bytes().replace(b'"index": 1', b'"index": 7'))
    else:
        segment.unlink()
    found = replay(store_in(tmp_path))
    assert found.damaged == [f"log/{segment.name}"]
    assert [found.states.status((index, 0)) for index in (0, 1, 2, 7)] == ["done", "pending", "done", "pending"]


def test_a_harmed_snapshot_is_passed_over(tmp_path: Path) -> None:
    ledger = Ledger.open(store_in(tmp_path))
    done(ledger, *range(20))
    ledger.snapshot()
    snapshot = next(tmp_path.glob("snap/*"))
    snapshot.write_bytes(snapshot.read_bytes()[:-5])
    assert replay(store_in(tmp_path)).states.counts(20, 1)["done"] == 20


def test_an_epoch_is_not_taken_twice_although_its_log_is_gone(tmp_path: Path) -> None:
    ledger = Ledger.open(store_in(tmp_path))
    done(ledger, 0)
    ledger.snapshot()
    for segment in tmp_path.glob("log/*"):
        segment.unlink()
    again = Ledger.open(store_in(tmp_path))
    assert (again.epoch, again.states.counts(1, 1)["done"]) == (2, 1)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2), st.sampled_from(["done", "failed", "running"]))))
def test_the_states_always_sum_to_all_tasks(steps: list[tuple[int, int, str]]) -> None:
    states = States()
    newest: dict[At, str] = {}
    for index, cycle, status in steps:
        states.force((index, cycle), TaskState(status, failure_class="crash" if status == "failed" else None))
        newest[index, cycle] = status
    counts = states.counts(7, 3)
    assert sum(count for name, count in counts.items() if name != "n_tasks") == counts["n_tasks"] == 21
    assert counts["done"] == list(newest.values()).count("done")
    assert dict(states.failures()) == ({"crash": counts["failed"]} if counts["failed"] else {})
    assert sorted(states.with_status("failed")) == sorted(at for at, status in newest.items() if status == "failed")


def test_the_rest_of_a_study_that_was_given_up_is_skipped_until_the_next_driver(tmp_path: Path) -> None:
    ledger = Ledger.open(store_in(tmp_path))
    done(ledger, 0)
    ledger.gave_up("the study: 20 failures in a row")
    ledger.flush()
    assert read_states(store_in(tmp_path)).counts(5, 1)["skipped"] == 4
    assert Ledger.open(store_in(tmp_path)).states.counts(5, 1)["pending"] == 4


def test_a_hundred_thousand_tasks_take_one_byte_each() -> None:
    states = States()
    for index in range(100_000):
        states.force((index, 0), TaskState("done", task_id="0" * 19, path="results/a"))
    assert len(states.details) == 10_000
    assert sum(len(row) for row in states._codes) < 200_000
