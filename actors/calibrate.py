"""Calibrating the power sensors of a lane's GPUs before its first task: once for a device, its driver and VBIOS."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

DRIVER = Path("/dev/nvidiactl")
"""Without it no GPU computes here (a simulated one has none): nothing could run the bursts."""
COMMAND = (sys.executable, "-m", "joulegrid.actors.calibrating")
LIMIT_S = 90.0
STEP_S = 0.2


def calibrate_once(
    uuids: Sequence[str], cancelled: Callable[[], bool], command: Sequence[str] = COMMAND, driver: Path = DRIVER
) -> bool:
    """Calibrate GPUs that bursts have not calibrated yet, in a process of its own; return whether it was done.

    The node's sampler takes up what it keeps. About half a minute the first time, a second afterwards. What goes wrong
    costs wider intervals and no task.
    """
    if not uuids or not driver.exists():
        return False
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)  # as the worker finds this package
    env = {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen(
        [*command, *uuids], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        ends_s = time.monotonic() + LIMIT_S
        while process.poll() is None and time.monotonic() < ends_s and not cancelled():
            time.sleep(STEP_S)
        if process.poll() is None:
            process.kill()
        _, said = process.communicate()
    if process.returncode != 0 and not cancelled():
        logger.warning("the power sensors of %s stay uncalibrated: %s", ", ".join(uuids), said.strip()[-500:])
    return process.returncode == 0
