"""What opening and closing a window costs, and to whom that is counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from joulegrid.actors.probe import Account, TaskProbe, family_seconds, thread_family_seconds
from joulegrid.cases.contract import LaneView

LANE = LaneView("cpu", cpus=(0,))


@pytest.mark.parametrize("account", [Account(family_seconds, (0,)), Account(thread_family_seconds)])
def test_an_empty_window_is_not_charged_for_looking_at_children(tmp_path: Path, account: Account) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        probe = TaskProbe(LANE, tmp_path, print, account)
        for _ in range(200):
            with probe.window("empty"):
                pass
        child.kill()
    assert 0.0 <= median(mark.cpu_s for mark in probe.marks) < 20e-6  # 1.7 µs; 110 µs when the looking was counted
