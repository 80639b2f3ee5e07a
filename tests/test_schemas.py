"""The schemas in `docs/schema/` are those of the code, and what the documentation shows of studies is so."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.jobs.report.results import Made, done

ROOT = Path(__file__).parents[1]
SCHEMAS = ROOT / "docs" / "schema"
PAGE = ROOT / "docs" / "study.md"
NAMES = ["ExperimentResult.json", "StudyResult.json", "StudyConfig.json"]
FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# (?P<name>[\w-]+\.(yaml|py))\n")
DESIGN = re.compile(r"^design +[0-9a-f]{16}$", re.MULTILINE)


def generated() -> dict[str, dict[str, Any]]:
    """What `python docs/make_schemas.py` would write now."""
    spec = importlib.util.spec_from_file_location("make_schemas", ROOT / "docs" / "make_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    schemas: dict[str, dict[str, Any]] = module.schemas()
    return schemas


def kept(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    return schema


def blocks(language: str) -> list[str]:
    """The page's fenced blocks of a language."""
    return [
        found["text"] for found in FENCE.finditer(PAGE.read_text(encoding="utf-8")) if found["language"] == language
    ]


def named(language: str) -> dict[str, str]:
    """The page's blocks that begin with a file name, by that name."""
    return {found["name"]: text for text in blocks(language) if (found := NAMED.match(text))}


def commands() -> list[tuple[str, str]]:
    """The page's commands, each with the output that is shown."""
    pairs = [part.partition("\n") for text in blocks("console") for part in text.split("$ ") if part]
    return [(command, output) for command, _, output in pairs]


def test_the_schemas_are_those_of_the_code() -> None:
    now = generated()
    assert sorted(path.name for path in SCHEMAS.iterdir()) == sorted(now) == sorted(NAMES)
    for name, schema in now.items():
        assert kept(name) == schema, f"{name} is out of date: python docs/make_schemas.py"


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_json_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(kept(name))


def test_a_result_satisfies_its_schema() -> None:
    jsonschema.validate(json.loads(done(Made()).model_dump_json()), kept("ExperimentResult.json"))


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.name)
def test_a_packaged_study_satisfies_the_schema(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), kept("StudyConfig.json"))


@pytest.mark.parametrize("name", sorted(named("yaml")))
def test_a_documented_study_satisfies_the_schema(name: str) -> None:
    jsonschema.validate(yaml.safe_load(named("yaml")[name]), kept("StudyConfig.json"))


@pytest.mark.parametrize("study", [{"modell": "x"}, {"execution": {"cycles": 3}}, {"pytorch": {"precision": "fp8"}}])
def test_the_schema_refuses_what_the_command_refuses(study: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(study, kept("StudyConfig.json"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file that the page shows."""
    place = tmp_path_factory.mktemp("documented")
    for name, text in {**named("yaml"), **named("python")}.items():
        (place / name).write_text(text, encoding="utf-8")
    return place


@pytest.mark.parametrize(("command", "output"), commands(), ids=[command for command, _ in commands()])
def test_a_documented_plan_is_what_the_command_prints(folder: Path, command: str, output: str) -> None:
    program, *arguments = shlex.split(command)
    assert (program, arguments[0]) == ("joulegrid", "plan")
    here = os.environ | {"PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-m", "joulegrid", *arguments]
    printed = subprocess.run(run, cwd=folder, env=here, capture_output=True, text=True, timeout=60, check=False)
    assert printed.returncode == 0, printed.stderr
    assert DESIGN.sub("design", printed.stdout).rstrip() == DESIGN.sub("design", output).rstrip()
