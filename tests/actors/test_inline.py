"""Tasks inside the worker itself: same results and markers, no process, and honest words about what is counted."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulegrid.actors.commit import marker_path
from joulegrid.actors.lane import Lane
from tests.actors.lanes import open_lane, result_of, script_task


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    with open_lane(tmp_path_factory.mktemp("store"), "inline") as opened:
        yield opened


def test_a_task_runs_in_the_worker_and_its_result_and_marker_are_as_ever(lane: Lane, tmp_path: Path) -> None:
    task = script_task(tmp_path, "import os\ndef main():\n    print('hello')\n    return {'pid': os.getpid()}")
    outcome = lane.run(task)
    result = result_of(lane, outcome)
    assert result.metrics == {"pid": os.getpid()}
    assert (result.lane.isolation, result.status, result.log_tail) == ("inline", "done", "hello\n")
    marker = json.loads(lane.store.get(marker_path(task)))
    assert marker["sha256"] == hashlib.sha256(lane.store.get(f"{outcome.path}/result.json")).hexdigest()
    assert list(lane.store.list(outcome.path)) == [f"{outcome.path}/result.json"]
    assert result.timing.duration_s < 5
    assert result.max_rss_bytes is None
    assert result.environment == lane.facts.environment


def test_modelled_joules_say_that_the_whole_worker_is_counted(lane: Lane, tmp_path: Path) -> None:
    source = "import time\ndef main():\n    end = time.process_time() + 0.1\n    while time.process_time() < end: pass"
    result = result_of(lane, lane.run(script_task(tmp_path, source)))
    assert result.energy is not None
    assert result.energy.energy_j is not None
    assert result.energy.energy_j > 0.1 * 4
    assert "the whole worker process" in (result.energy.interval or "")
    (window,) = result.windows or []
    assert window.other_cpu_s is None


def test_what_a_task_starts_and_waits_for_is_counted(lane: Lane, tmp_path: Path) -> None:
    burn = "import time; end = time.process_time() + 0.3\\nwhile time.process_time() < end: pass"
    source = f"import subprocess, sys\ndef main():\n    subprocess.run([sys.executable, '-c', '''{burn}'''])"
    (window,) = result_of(lane, lane.run(script_task(tmp_path, source))).windows or []
    assert window.cpu_s > 0.3


@pytest.mark.parametrize(
    ("source", "failure_class", "message"),
    [
        ("def main():\n    raise ValueError('no such layer')", "app", "no such layer"),
        ("import sys\ndef main():\n    sys.exit(3)", "app", "sys.exit(3)"),
        ("def main():\n    raise MemoryError('too much')", "oom_host", "too much"),
        ("def main():\n    return {'x': object()}", "app", "cannot be kept"),
    ],
)
def test_a_task_that_raises_is_a_failed_result(
    lane: Lane, tmp_path: Path, source: str, failure_class: str, message: str
) -> None:
    outcome = lane.run(script_task(tmp_path, source))
    assert outcome.failure_class == failure_class
    assert message in (outcome.message or "")
    assert lane.run(script_task(tmp_path, "def main():\n    return {}", name="after")).status == "done"


def test_path_arguments_main_and_folder_are_put_back(lane: Lane, tmp_path: Path) -> None:
    before = (list(sys.path), list(sys.argv), sys.modules["__main__"], Path.cwd(), sys.stdout)
    task = script_task(tmp_path, "import os\nos.chdir('/')\nprint(__name__)", name="whole_file")
    assert "__main__" in result_of(lane, lane.run(task)).log_tail
    lane.run(script_task(tmp_path, "def main():\n    return {}", name="with_entry"))
    assert (list(sys.path), list(sys.argv), sys.modules["__main__"], Path.cwd(), sys.stdout) == before
    assert "with_entry" not in sys.modules


def test_each_task_gets_its_own_values_though_the_file_is_compiled_once(lane: Lane, tmp_path: Path) -> None:
    source = "x = 0\nseen = []\ndef main():\n    seen.append(x)\n    return {'seen': str(seen)}"
    for value in (1, 2, 3):
        task = script_task(tmp_path, source, name="values")
        task.experiment["script"]["globals"] = {"x": value}
        assert result_of(lane, lane.run(task)).metrics == {"seen": f"[{value}]"}


def test_a_changed_file_is_not_served_from_memory(lane: Lane, tmp_path: Path) -> None:
    first = script_task(tmp_path, "def main():\n    return {'x': 1}", name="edited")
    assert result_of(lane, lane.run(first)).metrics == {"x": 1}
    second = script_task(tmp_path, "def main():\n    return {'x': 20}", name="edited")
    assert result_of(lane, lane.run(second)).metrics == {"x": 20}


def test_artifacts_are_kept_and_do_not_reach_the_next_task(lane: Lane, tmp_path: Path) -> None:
    write = "Path(os.environ['JOULEGRID_ARTIFACTS'], 'a.txt').write_text('kept')"
    outcome = lane.run(script_task(tmp_path, f"import os\nfrom pathlib import Path\ndef main():\n    {write}"))
    assert lane.store.get(f"{outcome.path}/artifacts/a.txt") == b"kept"
    after = lane.run(script_task(tmp_path, "def main():\n    return {}", name="after"))
    assert result_of(lane, after).artifacts == []


def test_a_lane_does_hundreds_of_tasks_a_second(tmp_path: Path) -> None:
    with open_lane(tmp_path / "store", "inline") as lane:
        tasks = [script_task(tmp_path, "def main():\n    return {}", name="tiny") for _ in range(200)]
        began_s = time.monotonic()
        outcomes = [lane.run(task) for task in tasks]
        assert time.monotonic() - began_s < 60  # 0.6 s on a quiet machine
    assert {outcome.status for outcome in outcomes} == {"done"}
