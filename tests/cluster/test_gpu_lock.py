"""The lock of a GPU: for every user, by everybody named, all or none."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from joulegrid.cluster.gpu_lock import FOLDER, lock_gpus
from joulegrid.errors import PreFlightError

ROOT = Path(__file__).parents[2]
CODE = "import sys; from joulegrid.cluster.gpu_lock import lock_gpus; lock_gpus(sys.argv[2:], sys.argv[1])"


@pytest.fixture
def uuids() -> Iterator[list[str]]:
    names = sorted(f"GPU-{secrets.token_hex(8)}" for _ in range(3))
    yield names
    for name in names:
        _path(name).unlink(missing_ok=True)


def test_a_second_run_is_told_who_holds_the_gpu(uuids: list[str]) -> None:
    (held,) = lock_gpus(uuids[:1], "first_run")
    with held:
        told = _other("second_run", uuids[:1])
        assert f"is held by another run on this node (PID {os.getpid()}, run first_run)" in told.stderr
    assert _other("second_run", uuids[:1]).returncode == 0


def test_a_file_of_another_user_is_locked_too_and_an_old_name_is_not_told(uuids: list[str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs to become another user")
    _path(uuids[0]).write_text('{"pid": 1, "run": "long_gone"}')
    _path(uuids[0]).chmod(0o644)
    with _held_by_nobody(uuids[0]) as pid, pytest.raises(PreFlightError, match=rf"on this node \(PID {pid}\); wait"):
        lock_gpus(uuids[:1], "mine")


def test_several_gpus_are_taken_all_or_none(uuids: list[str]) -> None:
    (held,) = lock_gpus(uuids[1:2], "first")
    with held, pytest.raises(PreFlightError, match=uuids[1]):
        lock_gpus(uuids, "second")
    files = lock_gpus(reversed(uuids), "third")
    assert [Path(file.name).exists() if isinstance(file.name, str) else True for file in files] == [True] * 3
    for file in files:
        file.close()


def test_the_file_opens_for_every_user(uuids: list[str]) -> None:
    before = os.umask(0o077)
    try:
        (held,) = lock_gpus(uuids[:1], "run")
    finally:
        os.umask(before)
    held.close()
    assert _path(uuids[0]).stat().st_mode & 0o777 == 0o644


@contextmanager
def _held_by_nobody(uuid: str) -> Iterator[int]:
    """Hold a GPU from a process of the user `nobody`."""
    ready, goes = os.pipe(), os.pipe()
    pid = os.fork()  # a new interpreter may lie where nobody may read it
    if pid == 0:
        try:
            os.setuid(65534)
            files = lock_gpus([uuid], "theirs")
            os.write(ready[1], b"1" if files else b"0")
            os.close(goes[1])
            os.read(goes[0], 1)
        finally:
            os._exit(0)
    os.close(ready[1])
    try:
        assert os.read(ready[0], 1) == b"1"
        yield pid
    finally:
        os.close(goes[1])
        os.waitpid(pid, 0)
        for descriptor in (ready[0], goes[0]):
            os.close(descriptor)


def _other(run: str, uuids: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CODE, run, *uuids], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


def _path(uuid: str) -> Path:
    return FOLDER / f"joulegrid-{uuid}.lock"
