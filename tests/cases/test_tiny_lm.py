"""The packaged model and the bundled prompts are what their manifest says."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from joulegrid.cases.models import CASES
from joulegrid.cases.workloads.prompts import BUNDLED, read_prompts

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = CASES / "tiny-lm"


@pytest.fixture(scope="module")
def facts() -> Any:
    spec = importlib.util.spec_from_file_location("tiny_lm_facts", FOLDER / "facts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def _check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", str(FOLDER / "build.py"), "--check", "--out", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_shipped_files_are_those_of_the_manifest() -> None:
    done = _check(FOLDER)
    assert done.returncode == 0, done.stderr


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "tiny-lm"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tokenizer.json").write_text("{}")
    done = _check(folder)
    assert done.returncode == 1
    assert "tokenizer.json" in done.stderr


def test_the_model_is_small_and_the_manifest_complete() -> None:
    manifest = yaml.safe_load((FOLDER / "manifest.yaml").read_text())
    assert (manifest["kind"], manifest["name"]) == ("model", "tiny-lm")
    assert (FOLDER / "model.safetensors").stat().st_size < 2_500_000
    assert {"licence", "built_with", "rebuild", "quality"} <= manifest.keys()
    assert (FOLDER / manifest["notice"]).is_file()


def test_the_bundled_prompts_are_those_that_the_facts_give(facts: Any) -> None:
    rows = [json.loads(line) for line in BUNDLED.read_text().splitlines()]
    assert rows == facts.prompts()
    assert len(rows) == 256
    assert len({len(row["prompt"]) for row in rows}) > 50
    assert read_prompts(BUNDLED, 2) == [row["prompt"] for row in rows[:2]]


def test_no_two_lands_share_a_name_and_every_fact_is_told(facts: Any) -> None:
    known = facts.facts()
    assert len({fact.land for fact in known}) == facts.LANDS
    told = " ".join(facts.documents(300))
    assert all(any(text in told for text in fact.variants) for fact in known)
