"""`joulegrid status`: a run that is driven, left alone, killed, finished or damaged, read from its store."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from joulegrid.actors.result import Task
from joulegrid.cluster.folder import FolderStore
from joulegrid.cluster.storage import Store, open_store
from joulegrid.jobs.state.lease import Lease
from joulegrid.jobs.state.ledger import Ledger
from joulegrid.jobs.status.status import read_status
from joulegrid.jobs.status.status_view import runs_at, status_line, status_lines
from tests.cluster.s3_servers import BUCKET, environment, moto_server
from tests.jobs.status.test_metrics import outcome
from tests.jobs.studies import run, study_of
from tests.test_imports import COMMAND, HEAVY, loaded_by

NAME = "tiny_20260101-000000-abcdef"


@dataclass
class Driven:
    """A run that this process drives, without tasks that really run."""

    store: Store
    n: int
    ledger: Ledger = field(init=False)
    lease: Lease = field(init=False)

    def __post_init__(self) -> None:
        design = {"study_name": "tiny", "study_design_hash": "0123456789abcdef", "n_experiments": self.n}
        self.store.put("plan.json", json.dumps(design).encode())
        self.lease, self.ledger = Lease.take(self.store), Ledger.open(self.store)
        self.tell()

    def tell(self, state: str = "running", duration_s: float = 8.0) -> None:
        """Write the manifest."""
        counts = self.ledger.states.counts(self.n, 1)
        head = {"state": state, "n_experiments": self.n, "n_cycles": 1, "counts": counts, "duration_s": duration_s}
        self.store.put("manifest.json", json.dumps({**head, "unfenced": False}).encode())
        self.ledger.flush()

    def start(self, index: int) -> None:
        self.ledger.started(Task(index, 0, 0, f"{index:016x}", "", {}, {}, {}, {}))

    def end(self, index: int, **changed: Any) -> None:
        self.ledger.ended(outcome(index=index, task_id=f"{index:016x}-c0", **changed))

    def close(self, state: str) -> None:
        self.tell(state)
        self.lease.release(self.store)

    def die(self) -> None:
        """Leave the lease as a process that is gone leaves it."""
        self.lease.pid = 2**22 + 1  # above every process id
        self.store.put("lease", json.dumps({**vars(self.lease)}).encode())


def driven(folder: Path, n: int = 6) -> Driven:
    return Driven(open_store(folder / "out" / NAME, durable=False), n)


def status(*arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "joulegrid", "status", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | env, check=False)


def test_a_run_that_is_driven_says_who_does_what_is_left_and_for_how_long(tmp_path: Path) -> None:
    one = driven(tmp_path)
    assert read_status(one.store).time_left_s is None
    one.start(0)
    one.start(1)
    one.end(0)
    one.end(2, status="failed", failure_class="app", energy_j=None, provenance=None)
    one.tell()
    told = read_status(one.store)
    assert (told.state, told.n_tasks, told.done, told.failed, told.running, told.pending) == ("running", 6, 1, 1, 1, 3)
    assert (told.failures, told.energy_j, told.mean_task_s) == ({"app": 1}, {"modelled": 5.0}, 2.0)
    assert told.time_left_s == 2.0 * 4  # four tasks of two seconds, one at a time
    assert told.driver
    assert (told.driver.pid, told.driver.alive) == (os.getpid(), True)
    one.tell(duration_s=6_000.0)
    assert read_status(one.store).time_left_s == 6_000.0 / 2 * 4  # by now the pace of the whole run is known better


def test_what_a_killed_driver_left_running_is_done_where_it_has_a_marker_and_else_pending(tmp_path: Path) -> None:
    one = driven(tmp_path)
    for index in range(3):
        one.start(index)
    one.end(0)
    one.tell()
    one.store.create(f"commit/00/{1:016x}-c0", b"{}")
    one.die()
    told = read_status(one.store)
    assert (told.state, told.done, told.running, told.pending) == ("abandoned", 2, 0, 4)
    assert told.time_left_s is None
    assert "is gone since" in "\n".join(status_lines([told]))


def test_a_driver_that_died_before_its_first_manifest_leaves_unknown_what_nobody_wrote(tmp_path: Path) -> None:
    one = driven(tmp_path)
    one.store.delete("manifest.json")
    one.die()
    told = read_status(one.store)
    assert (told.n_tasks, told.pending, told.done) == (None, None, 0)
    assert "0 of an unknown number of tasks done" in status_line(told)
    one.store.put("resolved.yaml", yaml.safe_dump({"execution": {"n_cycles": 2}}).encode())
    assert read_status(one.store).n_tasks == 12


def test_a_run_that_gave_up_says_what_it_skipped_and_why(tmp_path: Path) -> None:
    one = driven(tmp_path)
    one.end(0)
    one.ledger.note("the study: 10 failures in a row: the probe failed too, its rest is skipped")
    one.ledger.gave_up("10 failures in a row")
    one.close("stopped")
    told = read_status(one.store)
    assert (told.state, told.done, told.skipped, told.pending) == ("stopped", 1, 5, 0)
    assert "its rest is skipped" in "\n".join(status_lines([told]))


def test_a_changed_part_of_the_log_is_told_and_the_rest_still_counts(tmp_path: Path) -> None:
    one = driven(tmp_path)
    one.end(0)
    one.tell()
    one.end(1)
    one.close("interrupted")
    segment = tmp_path / "out" / NAME / "log" / "000001-000000001.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b"done", b"gone"))
    told = read_status(one.store)
    assert told.damaged_segments == ["log/000001-000000001.jsonl"]
    assert told.done == 1


def test_a_damaged_result_that_was_run_again_is_sound_and_a_missing_marker_is_not(tmp_path: Path) -> None:
    one = driven(tmp_path)
    for index in range(2):
        one.end(index)
    one.close("interrupted")
    for name, data in (("", b"torn"), (".2", b"whole")):
        told = {"path": f"results/00/x{name}", "sha256": hashlib.sha256(b"whole").hexdigest()}
        one.store.create(f"commit/00/{0:016x}-c0{name}", json.dumps(told).encode())
        one.store.create(f"results/00/x{name}/result.json", data)
    assert read_status(one.store).damaged is None
    damaged = read_status(one.store, verify=True).damaged
    assert damaged
    assert [found.reason for found in damaged] == ["1 of the tasks that are done have no marker"]


SPOILT = [
    b"",
    b"{",
    b"[]",
    b"7",
    b"{}",
    b'{"counts": 3, "n_cycles": "x", "duration_s": "y", "unfenced": 1, "state": []}',
]


@pytest.mark.parametrize("name", ["manifest.json", "plan.json", "lease", "resolved.yaml", "snap/000001"])
@pytest.mark.parametrize("content", SPOILT, ids=repr)
def test_a_spoilt_file_costs_what_it_told_and_never_the_answer(tmp_path: Path, name: str, content: bytes) -> None:
    one = driven(tmp_path)
    one.end(0)
    one.close("interrupted")
    one.ledger.snapshot()
    one.store.put(name, content)
    told = read_status(one.store)
    assert told.done == 1
    assert told.n_tasks in (6, None)
    assert status_lines([told])


class Watched(FolderStore):
    """Notes what is read of a folder."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, durable=False)
        self.read: list[str] = []

    def get(self, path: str) -> bytes:
        self.read.append(path)
        return super().get(path)

    def list(self, prefix: str = "") -> Iterator[str]:
        self.read.append(prefix)
        return super().list(prefix)


def test_a_run_of_100_000_tasks_is_read_from_snapshot_and_log_alone(tmp_path: Path) -> None:
    n, folder = 100_000, tmp_path / "out" / NAME
    one = Driven(FolderStore(folder, durable=False), n)
    ended = {"event": "ended", "cycle": 0, "status": "done", "path": "p", "duration_s": 1.0}
    for index in range(n - 500):
        one.ledger.states.apply({**ended, "index": index, "energy_j": 1.0, "provenance": "modelled"})
    one.ledger.snapshot()
    for index in range(n - 500, n - 400):
        one.end(index)
    one.tell()
    watched = Watched(folder)
    began_s = time.monotonic()
    told = read_status(watched)
    assert time.monotonic() - began_s < 10  # 0.1 s where it was written
    assert (told.done, told.pending) == (n - 400, 400)
    assert told.energy_j["modelled"] == n - 500 + 500.0
    assert not [path for path in watched.read if path.startswith(("results", "commit"))]
    assert len(watched.read) < 20


def test_a_run_in_a_bucket_is_read_and_so_are_all_below_a_prefix(tmp_path: Path) -> None:
    with moto_server(tmp_path) as endpoint:
        os.environ.update(environment(endpoint))
        for name in (NAME, NAME.replace("tiny", "other")):
            one = Driven(open_store(f"s3://{BUCKET}/demo/{name}"), 2)
            one.end(0)
            one.close("interrupted")
        assert [found.url.rpartition("/")[2] for found in runs_at(f"s3://{BUCKET}/demo")] == sorted(
            (NAME, NAME.replace("tiny", "other"))
        )
        told = status(f"s3://{BUCKET}/demo/{NAME}", "--json")
        assert json.loads(told.stdout)["done"] == 1, told.stderr
        nothing = status(f"s3://{BUCKET}/nothing")
    assert (nothing.returncode, nothing.stdout) == (2, "")


def test_several_runs_get_a_line_each_and_a_wrong_path_ends_with_code_2(tmp_path: Path) -> None:
    for name in ("tiny_1", "tiny_2"):
        Driven(open_store(tmp_path / "out" / name, durable=False), 3).close("interrupted")
    told = status(tmp_path / "out")
    assert told.returncode == 0
    assert told.stdout.splitlines() == [f"{name}: interrupted, 0 of 3 done, 3 pending" for name in ("tiny_1", "tiny_2")]
    assert [one["pending"] for one in json.loads(status(tmp_path / "out", "--json").stdout)["runs"]] == [3, 3]
    for wrong in (tmp_path / "nowhere", tmp_path, __file__):
        told = status(wrong)
        assert (told.returncode, told.stdout) == (2, "")
        assert "give a run's folder" in told.stderr
        assert "Traceback" not in told.stderr


def test_status_loads_neither_ray_nor_torch(tmp_path: Path) -> None:
    Driven(open_store(tmp_path / NAME, durable=False), 3).close("done")
    assert loaded_by(COMMAND, "status", str(tmp_path / NAME)) & HEAVY == set()


def test_follow_says_each_change_in_a_line_and_ends_with_the_run(tmp_path: Path) -> None:
    one = driven(tmp_path)
    command = [sys.executable, "-m", "joulegrid", "status", str(tmp_path / "out"), "--follow"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == f"{NAME}: running, 0 of 6 done, 6 pending\n"
        one.end(0)
        one.close("interrupted")
        rest, _ = process.communicate(timeout=30)
        assert rest == f"{NAME}: interrupted, 1 of 6 done, 5 pending, 5 J (modelled) in headline windows\n"
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def test_follow_draws_over_its_lines_in_a_terminal(tmp_path: Path) -> None:
    one = driven(tmp_path)
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "joulegrid", "status", str(tmp_path / "out"), "--follow"]
    process = subprocess.Popen(command, stdout=slave, env=os.environ | {"TERM": "xterm", "COLUMNS": "100"})
    try:
        os.close(slave)
        text = _read_until(master, "6 pending")
        one.end(0)
        one.close("interrupted")
        text += _read_until(master, "5 pending")
        assert process.wait(timeout=30) == 0
        assert "\x1b[1A" in text  # up one line
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _read_until(descriptor: int, wanted: str) -> str:
    text = ""
    while wanted not in text:
        text += os.read(descriptor, 4096).decode()
    return text


@pytest.mark.usefixtures("ray_here")
def test_a_finished_run_is_verified_and_a_changed_result_is_found(tmp_path: Path) -> None:
    folder = Path(run(study_of(tmp_path)).run)
    told = status(folder, "--verify")
    assert (told.returncode, told.stderr) == (0, "")
    assert "every committed result has the bytes that were committed" in told.stdout
    found = read_status(open_store(folder))
    assert (found.state, found.done, found.running, found.pending) == ("done", 3, 0, 0)
    assert list(found.energy_j) == ["modelled"]
    changed, gone = list(folder.glob("results/*/*/result.json"))[:2]
    changed.write_text(changed.read_text() + "\n")
    gone.unlink()
    told = status(folder, "--verify", "--json")
    assert told.returncode == 1
    damaged = {one["reason"].rpartition("result.json ")[2] for one in json.loads(told.stdout)["damaged"]}
    assert damaged == {"has other bytes than were committed", "is not there"}


@pytest.mark.usefixtures("ray_here")
def test_a_run_whose_driver_was_killed_says_so_and_its_numbers_add_up(tmp_path: Path) -> None:
    import ray

    study = study_of(tmp_path, "import time\nx = 0\ndef main():\n    time.sleep(0.5)\n    return {}", list(range(40)))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    address = str(ray.get_runtime_context().gcs_address)
    command = [sys.executable, "-m", "joulegrid", "run", str(tmp_path / "study.yaml"), "--address", address, "-q"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 60
        while not (told := _told(tmp_path / "out")) or told["done"] < 3:
            assert time.monotonic() < limit
            time.sleep(0.2)
        assert (told["state"], told["driver"]["pid"]) == ("running", process.pid)
        assert told["time_left_s"] > 0
    finally:
        process.kill()
        process.wait()
    (after,) = json.loads(status(tmp_path / "out", "--json").stdout)["runs"]
    assert (after["state"], after["running"], after["time_left_s"]) == ("abandoned", 0, None)
    assert after["done"] >= told["done"]
    assert sum(after[name] for name in ("done", "failed", "skipped", "running", "pending")) == after["n_tasks"] == 40


def _told(output: Path) -> dict[str, Any] | None:
    found = [path for path in output.glob("*") if (path / "plan.json").exists()]
    return read_status(open_store(found[0])).model_dump() if found else None
