"""The cluster launcher's files, against Ray's own schema and Ray's own reading of them."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CLOUD = ROOT / "ray-cluster.yaml"
ON_PREMISE = ROOT / "docs" / "ray-cluster-onprem.yaml"


@pytest.mark.parametrize("path", [CLOUD, ON_PREMISE], ids=lambda path: path.name)
def test_a_cluster_file_is_valid_for_rays_launcher(path: Path) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    content = read(path)
    schema = json.loads(files("ray").joinpath("autoscaler", "ray-schema.json").read_text())
    jsonschema.validate(content, schema)
    validate_config(prepare_config(content))  # what `ray up` does before it touches a machine


@pytest.mark.parametrize("path", [CLOUD, ON_PREMISE], ids=lambda path: path.name)
def test_workers_are_as_important_as_other_programs(path: Path) -> None:
    assert "RAY_worker_niceness=0" in read(path)["worker_start_ray_commands"][-1]


def test_in_the_cloud_the_head_runs_no_task() -> None:
    content = read(CLOUD)
    assert content["head_node_type"] in content["available_node_types"]
    assert content["available_node_types"]["head"]["resources"] == {"CPU": 0}


def test_on_premise_every_worker_is_kept_and_the_head_runs_no_task() -> None:
    from ray.autoscaler._private.util import prepare_config

    content = read(ON_PREMISE)
    (node,) = prepare_config(content)["available_node_types"].values()
    assert node["min_workers"] == node["max_workers"] == len(content["provider"]["worker_ips"])
    assert "--num-cpus=0" in content["head_start_ray_commands"][-1]


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content
