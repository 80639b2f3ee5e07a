"""What a task may write in the place of its report: nothing of it harms the lane, and no lie becomes a number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from joulegrid.actors.lane import Lane
from tests.actors.lanes import open_lane, result_of, script_task

GOOD = '{"status": "done", "metrics": {}, "effective": {}, "entered_ns": 1, '
FORGERIES = {
    "a list": "[1]",
    "a text": '"x"',
    "too deep": "'[' * 200_000",
    "NaN in the work": GOOD + '"headline": null, "marks": [], "work": {"call": NaN}}',
    "negative work": GOOD + '"headline": null, "marks": [], "work": {"call": -5}}',
    "work that is a list": GOOD + '"headline": null, "marks": [], "work": [1]}',
    "a headline without a window": GOOD + '"headline": "fast", "marks": [], "work": {}}',
    "a window in the future": GOOD + '"headline": "w", "work": {"x": 1}, '
    '"marks": [{"name": "w", "t0_ns": 0, "t1_ns": 9e30, "cpu_s": 1, "repeats": 1}]}',
    "a difference of nothing": GOOD + '"headline": null, "marks": [], "work": {}, "differences": [{"count": 1}]}',
    "work of a window that is a list": GOOD + '"headline": null, "marks": [], "work": {}, "work_of": [1]}',
    "an infrastructure fault": '{"status": "failed", "failure": {"failure_class": "infra", "message": "not me"}}',
}


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    with open_lane(tmp_path_factory.mktemp("store")) as opened:
        yield opened


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forged_report_is_a_failed_task(lane: Lane, tmp_path: Path, kind: str) -> None:
    text = FORGERIES[kind] if kind == "too deep" else repr(FORGERIES[kind])
    source = f"""
    import os, pathlib
    def main():
        report = pathlib.Path(os.environ["JOULEGRID_ARTIFACTS"]).parent / "report.json"
        report.write_text({text})
        os._exit(0)
    """
    outcome = lane.run(script_task(tmp_path, source))
    assert (outcome.status, outcome.failure_class) == ("failed", "no_result")


def test_a_pipe_in_the_place_of_the_report_does_not_hang_the_lane(lane: Lane, tmp_path: Path) -> None:
    source = """
    import os, pathlib
    def main():
        os.mkfifo(pathlib.Path(os.environ["JOULEGRID_ARTIFACTS"]).parent / "report.json")
        os._exit(0)
    """
    assert lane.run(script_task(tmp_path, source, timeout_s=5.0)).failure_class == "no_result"


@pytest.mark.parametrize("text", ["return {'x': '\\ud800 bad'}", "raise ValueError('bad \\ud800')"])
def test_text_that_no_file_can_hold_is_kept_escaped(lane: Lane, tmp_path: Path, text: str) -> None:
    result = result_of(lane, lane.run(script_task(tmp_path, f"def main():\n    {text}")))
    assert "\\ud800" in (str(result.metrics) if result.metrics else str(result.failure and result.failure.message))


def test_a_script_that_changed_after_the_plan_is_not_run_under_its_old_key(lane: Lane, tmp_path: Path) -> None:
    task = script_task(tmp_path, "def main():\n    return {}")
    task.fingerprints["script.path"] = "sha256:" + "0" * 64
    outcome = lane.run(task)
    assert outcome.failure_class == "invalid"
    assert "has changed since the study was planned" in (outcome.message or "")


def test_numbers_that_no_table_holds_fail_by_name(lane: Lane, tmp_path: Path) -> None:
    outcome = lane.run(script_task(tmp_path, "def main():\n    return {'big': 10**5000}"))
    assert outcome.failure_class == "app"
    assert "metrics.big" in (outcome.message or "")


def test_a_task_that_removes_the_lanes_folder_harms_only_itself(lane: Lane, tmp_path: Path) -> None:
    source = """
    import os, pathlib, shutil
    def main():
        shutil.rmtree(pathlib.Path(os.environ["JOULEGRID_ARTIFACTS"]).parent.parent)
        return {}
    """
    assert lane.run(script_task(tmp_path, source)).status == "failed"
    assert lane.run(script_task(tmp_path, "def main():\n    return {}")).status == "done"


def test_links_and_odd_names_among_the_artifacts(lane: Lane, tmp_path: Path) -> None:
    source = r"""
    import os
    def main():
        folder = os.fsencode(os.environ["JOULEGRID_ARTIFACTS"])
        open(folder + b"/\xff\xfe", "w").write("odd")
        os.symlink("/etc/passwd", folder + b"/link")
        return {}
    """
    result = result_of(lane, lane.run(script_task(tmp_path, source)))
    assert result.artifacts == ["artifacts/\\xff\\xfe"]


def test_secrets_among_the_metrics_are_masked(lane: Lane, tmp_path: Path) -> None:
    source = "def main():\n    return {'api_key': 'sekrit123', 'note': 'hf_' + 'A' * 34, 'x': 1}"
    result = result_of(lane, lane.run(script_task(tmp_path, source)))
    assert "sekrit123" not in str(result.metrics)
    assert "hf_AAAA" not in str(result.metrics)
    assert result.metrics is not None
    assert result.metrics["x"] == 1
