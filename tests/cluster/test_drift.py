"""Which changes of an environment are told, and how."""

from __future__ import annotations

import json

from joulegrid.cluster.drift import differences, fingerprint
from joulegrid.cluster.environment import Environment, Git
from joulegrid.cluster.node import Cpu, Gpu


def cpu(model: str = "EPYC 9654") -> Cpu:
    facts = dict.fromkeys(Cpu.model_fields)
    return Cpu.model_validate({**facts, "model": model})


def gpu(name: str | None = "NVIDIA H200", driver: str = "570.86") -> Gpu:
    return Gpu.model_validate({**dict.fromkeys(Gpu.model_fields), "name": name, "driver": driver})


def environment(**changed: object) -> Environment:
    facts = {
        "hostname": "node1",
        "os": "Debian",
        "kernel": "6.1",
        "python": "3.11.2",
        "joulegrid": "0.3.0",
        "joulegrid_commit": "a" * 40,
        "cpu": cpu(),
        "memory_bytes": 2**36,
        "gpus": [gpu(), gpu()],
        "cuda_runtime": "12.8",
        "packages": {"torch": "2.11.0", "rich": "13.0"},
        "git": Git(commit="b" * 40, branch="main", dirty=False),
    }
    return Environment.model_validate({**facts, **changed})


def told(**changed: object) -> list[str]:
    return differences(fingerprint(environment()), fingerprint(environment(**changed)))


def test_what_does_not_matter_is_no_difference() -> None:
    assert told(hostname="node2", memory_bytes=None, packages={"torch": "2.11.0", "rich": "14.0"}, gpus=[gpu()]) == []


def test_each_change_that_matters_is_told_in_one_line() -> None:
    assert told(packages={"torch": "2.13.0"}) == ["torch: 2.11.0 → 2.13.0"]
    assert told(packages={}) == ["torch: 2.11.0 → not installed"]
    assert told(gpus=[gpu(driver="580.1")]) == ["driver: 570.86 → 580.1"]
    assert told(gpus=[gpu("NVIDIA A100")]) == ["GPU: NVIDIA H200 → NVIDIA A100"]
    assert told(cuda_runtime="13.0") == ["CUDA runtime: 12.8 → 13.0"]
    assert told(cpu=cpu("Xeon 8480")) == ["CPU: EPYC 9654 → Xeon 8480"]
    assert told(joulegrid="0.4.0") == ["joulegrid: 0.3.0 → 0.4.0"]
    assert told(joulegrid_commit="a" * 40 + "+") == ["joulegrid commit: aaaaaaaaa → aaaaaaaaa+"]
    assert told(git=Git(commit="c" * 40, branch=None, dirty=True)) == [
        "git commit: bbbbbbbbb → ccccccccc",
        "git, local changes: no → yes",
    ]
    assert told(git=None) == ["git commit: bbbbbbbbb → unknown", "git, local changes: no → unknown"]


def test_on_a_lane_without_a_gpu_neither_gpus_nor_driver_nor_cuda_count() -> None:
    one = fingerprint(environment(), gpus=[])
    assert differences(one, fingerprint(environment(gpus=[gpu("A100", "1")], cuda_runtime=None), gpus=[])) == []
    assert differences(one, fingerprint(environment(), gpus=["A100"]))[0] == "GPU: none → A100"


def test_a_fingerprint_survives_json_and_a_missing_name_is_unknown() -> None:
    one = fingerprint(environment())
    assert differences(json.loads(json.dumps(one)), one) == []
    older = {name: value for name, value in one.items() if name != "cpu"}
    assert differences(older, one) == ["CPU: unknown → EPYC 9654"]
