"""`joulegrid kernel` and `joulegrid archive` as a person types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases.candidates import right, wrong


def joulegrid(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "joulegrid", *words]
    surroundings = {**os.environ, "JOULEGRID_DEVICE": "cpu"}
    return subprocess.run(command, cwd=cwd, env=surroundings, capture_output=True, text=True, timeout=150, check=False)


def test_a_wrong_kernel_leaves_with_1_its_evidence_and_an_archive_that_failed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    place = tmp_path / "a project"
    place.mkdir()
    wrong(place)
    done = joulegrid("kernel", "verify", "rmsnorm", "-c", "wrong.py", "--dtype", "fp32", "--archive", cwd=place)
    assert done.returncode == 1, done.stderr
    assert "✗ wrong_values" in done.stdout and "row_l2" in done.stdout
    told = json.loads((place / "artifacts" / "rmsnorm" / "wrong" / "metrics.json").read_text())
    assert told["latency"] is None and told["correctness"]["verdict"] == "wrong_values"
    listed = json.loads(joulegrid("archive", "list", "--json", cwd=place).stdout)
    assert [one["verdict"] for one in listed] == ["wrong_values"] and listed[0]["name"].endswith("-failed")
    shown = joulegrid("archive", "show", "latest", cwd=place)
    assert shown.returncode == 0 and "wrong_values" in shown.stdout


def test_a_right_kernel_passes_as_json_and_is_labelled_as_wished(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    right(tmp_path)
    words = ("kernel", "verify", "rmsnorm", "-c", "right.py", "--dtype", "bf16", "--label", "mine", "--json")
    done = joulegrid(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [one["verdict"] for one in json.loads(done.stdout)] == ["passed"]
    assert (tmp_path / "artifacts" / "rmsnorm" / "mine" / "verification.json").is_file()


def test_a_profile_shows_operators_and_the_roof(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = joulegrid("kernel", "profile", "rmsnorm", "--shape", "tiny", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "aten::rsqrt" in done.stdout and "Roof:" in done.stdout
    assert (tmp_path / "artifacts" / "rmsnorm" / "baseline" / "profiler" / "trace.json").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("kernel", "verify", "no-such-case", "-c", "x.py"), "'no-such-case' was not found"),
        (("kernel", "verify", "rmsnorm", "-c", "x.py"), "x.py is missing"),
        (("kernel", "baseline", "rmsnorm", "--shape", "huge"), "no shape 'huge'"),
        (("kernel", "verify", "rmsnorm"), "--candidate"),
        (("archive", "show", "latest"), "holds no archive"),
    ],
)
def test_a_wrong_word_leaves_with_2_and_no_traceback(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = joulegrid(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr.replace("\n", " ") and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
