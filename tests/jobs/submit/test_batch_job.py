"""`joulegrid submit --slurm` up to sbatch: the file that is printed or written, models that are fetched, complaints."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from joulegrid.cases.models import CASES
from joulegrid.cluster.slurm import Allocation
from joulegrid.errors import UsageError
from joulegrid.jobs.commands import RunFlags, StudyFlags
from joulegrid.jobs.submit.batch_job import SlurmTarget
from joulegrid.jobs.submit.ray_job import RayTarget
from joulegrid.jobs.submit.submit import Targets, submit_command
from tests.jobs.studies import write_script
from tests.jobs.submit.hub_server import COMMIT, hub_server

ROOT = Path(__file__).parents[3]
HUB_STUDY = "model: owner/small\npytorch: {batch_size: 1}\n"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of a script, in a folder with a blank."""
    folder = tmp_path / "my study"
    folder.mkdir()
    write_script(folder)
    file = folder / "it's.yaml"
    file.write_text("study_name: it\nworkload: script\nscript: {path: script.py}\nresources: {cpus: 1}\n")
    return file


def printed(capsys: pytest.CaptureFixture[str], study: Path, flags: StudyFlags, target: SlurmTarget) -> str:
    assert submit_command(study, flags, RunFlags(), Targets(RayTarget(""), target, by_slurm=True)) == 0
    return capsys.readouterr().out


def command_in(text: str) -> list[str]:
    """The words of the command that the first node runs."""
    [line] = [line for line in text.split("\n") if " -m joulegrid run " in line]
    return shlex.split(line.removesuffix(' --address "$address" &'))


def test_print_shows_the_file_and_writes_nothing(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = SlurmTarget(Allocation(nodes=2, time="1-00"), ("module load 'cuda/13'",), only_print=True)
    output = str(tmp_path / "all runs")
    flags = StudyFlags(("script.globals.x=a b",), ("resources.cpus=1,2",), cycles=3, output=output)
    text = printed(capsys, study, flags, target)
    words = command_in(text)
    assert words[:5] == [sys.executable, "-m", "joulegrid", "run", str(study)]
    assert words[5:] == [
        *("--output", output),
        *("--set", "script.globals.x=a b", "--sweep", "resources.cpus=1,2", "--cycles", "3", "--yes"),
    ]
    assert "\nmodule load 'cuda/13'\n" in text
    assert "export HF_HUB_OFFLINE=1" in text
    assert f"export PYTHONPATH={ROOT}" in text  # this checkout is not installed
    assert not (tmp_path / "all runs").exists()


def test_a_relative_output_becomes_absolute_and_a_bucket_stays(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = command_in(printed(capsys, study, StudyFlags(output="runs"), SlurmTarget(only_print=True)))
    assert words[words.index("--output") + 1] == str(Path("runs").absolute())
    text = printed(capsys, study, StudyFlags(output="s3://bucket/runs"), SlurmTarget(only_print=True))
    assert command_in(text)[6] == "s3://bucket/runs"
    assert f"--output={shlex.quote(str(Path('slurm').absolute()))}/" in text.replace("'", "")


def test_the_persons_own_defaults_travel_as_flags(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "config.yaml"
    own.write_text("output: s3://mine/runs\npower: {source: model, period_s: 0.1}\ncarbon: {zone: FR}\n")
    os.environ["JOULEGRID_CONFIG"] = str(own)
    words = command_in(printed(capsys, study, StudyFlags(), SlurmTarget(only_print=True)))
    assert words[5:] == [
        *("--output", "s3://mine/runs", "--set", 'power.source="model"', "--set", "power.period_s=0.1"),
        *("--set", 'execution.carbon.zone="FR"', "--yes"),
    ]
    os.environ["JOULEGRID_CONFIG"] = str(tmp_path / "absent")
    sets = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    again = printed(capsys, study, StudyFlags(tuple(sets)), SlurmTarget(only_print=True))
    assert "execution.carbon.zone=" in again  # the other side reads them


@pytest.mark.parametrize(
    ("ray", "slurm", "by_slurm"),
    [
        (RayTarget(""), SlurmTarget(), False),
        (RayTarget("http://a:8265"), SlurmTarget(), True),
        (RayTarget("", follow=True), SlurmTarget(), True),
        (RayTarget("http://a:8265"), SlurmTarget(Allocation(nodes=2)), False),
        (RayTarget("http://a:8265"), SlurmTarget(only_print=True), False),
    ],
)
def test_flags_of_both_places_or_of_none_are_usage_errors(
    study: Path, ray: RayTarget, slurm: SlurmTarget, by_slurm: bool
) -> None:
    with pytest.raises(UsageError):
        submit_command(study, StudyFlags(), RunFlags(), Targets(ray, slurm, by_slurm))


def test_without_sbatch_the_file_is_written_and_named(study: Path, tmp_path: Path) -> None:
    done = submit(study, "-o", str(tmp_path / "runs"), PATH=str(tmp_path))
    assert done.returncode == 1
    assert "sbatch was not found" in done.stderr
    [file] = (tmp_path / "runs" / "slurm").glob("it-*.sbatch")
    assert str(file) in done.stderr


def test_a_hub_model_is_fetched_before_the_job_is_submitted(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(f'#!/bin/sh\ncp "$2" "{taken}"\necho "4711;cluster"\n')
    sbatch.chmod(0o755)
    model = tmp_path / "small"
    shutil.copytree(CASES / "tiny-lm", model, ignore=shutil.ignore_patterns("*.py", "__pycache__", "*.md"))
    (model / "pytorch_model.bin").write_text("the same weights once more")
    study = tmp_path / "hub.yaml"
    study.write_text(HUB_STUDY)
    with hub_server("owner/small", model) as endpoint:
        path = f"{sbatch.parent}{os.pathsep}{os.environ['PATH']}"
        place = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "PATH": path}
        done = submit(study, "-o", str(tmp_path / "runs"), "--json", **place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["job_id"] == "4711"
    snapshot = tmp_path / "hf" / "hub" / "models--owner--small" / "snapshots" / COMMIT
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.name for file in snapshot.iterdir()}
    assert not (snapshot / "pytorch_model.bin").exists()
    assert f"export HF_HUB_CACHE={tmp_path / 'hf' / 'hub'}" in taken.read_text()
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hf" / "hub")}
    planned = joulegrid("plan", str(study), "--points", "--json", **offline)  # as a node does it
    assert planned.returncode == 0, planned.stderr


def test_a_hub_model_that_cannot_be_fetched_stops_the_submission(tmp_path: Path) -> None:
    study = tmp_path / "hub.yaml"
    study.write_text(HUB_STUDY)
    (tmp_path / "empty").mkdir()
    with hub_server("another/model", tmp_path / "empty") as endpoint:
        done = submit(study, "-o", str(tmp_path / "runs"), HF_ENDPOINT=endpoint, HF_HOME=str(tmp_path / "hf"))
    assert done.returncode == 2
    assert "'owner/small'" in done.stderr
    assert not (tmp_path / "runs").exists()


def submit(study: Path, *flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return joulegrid("submit", str(study), "--slurm", *flags, **variables)


def joulegrid(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own: the hub's library reads its settings when it is imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "joulegrid", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
