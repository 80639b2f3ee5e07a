"""What opening and closing a window costs, and to whom that is counted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EMPTY_WINDOWS = """
import pathlib, subprocess, sys
from statistics import median
from joulegrid.actors import probe
from joulegrid.cases.contract import LaneView

lane, scratch = LaneView("cpu", cpus=(0,)), pathlib.Path(sys.argv[2])
cpus = (0,) if sys.argv[1] == "family_seconds" else ()
with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
    windows = probe.TaskProbe(lane, scratch, print, probe.Account(getattr(probe, sys.argv[1]), cpus))
    for _ in range(200):
        with windows.window("empty"):
            pass
    child.kill()
print(median(mark.cpu_s for mark in windows.marks))
"""


@pytest.mark.parametrize("account", ["family_seconds", "thread_family_seconds"])
def test_an_empty_window_is_not_charged_for_looking_at_children(tmp_path: Path, account: str) -> None:
    command = [sys.executable, "-c", EMPTY_WINDOWS, account, str(tmp_path)]  # alone: no thread of another test's Ray
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert 0.0 <= float(done.stdout) < 20e-6  # 1.7 µs; 110 µs when the looking was counted
