"""`joulegrid case new | list | show | check` as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from joulegrid.errors import UsageError
from joulegrid.jobs.case_command import new_case
from tests.cases.made_cases import make_case


def joulegrid(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "joulegrid", "case", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_a_new_case_is_listed_and_read(tmp_path: Path) -> None:
    place = tmp_path / "a project"
    place.mkdir()
    made = joulegrid("new", "my-norm", cwd=place)
    assert made.returncode == 0, made.stderr
    assert "name: my-norm " in (place / "cases" / "my-norm" / "manifest.yaml").read_text()
    listed = joulegrid("list", "--json", cwd=place)
    entries = {entry["name"]: entry for entry in json.loads(listed.stdout)}
    assert entries["my-norm"]["kind"] == "module" and entries["my-norm"]["error"] is None
    assert entries["tiny-lm"]["kind"] == "model"
    assert "From ./cases: my-norm." in joulegrid("list", cwd=place).stdout
    elsewhere = joulegrid("new", "other", "--into", "some where", cwd=place)
    assert "joulegrid case check 'some where/other'" in elsewhere.stdout


def test_a_case_is_shown_with_its_module_dtypes_and_shapes(tmp_path: Path) -> None:
    told = joulegrid("show", "softmax", cwd=tmp_path).stdout
    for said in ("softmax/model.py", "fp32, bf16", "scaled:", "handwritten/softmax.py"):
        assert said in told
    assert json.loads(joulegrid("show", "softmax", "--json", cwd=tmp_path).stdout)["kind"] == "module"


@pytest.mark.parametrize("name", ["9norm", "", "a b", "../x", "TEMPLATE"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="case new"):
        new_case(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_case_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    folder = new_case("norm", tmp_path)
    (folder / "model.py").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        new_case("norm", tmp_path)
    assert (folder / "model.py").read_text() == "mine"


def test_a_refused_case_leaves_with_1_and_says_which_mutant_survived(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    kind = {"args": [{"shape": ["rows", "width"], "distributions": ["uniform"]}]}
    make_case(tmp_path / "cases", inputs=kind, dtypes=["fp32"])
    done = joulegrid("check", "made", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "survived: inputs_trusted in fp32" in done.stdout and "REFUSED" in done.stdout


def test_a_case_that_cannot_be_used_leaves_with_2_and_no_traceback(tmp_path: Path) -> None:
    done = joulegrid("check", "no-such-case", cwd=tmp_path)
    assert done.returncode == 2
    assert "'no-such-case' was not found" in done.stderr and "Traceback" not in done.stderr
    (tmp_path / "cases" / "bare").mkdir(parents=True)
    assert "'bare' is a folder without manifest.yaml" in joulegrid("check", "bare", cwd=tmp_path).stderr
    assert "see `joulegrid case check --help`" in joulegrid("check", cwd=tmp_path).stderr
