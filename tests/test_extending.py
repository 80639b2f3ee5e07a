"""`docs/extending.md` does what it says: its workload and its case are added to a copy of the sources and run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.checkout import ROOT, copy_checkout

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(found["language"], found["text"]) for found in FENCE.finditer(PAGE)]


def shown(language: str, start: str) -> str:
    """The page's block of a language that begins so."""
    [text] = [text for kind, text in BLOCKS if kind == language and text.startswith(start)]
    return text


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources with the page's workload, its lines in the registry, and its case."""
    copy = copy_checkout(tmp_path_factory.mktemp("extended") / "joulegrid")
    (copy / "cases" / "workloads" / "matmul.py").write_text(shown("python", '"""The workload `matmul`'))
    _add_lines(copy / "cases" / "registry.py", shown("diff", "+from"))
    case = copy / "cases" / "my-lm"
    shutil.copytree(copy / "cases" / "tiny-lm", case, ignore=shutil.ignore_patterns("*.py", "LICENSE*", "NOTICE"))
    (case / "manifest.yaml").write_text(shown("yaml", "# manifest.yaml"))
    for name in ("matmul.yaml", "my-lm.yaml"):
        (copy / name).write_text(shown("yaml", f"# {name}"))
    return copy


def test_a_workload_is_one_file_and_its_lines_in_the_registry(checkout: Path) -> None:
    planned = _command(checkout, "plan", "matmul.yaml", "--json")
    assert (planned["n_experiments"], planned["n_points"]) == (3, 4)
    assert planned["skipped"][0]["reason"] == "size 60: bf16 wants a multiple of 8"


def test_a_case_is_a_folder_that_a_study_names(checkout: Path) -> None:
    assert _command(checkout, "plan", "my-lm.yaml", "--json")["n_experiments"] == 2


@pytest.mark.cluster
def test_the_new_workload_runs_with_energy_and_a_report(checkout: Path, tmp_path: Path) -> None:
    result = _command(checkout, "run", "matmul.yaml", "--quiet", "--json", "-o", str(tmp_path / "runs"))
    assert result["counts"]["done"] == 3
    assert result["failures"] == []
    for row in result["summary"]:
        assert row["metrics"]["tflops"]["mean"] > 0
        assert row["energy_per"]["product"]["mean"] > 0
        assert row["provenance"] in ("measured", "modelled")
    assert (Path(result["run"]) / "report" / "report.html").is_file()


def _add_lines(path: Path, diff: str) -> None:
    """Put each added line of the diff behind the nearest line above it, or first among the imports of workloads."""
    lines = path.read_text(encoding="utf-8").splitlines()
    place = next(number for number, line in enumerate(lines) if "cases.workloads.inference" in line)
    for line in diff.splitlines():
        if line.startswith("+"):
            place += 1
            lines.insert(place, line[1:])
        else:
            place = lines.index(line[1:])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _command(checkout: Path, *arguments: str) -> dict[str, Any]:
    """Run `joulegrid …` of the copy and return what it prints as JSON."""
    here = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-m", "joulegrid", *arguments]
    done = subprocess.run(command, cwd=checkout, env=here, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    return value
