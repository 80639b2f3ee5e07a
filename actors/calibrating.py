"""Calibrating the power sensors of this machine's GPUs, all at once, and keeping what was found.

`python -m joulegrid.actors.calibrating UUID …`, started by a lane before its first task, does it for those of the GPUs
that bursts have not calibrated yet. A person says `joulegrid power calibrate`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from joulegrid.cluster.power.calibrating import calibrate
from joulegrid.cluster.power.calibration import remember, remembered
from joulegrid.cluster.power.sensors.nvml import close_sensors, open_sensors
from joulegrid.errors import JoulegridError, PreFlightError, UsageError
from joulegrid.kernels.bursts import burst_loads

if TYPE_CHECKING:
    from pathlib import Path

    from joulegrid.cluster.power.calibration import Calibration
    from joulegrid.cluster.power.sensors.nvml import BoardSensor


def chosen(sensors: list[BoardSensor], uuids: Sequence[str] | None) -> list[BoardSensor]:
    """Return the sensors of these GPUs, of all without any; `UsageError` for a UUID that NVML does not know."""
    known = {sensor.device: sensor for sensor in sensors}
    strange = [uuid for uuid in uuids or () if uuid not in known]
    if strange:
        raise UsageError(f"--gpu {strange[0]}: NVML sees no such GPU; it sees {', '.join(known)}")
    return [known[uuid] for uuid in dict.fromkeys(uuids)] if uuids else sensors


def is_known(sensor: BoardSensor) -> bool:
    """Whether bursts have calibrated this GPU with this driver before."""
    earlier = _earlier(sensor)
    return earlier is not None and earlier.bursts > 0


def calibrated(sensors: list[BoardSensor], *, no_load: bool = False) -> list[Calibration]:
    """Return what was found of each GPU over what was known: 2 s, and half a minute where torch can load them."""
    if not sensors:
        return []
    loads = {} if no_load else burst_loads({sensor.device for sensor in sensors})
    with ThreadPoolExecutor(len(sensors)) as pool:
        found = list(pool.map(lambda sensor: calibrate(sensor, loads.get(sensor.device)), sensors))
    return [
        one.over(_earlier(sensor)).model_copy(update={"driver": facts.driver, "vbios": facts.vbios})
        for sensor, one in zip(sensors, found, strict=True)
        if (facts := sensor.facts())
    ]


def kept(found: Calibration) -> Path:
    """Keep a calibration for later windows and return its file; `PreFlightError` where it cannot be written."""
    try:
        return remember(found)
    except OSError as error:
        raise PreFlightError(
            f"the calibration of {found.device} could not be kept: {error}. "
            "Let XDG_CACHE_HOME name a folder that can be written"
        ) from error


def main(uuids: Sequence[str]) -> None:
    """Calibrate what is not known of these GPUs yet."""
    sensors = open_sensors()
    try:
        for found in calibrated([one for one in chosen(sensors, uuids) if not is_known(one)]):
            kept(found)
    finally:
        close_sensors()


def _earlier(sensor: BoardSensor) -> Calibration | None:
    facts = sensor.facts()
    return remembered(sensor.device, facts.driver, facts.vbios)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except JoulegridError as error:
        sys.exit(str(error))
