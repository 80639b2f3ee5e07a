"""The manifest for KubeRay: its form, and that what it says to Ray and to Joulegrid is understood there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from tests.cluster.kuberay import RayJob
from tests.cluster.s3_servers import HOST, environment

ROOT = Path(__file__).resolve().parents[2]
CONTENT: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "kuberay-rayjob.yaml").read_text())


def job() -> RayJob:
    return RayJob.model_validate(CONTENT)


def test_the_manifest_has_the_form_of_a_ray_job() -> None:
    assert job().spec.shutdown_after_job_finishes
    assert bool(job().metadata.name) != bool(job().metadata.generate_name)


@pytest.mark.parametrize("field", ["activeDeadlineSecond", "entryPoint", "workingDir"])
def test_a_misspelt_field_is_found(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        RayJob.model_validate(CONTENT | {"spec": {**CONTENT["spec"], field: "1"}})


def test_ray_start_knows_every_parameter_and_no_task_runs_on_the_head() -> None:
    from ray.scripts.scripts import start

    known = {name.removeprefix("--") for option in start.params for name in option.opts}
    cluster = job().spec.ray_cluster_spec
    for group in (cluster.head_group_spec, *cluster.worker_group_specs):
        assert set(group.ray_start_params) <= known
    assert cluster.head_group_spec.ray_start_params["num-cpus"] == "0"


def test_ray_takes_the_runtime_environment() -> None:
    from ray.runtime_env import RuntimeEnv

    assert RuntimeEnv(**yaml.safe_load(job().spec.runtime_env_yaml)).env_vars()


def test_the_cluster_has_the_ray_of_the_constraints() -> None:
    pinned = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert job().spec.ray_cluster_spec.ray_version == pinned[1]


def test_joulegrid_understands_the_entrypoint_and_the_image_has_its_study() -> None:
    program, verb, study, *flags = shlex.split(job().spec.entrypoint)
    assert (program, verb) == ("joulegrid", "run")
    assert {"--retry-failed", "--yes"} <= set(flags)
    here = study.replace("/home/joulegrid/", f"{ROOT}/")
    command = [sys.executable, "-m", "joulegrid", "run", here, *flags, "--dry-run"]
    # Nobody is asked: where the bucket is cannot be known here, and trying it for half a minute proves nothing.
    nowhere = os.environ | environment(f"http://{HOST}:1") | {"AWS_MAX_ATTEMPTS": "1"}
    done = subprocess.run(command, env=nowhere, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "s3://" in flags[flags.index("--output") + 1]


def test_the_port_that_is_scraped_is_the_one_that_is_served_to_other_machines() -> None:
    environment = yaml.safe_load(job().spec.runtime_env_yaml)["env_vars"]
    served, host = environment["JOULEGRID_METRICS_PORT"], environment["JOULEGRID_METRICS_HOST"]
    pod = job().spec.ray_cluster_spec.head_group_spec.template
    assert pod.metadata.annotations["prometheus.io/port"] == served
    assert [port.container_port for port in pod.spec.containers[0].ports] == [int(served)]
    assert host == "0.0.0.0"


def test_gpus_are_asked_for_and_every_secret_is_told_of() -> None:
    cluster = job().spec.ray_cluster_spec
    workers = [group.template.spec.containers[0] for group in cluster.worker_group_specs]
    assert all(worker.resources.limits["nvidia.com/gpu"] for worker in workers)
    told = (ROOT / "docs" / "cluster.md").read_text()
    for container in (*workers, cluster.head_group_spec.template.spec.containers[0]):
        assert all(source.secret_ref.name in told for source in container.env_from)
