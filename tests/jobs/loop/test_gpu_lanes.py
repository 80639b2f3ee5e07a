"""GPU lanes on a node whose NVML is simulated: one lane a GPU, pinned by UUID, joules from its counter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

from tests.cluster.nvml_simulated.build import simulated_nvml, uuid_of
from tests.jobs.studies import study_of

SOURCE = """
import os, time
x = 0
def main():
    time.sleep(1.5)
    return {"visible": os.environ["CUDA_VISIBLE_DEVICES"]}
"""


def test_each_gpu_is_a_lane_pinned_by_uuid_and_its_energy_is_read_from_its_counter(tmp_path: Path) -> None:
    env = simulated_nvml(tmp_path, gpus=2, idle_w=100.0)
    study = study_of(tmp_path, SOURCE, [1, 2, 3, 4], resources={}, execution={"baseline": None})
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    command = [sys.executable, "-m", "joulegrid", "run", str(path), "--json", "--quiet"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    run = Path(json.loads(done.stdout)["run"])
    results = [json.loads(file.read_text()) for file in run.glob("results/*/*/result.json")]
    assert {result["lane"]["lane"].split("/")[1] for result in results} == {"gpu0", "gpu1"}
    for result in results:
        (uuid,) = result["lane"]["gpu_uuids"]
        assert uuid in (uuid_of(0), uuid_of(1))
        assert result["metrics"]["visible"] == uuid
        assert result["lane"]["device"] == "cuda"
        assert result["gpu_bytes_left"] == 0
        (window,) = result["windows"]
        energy = window["energy"]
        assert (energy["source"], energy["scope"]) == ("counter", "gpu_board")
        assert energy["low_j"] <= 100.0 * window["seconds"] <= energy["high_j"]
        beside = {(one["scope"], one["provenance"]) for one in window["beside"]}
        assert ("cpu_package", "modelled") in beside
        assert {gpu["uuid"] for gpu in result["environment"]["gpus"]} == {uuid_of(0), uuid_of(1)}


def test_an_experiment_without_gpus_sees_none_even_on_a_node_that_has_some(tmp_path: Path) -> None:
    env = simulated_nvml(tmp_path, gpus=1, idle_w=100.0)
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study_of(tmp_path, SOURCE, [1], resources={"gpus": 0})))
    command = [sys.executable, "-m", "joulegrid", "run", str(path), "--json", "--quiet"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    (file,) = Path(json.loads(done.stdout)["run"]).glob("results/*/*/result.json")
    result = json.loads(file.read_text())
    assert result["metrics"]["visible"] == ""
    assert (result["lane"]["device"], result["lane"]["gpu_uuids"]) == ("cpu", [])
