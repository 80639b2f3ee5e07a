"""Calibration before a lane's first task: when it runs, and that its failures cost no task."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from joulegrid.actors.calibrate import calibrate_once

WRITES = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(' '.join(sys.argv[2:]))"


def never() -> bool:
    return False


def test_gpus_are_calibrated_by_uuid_in_a_process_of_its_own(tmp_path: Path) -> None:
    said = tmp_path / "said"
    command = [sys.executable, "-c", WRITES, str(said)]
    assert calibrate_once(["GPU-1", "GPU-2"], never, command, driver=tmp_path)
    assert said.read_text() == "GPU-1 GPU-2"


def test_nothing_is_started_without_a_driver_or_without_gpus(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit(1)"]
    assert not calibrate_once(["GPU-1"], never, command, driver=tmp_path / "none")
    assert not calibrate_once([], never, command, driver=tmp_path)


def test_a_calibration_that_fails_is_told_and_one_that_is_cancelled_ends_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert not calibrate_once(["GPU-1"], never, [sys.executable, "-c", "raise SystemExit('no torch')"], tmp_path)
        assert "GPU-1 stay uncalibrated: no torch" in caplog.text
        caplog.clear()
        assert not calibrate_once(["GPU-1"], lambda: True, [sys.executable, "-c", "input()"], driver=tmp_path)
        assert not caplog.text
