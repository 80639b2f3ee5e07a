"""The cluster launcher's file, against Ray's own schema."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import yaml

CLUSTER_FILE = Path(__file__).resolve().parents[2] / "ray-cluster.yaml"


def test_the_cluster_file_is_valid_for_rays_launcher() -> None:
    schema = json.loads(files("ray").joinpath("autoscaler", "ray-schema.json").read_text())
    content = yaml.safe_load(CLUSTER_FILE.read_text())
    jsonschema.validate(content, schema)
    assert content["head_node_type"] in content["available_node_types"]
    assert content["available_node_types"]["head"]["resources"] == {"CPU": 0}
