"""`.env` of the repository: found where it should be, and weaker than the shell."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from joulegrid.cases.lab_settings import lab_settings
from joulegrid.envfile import NAMED, read_env_file
from joulegrid.errors import UsageError


@pytest.fixture(autouse=True)
def _no_file_named() -> None:
    os.environ.pop(NAMED, None)  # the suite's own setting; every test's environment is put back


def repository(folder: Path, text: str) -> Path:
    (folder / ".git").mkdir(parents=True)
    (folder / ".env").write_text(text, encoding="utf-8")
    inner = folder / "a b" / "deep"
    inner.mkdir(parents=True)
    return inner


def test_the_repositorys_file_is_found_from_a_folder_deep_inside(tmp_path: Path) -> None:
    inner = repository(tmp_path, "JOULEGRID_SEED=7\n# a comment\nexport JOULEGRID_CACHE='/tmp/a b'\n")
    assert read_env_file(inner) == tmp_path / ".env"
    assert os.environ["JOULEGRID_SEED"] == "7"
    assert os.environ["JOULEGRID_CACHE"] == "/tmp/a b"


def test_the_shell_wins_even_with_nothing(tmp_path: Path) -> None:
    inner = repository(tmp_path, "JOULEGRID_SEED=7\nJOULEGRID_DEVICE=cuda\n")
    os.environ |= {"JOULEGRID_SEED": "1", "JOULEGRID_DEVICE": ""}
    read_env_file(inner)
    assert (os.environ["JOULEGRID_SEED"], os.environ["JOULEGRID_DEVICE"]) == ("1", "")
    assert lab_settings().seed == 1


def test_nothing_above_the_repository_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("JOULEGRID_SEED=7\n")
    inner = tmp_path / "repository"
    (inner / ".git").mkdir(parents=True)
    assert read_env_file(inner) is None
    outside = tmp_path / "no" / "repository"
    outside.mkdir(parents=True)
    assert read_env_file(outside) is None and "JOULEGRID_SEED" not in os.environ


def test_a_named_file_is_read_and_an_empty_name_reads_none(tmp_path: Path) -> None:
    inner = repository(tmp_path, "JOULEGRID_SEED=7\n")
    os.environ[NAMED] = ""
    assert read_env_file(inner) is None
    os.environ[NAMED] = str(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="JOULEGRID_ENV_FILE"):
        read_env_file(inner)
    os.environ[NAMED] = str(tmp_path / ".env")
    assert read_env_file(tmp_path.parent) == tmp_path / ".env"


def test_a_file_that_is_no_text_is_refused_without_a_traceback(tmp_path: Path) -> None:
    inner = repository(tmp_path, "")
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00JOULEGRID")
    with pytest.raises(UsageError, match="cannot be read"):
        read_env_file(inner)


@pytest.mark.parametrize(
    ("name", "value"), [("SEED", "seven"), ("SEED", "-1"), ("DEVICE", "tpu"), ("TIMED_SECONDS", "nan")]
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    os.environ |= {NAMED: "", f"JOULEGRID_{name}": value}
    with pytest.raises(UsageError, match=f"JOULEGRID_{name}: .*{value}"):
        lab_settings()
