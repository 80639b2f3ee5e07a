"""`joulegrid power calibrate`: what can be found out about this machine's power sensors, kept for later windows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from joulegrid.errors import PreFlightError

if TYPE_CHECKING:
    from pathlib import Path

    from joulegrid.cluster.power.calibration import Calibration


def calibrate(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
    no_load: Annotated[bool, typer.Option("--no-load", help="Read only; start no load on the GPUs.")] = False,
) -> None:
    """Calibrate every GPU's sensor: about 2 s each, and 40 s more where torch can load it. Keeps what was found."""
    from joulegrid.cluster.power.calibrating import calibrate as calibrated
    from joulegrid.cluster.power.sensors.nvml import close_sensors, open_sensors
    from joulegrid.kernels.bursts import burst_loads

    sensors = open_sensors()
    try:
        loads = {} if no_load else burst_loads()
        for sensor in sensors:
            found = calibrated(sensor, loads.get(sensor.device))
            facts = sensor.facts()
            found = found.model_copy(update={"driver": facts.driver, "vbios": facts.vbios})
            typer.echo(found.model_dump_json() if as_json else _text(found))
            file = _kept(found)
            if not as_json:
                typer.echo(f"  kept in {file}")
    finally:
        close_sensors()


def _kept(found: Calibration) -> Path:
    from joulegrid.cluster.power.calibration import remember

    try:
        return remember(found)
    except OSError as error:
        raise PreFlightError(
            f"the calibration of {found.device} could not be kept: {error}. "
            "Let XDG_CACHE_HOME name a folder that can be written"
        ) from error


def _text(found: Calibration) -> str:
    facts = {name: value for name, value in found.model_dump().items() if name not in ("format", "device")}
    lines = [found.device, *(f"  {name}: {json.dumps(value)}" for name, value in facts.items())]
    if found.tail == "undecided":
        lines.append("  undecided: intervals stay wide at the end of a load (no load ran, or it could not be told)")
    if found.integrates is None:
        lines.append("  integrates null: a window of a load that varies may show it")
    return "\n".join(lines)
