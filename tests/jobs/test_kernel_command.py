"""`joulegrid kernel` and `joulegrid archive` as a person types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from joulegrid.errors import PreFlightError
from joulegrid.jobs.cli import app
from tests.cases.candidates import right, wrong


def joulegrid(place: Path, *words: str) -> Result:
    """Run a command in this process, which has torch imported already, from a folder of its own."""
    os.environ |= {
        "JOULEGRID_DEVICE": "cpu",
        "JOULEGRID_ARTIFACTS": str(place / "artifacts"),
        "JOULEGRID_ARCHIVE": str(place / "results"),
        "JOULEGRID_CACHE": str(place / "cache"),
    }
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def test_a_wrong_kernel_leaves_with_1_its_evidence_and_an_archive_that_failed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    place = tmp_path / "a project"
    place.mkdir()
    words = ("kernel", "verify", "rmsnorm", "-c", str(wrong(place)), "--dtype", "fp32", "--archive")
    traces = place / "artifacts" / "rmsnorm" / "wrong" / "profiler"
    traces.mkdir(parents=True)
    (traces / "trace.json").write_text("{}")
    done = joulegrid(place, *words)
    assert done.exit_code == 1
    assert "✗ wrong_values" in done.stdout and "tiny shape" in done.stdout
    told = json.loads((place / "artifacts" / "rmsnorm" / "wrong" / "metrics.json").read_text())
    assert told["latency"] is None and told["correctness"]["verdict"] == "wrong_values"
    listed = json.loads(joulegrid(place, "archive", "list", "--json").stdout)
    assert [one["verdict"] for one in listed] == ["wrong_values"] and listed[0]["name"].endswith("-failed")
    archived = place / "results" / "archive" / listed[0]["name"] / "points" / "tiny-fp32"
    assert (archived / "profiler" / "trace.json").is_file()
    shown = joulegrid(place, "archive", "show", "latest")
    assert shown.exit_code == 0 and "wrong_values" in shown.stdout
    assert "fast_1.1" in joulegrid(place, "archive", "report").stdout


def test_a_right_kernel_passes_as_json_and_is_labelled_as_wished(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    words = ("kernel", "verify", "rmsnorm", "-c", str(right(tmp_path)), "--dtype", "bf16", "--label", "mine", "--json")
    done = joulegrid(tmp_path, *words)
    assert done.exit_code == 0
    assert [one["verdict"] for one in json.loads(done.stdout)] == ["passed"]
    assert (tmp_path / "artifacts" / "rmsnorm" / "mine" / "verification.json").is_file()


def test_places_that_cannot_be_written_are_told_before_anything_is_judged(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    words = ("kernel", "verify", "rmsnorm", "-c", str(right(tmp_path)))
    (tmp_path / "file").write_text("")
    with pytest.raises(PreFlightError, match=r"the store .*file cannot be used"):
        joulegrid(tmp_path, *words, "--archive", "--store", str(tmp_path / "file"))
    assert not (tmp_path / "artifacts").exists()
    (tmp_path / "artifacts").write_text("")
    with pytest.raises(PreFlightError, match="set JOULEGRID_ARTIFACTS to another folder"):
        joulegrid(tmp_path, *words)


def test_a_profile_shows_operators_and_the_roof(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = joulegrid(tmp_path, "kernel", "profile", "rmsnorm", "--shape", "tiny")
    assert done.exit_code == 0
    assert "aten::rsqrt" in done.stdout and "Roof:" in done.stdout
    assert (tmp_path / "artifacts" / "rmsnorm" / "baseline" / "profiler" / "trace.json").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("kernel", "verify", "rmsnorm", "-c", "x.py"), "x.py is missing"),
        (("kernel", "baseline", "rmsnorm", "--shape", "huge"), "no shape 'huge'"),
        (("archive", "show", "latest"), "holds no archive"),
    ],
)
def test_a_wrong_word_leaves_with_2_and_no_traceback(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    command, surroundings = [sys.executable, "-m", "joulegrid", *words], {**os.environ, "JOULEGRID_DEVICE": "cpu"}
    done = subprocess.run(
        command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert told in done.stderr.replace("\n", " ") and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
