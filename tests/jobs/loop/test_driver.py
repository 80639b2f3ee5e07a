"""Studies end to end on a real local Ray: what is run, what is kept, what a second start does."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from joulegrid.cluster.folder import FolderStore
from joulegrid.cluster.storage import open_store
from joulegrid.errors import PreFlightError, RunHeldError, StudyDrained, UsageError
from joulegrid.jobs.loop.continuing import Choice
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.report.assembly import assemble
from joulegrid.jobs.state.lease import Lease
from joulegrid.jobs.status.status import read_status
from joulegrid.jobs.study.load import make_study
from joulegrid.jobs.study_result import StudyResult
from tests.jobs.studies import TWO_LANES, run, study_of

pytestmark = pytest.mark.usefixtures("ray_here")


def test_every_experiment_runs_in_every_cycle_and_the_run_is_all_there(tmp_path: Path) -> None:
    result = run(study_of(tmp_path, resources=TWO_LANES, execution={"n_cycles": 2}), report=True)
    assert result.state == "done"
    assert (result.counts.n_tasks, result.counts.done, result.n_experiments) == (6, 6, 3)
    doubles = {(one.index, one.cycle): one.metrics["double"] for one in result.iter_results() if one.metrics}
    assert doubles == {(index, cycle): 2 * (index + 1) for index in range(3) for cycle in range(2)}
    folder = Path(result.run)
    for name in (
        "study.yaml",
        "plan.json",
        "manifest.json",
        "summary.parquet",
        "study_result.json",
        "report/report.html",
    ):
        assert (folder / name).is_file(), name
    assert {lane.lane.lane.split("/")[1] for lane in result.iter_results()} == {"cpu0", "cpu1"}


def test_the_manifest_names_every_task_with_its_state(tmp_path: Path) -> None:
    manifest = _manifest(run(study_of(tmp_path)))
    assert manifest["state"] == "done"
    assert manifest["counts"] == {"n_tasks": 3, "done": 3, "failed": 0, "running": 0, "skipped": 0, "pending": 0}
    assert [task["status"] for task in manifest["tasks"]] == ["done"] * 3


def test_a_failing_task_is_a_result_and_the_others_go_on(tmp_path: Path) -> None:
    result = run(study_of(tmp_path, "x = 0\ndef main():\n    return {'inverse': 1 / x}", [1, 0, 2]))
    assert (result.counts.done, result.counts.failed) == (2, 1)
    assert result.failures[0].failure_class == "app"
    assert "division by zero" in result.failures[0].message


def test_fail_fast_stops_after_the_first_failure_and_the_next_start_goes_on(tmp_path: Path) -> None:
    study = study_of(tmp_path, "x = 0\ndef main():\n    return {'inverse': 1 / x}", [0, 1, 2, 4])
    first = run({**study, "execution": {"fail_fast": True}})
    assert (first.state, first.counts.failed, first.counts.pending) == ("stopped", 1, 3)
    assert any(note.startswith("fail_fast: ") and "started again goes on" in note for note in first.notes)
    assert any("fail_fast" in note for note in read_status(open_store(first.run)).notes)
    second = run(study)
    assert second.run == first.run
    assert (second.counts.done, second.counts.failed, second.counts.pending) == (3, 1, 0)


def test_a_finished_run_is_not_touched_again_a_new_one_begins(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    assert run(study).run != run(study).run


def test_more_cycles_continue_the_run_and_only_the_new_ones_are_run(tmp_path: Path) -> None:
    study = study_of(tmp_path, "import os\nx = 0\ndef main():\n    return {'pid': os.getpid(), 'nice': os.nice(0)}")
    first = run(study)
    assert {one.metrics["nice"] for one in first.iter_results() if one.metrics} == {0}, "Ray's own niceness is 15"
    pids = {one.key: one.metrics["pid"] for one in first.iter_results() if one.metrics}
    second = run({**study, "execution": {"n_cycles": 2}})
    assert second.run == first.run
    again = {one.key: one.metrics["pid"] for one in second.iter_results() if one.metrics and one.cycle == 0}
    assert again == pids
    assert second.counts.done == 6


def test_fresh_begins_a_new_run_beside_an_unfinished_one(tmp_path: Path) -> None:
    study = study_of(
        tmp_path, "x = 0\ndef main():\n    return {'inverse': 1 / x}", [0, 1], execution={"fail_fast": True}
    )
    first = run(study)
    assert run(study, Choice(fresh=True)).run != first.run


def test_retry_failed_tries_only_the_failed_tasks_again(tmp_path: Path) -> None:
    flag = tmp_path / "mended"
    source = (
        f"from pathlib import Path\nx = 0\ndef main():\n    assert x or Path({str(flag)!r}).exists()\n    return {{}}"
    )
    study = study_of(tmp_path, source, [0, 1])
    first = run(study)
    assert first.counts.failed == 1
    flag.touch()
    second = run(study, Choice(retry_failed=True))
    assert (second.run, second.counts.done, second.counts.failed) == (first.run, 2, 0)
    assert {one.attempt for one in second.iter_results()} == {0, 1}


def test_a_changed_script_is_refused_while_a_run_of_the_old_one_is_unfinished(tmp_path: Path) -> None:
    failing = study_of(tmp_path, "x = 0\ndef main():\n    assert x\n    return {}", [0, 1])
    first = run({**failing, "execution": {"fail_fast": True}})
    changed = study_of(tmp_path, "x = 0\ndef main():\n    return {}", [0, 1])
    with pytest.raises(UsageError, match=r"(?s)1 of 2 tasks left.*other contents than before.*--fresh"):
        run(changed)
    second = run(changed, Choice(fresh=True))
    assert first.run != second.run
    assert second.counts.done == 2


def test_a_changed_sweep_is_refused_with_the_difference_and_extend_runs_only_what_is_new(tmp_path: Path) -> None:
    source = (
        "import os\nx = 0\ndef main():\n    assert x != 1 or not os.environ.get('N')\n    return {'pid': os.getpid()}"
    )
    first = run(study_of(tmp_path, source, [2, 3]))
    pids = {one.key: one.metrics["pid"] for one in first.iter_results() if one.metrics}
    more = study_of(tmp_path, source, [5, 2, 4, 3])
    second = run(more, Choice(extend=True))
    assert second.run == first.run
    assert {one.key: one.metrics["pid"] for one in second.iter_results() if one.metrics and one.key in pids} == pids
    assert (second.counts.n_tasks, second.counts.done) == (4, 4)
    third = run({**more, "execution": {"n_cycles": 2}})
    assert (third.run, third.counts.done) == (first.run, 8)
    with pytest.raises(UsageError, match=r"--extend adds experiments and takes none away.*'x=2'"):
        run(study_of(tmp_path, source, [3, 4, 5, 6]), Choice(extend=True))


def test_spawn_and_zygote_give_the_same_results_under_the_same_keys(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    forked = run(study)
    spawned = run({**study, "execution": {"isolation": "spawn"}})
    assert forked.study_design_hash == spawned.study_design_hash
    assert _metrics(forked) == _metrics(spawned)
    assert {one.lane.isolation for one in spawned.iter_results()} == {"spawn"}


def test_a_run_that_somebody_drives_is_refused_and_says_by_whom(tmp_path: Path) -> None:
    study = study_of(tmp_path, "x = 0\ndef main():\n    assert x\n    return {}", [0, 1, 2])
    first = run({**study, "execution": {"fail_fast": True}})
    lease = Lease.take(FolderStore(Path(first.run)))
    with pytest.raises(RunHeldError, match=f"process {lease.pid}"):
        run(study)


def test_a_lost_worker_is_replaced_and_its_task_is_tried_again(tmp_path: Path) -> None:
    flag = tmp_path / "killed"
    source = f"""
    import os, pathlib, psutil, signal, time
    x = 0
    def main():
        flag = pathlib.Path({str(flag)!r})
        if x == 2 and not flag.exists():
            flag.touch()
            os.kill(psutil.Process(os.getppid()).ppid(), signal.SIGKILL)  # the zygote's parent is the worker
            time.sleep(30)
        return {{}}
    """
    result = run(study_of(tmp_path, source, resources=TWO_LANES))
    assert flag.exists()
    assert (result.counts.done, result.counts.failed) == (3, 0)
    assert sorted(one.attempt for one in result.iter_results()) == [0, 0, 1]


def test_gaps_are_kept_between_the_tasks_of_a_lane(tmp_path: Path) -> None:
    source = "import time\nx = 0\ndef main():\n    return {'at': time.monotonic()}"
    study = study_of(tmp_path, source, [1, 2, 3], execution={"config_gap_seconds": 1.0})
    times = sorted(one.metrics["at"] for one in run(study).iter_results() if one.metrics)
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(times))


def test_resources_that_no_node_has_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(PreFlightError, match="needs 64 GPUs"):
        run(study_of(tmp_path, resources={"gpus": 64}))


def test_a_missing_script_is_refused_before_a_run_is_made(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    Path(study["script"]["path"]).unlink()
    with pytest.raises(UsageError, match="does not exist; give a Python file"):
        run(study)
    assert not (tmp_path / "out").exists()


def test_secrets_in_the_study_are_written_nowhere(tmp_path: Path) -> None:
    study = study_of(tmp_path, "x = 0\ntoken = ''\ndef main():\n    print('key', token)\n    return {}", [1])
    study["script"]["globals"] = {"token": "hf_abcdefghijklmnopqrstuvwxyz012345"}
    folder = Path(run(study).run)
    kept = [path for path in folder.rglob("*") if path.is_file() and b"hf_abcdefghij" in path.read_bytes()]
    assert kept == []


def test_a_study_and_its_output_may_lie_in_a_folder_with_spaces(tmp_path: Path) -> None:
    folder = tmp_path / "a folder with späces"
    folder.mkdir()
    assert run(study_of(folder, xs=[1])).counts.done == 1


def _manifest(result: StudyResult) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((Path(result.run) / "manifest.json").read_text())
    return manifest


def _metrics(result: StudyResult) -> dict[tuple[str, int], Any]:
    return {(one.key, one.cycle): one.metrics for one in result.iter_results()}


def test_a_damaged_ledger_is_made_good_from_the_markers_and_the_run_says_so(tmp_path: Path) -> None:
    study = study_of(tmp_path, "x = 0\ndef main():\n    assert x\n    return {}", [1, 0, 2])
    folder = Path(run({**study, "execution": {"fail_fast": True}}).run)
    (folder / "log" / "notes.jsonl").write_text("not ours")
    next(folder.glob("snap/*")).unlink()
    segment = max(folder.glob("log/0*.jsonl"))
    segment.write_bytes(segment.read_bytes()[:-20])
    result = run(study)
    assert (result.run, result.counts.done, result.counts.failed) == (str(folder), 2, 1)
    assert any(segment.name in note for note in result.notes)
    assert {one.attempt for one in result.iter_results() if one.status == "done"} == {0}


def test_a_torn_marker_or_lease_is_no_reason_to_stop_and_the_damaged_task_is_run_again(tmp_path: Path) -> None:
    study = study_of(tmp_path, xs=[1, 2])
    folder = Path(run(study).run)
    for told in (*folder.glob("log/*"), *folder.glob("snap/*")):
        told.unlink()
    next(folder.glob("commit/*/*")).write_text("")
    (folder / "lease").write_text('{"owner": "x", "host": "y", "pid": 1, "renewed_s": "then"}')
    (folder / "manifest.json").write_text("[]")
    result = run(study)
    assert result.run == str(folder)
    assert (result.counts.done, result.counts.damaged) == (2, 0)
    assert len(list(folder.glob("commit/*/*.2"))) == 1


def test_a_result_with_other_bytes_than_were_committed_is_told_and_run_again(tmp_path: Path) -> None:
    study = study_of(tmp_path, xs=[1, 2])
    folder = Path(run(study).run)
    damaged = next(folder.glob("results/*/*/result.json"))
    damaged.write_bytes(damaged.read_bytes().replace(b'"double"', b'"treble"'))
    assert assemble(FolderStore(folder)).counts.damaged == 1
    again = run(study, Choice(retry_failed=True))
    assert (again.run, again.counts.done, again.counts.damaged) == (str(folder), 2, 0)
    assert any("does not match its marker" in note for note in again.notes)
    assert sorted(one.attempt for one in again.iter_results()) == [0, 1]


def test_a_refused_extension_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    failing = "x = 0\ndef main():\n    assert x\n    return {}"
    study = study_of(tmp_path, failing, [0, 1, 2])
    first = run({**study, "execution": {"fail_fast": True}})
    with pytest.raises(UsageError, match="takes none away"):
        run(study_of(tmp_path, failing, [1, 2, 3]), Choice(extend=True))
    changed = study_of(tmp_path, failing + "  # changed", [0, 1, 2, 3])
    with pytest.raises(UsageError, match="other contents than then"):
        run(changed, Choice(extend=True))
    again = run(study_of(tmp_path, failing, [0, 1, 2]))
    assert (again.run, again.counts.done, again.counts.failed) == (first.run, 2, 1)


def test_fewer_cycles_than_an_unfinished_run_has_are_refused(tmp_path: Path) -> None:
    study = study_of(tmp_path, "x = 0\ndef main():\n    assert x < 2\n    return {}", [1, 2, 3])
    run({**study, "execution": {"n_cycles": 2, "fail_fast": True, "cycle_order": "sequential"}})
    with pytest.raises(UsageError, match=r"has 2 cycles, but execution\.n_cycles is 1"):
        run(study)


def test_fresh_and_extend_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give one"):
        run(study_of(tmp_path), Choice(fresh=True, extend=True))


def test_a_run_without_enough_time_for_a_task_is_drained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEGRID_DEADLINE", str(time.time() + 5))
    with pytest.raises(StudyDrained, match="3 tasks left"):
        run(study_of(tmp_path))


def test_what_fits_no_lane_is_not_tried_on_one(tmp_path: Path) -> None:
    study = study_of(tmp_path, xs=[1])
    del study["resources"]
    study["sweep"]["resources.cpus"] = [1, 4096]
    result = run(study)
    assert (result.counts.done, result.counts.failed) == (1, 1)


def test_a_whole_log_that_is_gone_makes_nothing_run_again(tmp_path: Path) -> None:
    study = study_of(tmp_path, "x = 0\ndef main():\n    assert x\n    return {}", [1, 0, 2])
    folder = Path(run({**study, "execution": {"fail_fast": True}}).run)
    for told in (*folder.glob("log/*"), *folder.glob("snap/*")):
        told.unlink()
    result = run(study)
    assert (result.counts.done, result.counts.failed) == (2, 1)
    assert len(list(folder.glob("results/*/x-1_*"))) == 1


def test_an_empty_section_changes_no_plan(tmp_path: Path) -> None:
    study = study_of(tmp_path, "x = y = 0\ndef main():\n    return {}", [1, 2])
    study["sweep"]["script.globals.y"] = [5, 6]
    plain = Plan(make_study(study))
    study["script"] = {**study["script"], "globals": {}}
    empty = Plan(make_study(study))
    assert [(point.key, point.label) for point in empty] == [(point.key, point.label) for point in plain]
    assert len({point.key for point in empty}) == 4
