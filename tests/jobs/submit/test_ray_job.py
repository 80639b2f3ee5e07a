"""`ray job submit --working-dir .` from a clean checkout: the results are in a folder, in S3, or the job refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from joulegrid.actors.result import ExperimentResult
from joulegrid.cluster.storage import Store, open_store
from joulegrid.jobs.report.run_results import RunResults
from tests.checkout import copy_checkout
from tests.cluster.s3_servers import BUCKET, environment, moto_server
from tests.jobs.ray_head import RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

VERSION = "0.1.0+checkout"
SMALL = [
    "studies/quickstart.yaml",
    *("--cycles", "1", "--sweep", "pytorch.batch_size=4", "--sweep", "pytorch.precision=fp32"),
    *("--set", "pytorch.min_window_seconds=0.1", "--set", "pytorch.max_new_tokens=4"),
]
WITHOUT_TORCH = ["added.yaml"]
ADDED = "study_name: added\nworkload: script\nscript: {path: added.py}\nresources: {cpus: 1}\n"
"""A study that loads no model: what is asked is where its results go."""

Submit = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def submit(head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Submit:
    """Submit `python -m joulegrid run <study> -o <output>` from a checkout and wait for its end."""
    checkout = copy_checkout(tmp_path_factory.mktemp("checkout") / "joulegrid", VERSION)
    (checkout / "added.yaml").write_text(ADDED)
    (checkout / "added.py").write_text("def main():\n    return {'ran': True}\n")

    def submit(study: list[str], output: str, **variables: str) -> subprocess.CompletedProcess[str]:
        ray = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", head.jobs_address]
        runtime = ["--runtime-env-json", json.dumps({"env_vars": variables})] if variables else []
        run = ["python", "-m", "joulegrid", "run", *study, "-o", output]
        command = [*ray, "--working-dir", ".", *runtime, "--", *run]
        return subprocess.run(
            command, cwd=checkout, env=head.environment, capture_output=True, text=True, timeout=120, check=False
        )

    return submit


def test_a_job_leaves_its_results_in_an_absolute_folder(submit: Submit, tmp_path: Path) -> None:
    done = submit(SMALL, str(tmp_path / "runs"))
    assert done.returncode == 0, done.stdout + done.stderr
    [result] = results_in(str(tmp_path / "runs"))
    assert result.environment.joulegrid == VERSION  # the uploaded sources did the work, not installed ones
    assert (result.metrics or {})["throughput"]["repeats"] >= 1
    assert "1 of 1 task done" in done.stdout


def test_a_job_leaves_its_results_in_s3(submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with moto_server(tmp_path) as endpoint:
        variables = environment(endpoint)
        done = submit(WITHOUT_TORCH, f"s3://{BUCKET}/demo", **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        [result] = results_in(f"s3://{BUCKET}/demo")
        assert result.environment.joulegrid == VERSION
        told = variables["AWS_SECRET_ACCESS_KEY"]
        assert told not in result.model_dump_json()
        assert told not in done.stdout


def test_a_job_refuses_a_folder_that_would_vanish_with_it(submit: Submit) -> None:
    done = submit(WITHOUT_TORCH, "results")
    assert done.returncode == 1
    assert "'results' is relative" in done.stdout
    assert "exit code 1" in done.stdout
    assert "Traceback" not in done.stdout


def results_in(output: str) -> list[ExperimentResult]:
    """Check that one complete run with a report lies there, and return its results."""
    root = open_store(output)
    [run] = root.folders()
    store = root.child(run)
    study = read(store, "study_result.json")
    assert (study["state"], study["counts"]["done"]) == ("done", study["counts"]["n_tasks"])
    assert b"<html" in store.get("report/report.html")
    return [one.result for one in RunResults(store).done()]


def read(store: Store, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(store.get(name))
    return content
