"""`joulegrid power calibrate`: what can be found out about this machine's power sensors, kept for later windows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from joulegrid.cluster.power.calibration import Calibration


def calibrate(
    gpu: Annotated[list[str] | None, typer.Option("--gpu", help="Only this UUID; may be given several times.")] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Only GPUs that bursts have not calibrated yet.")] = False,
    no_load: Annotated[bool, typer.Option("--no-load", help="Read only; start no load on the GPUs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Calibrate every GPU's sensor, all at once: 2 s, and half a minute more where torch can load it. Keeps it."""
    from joulegrid.actors.calibrating import calibrated, chosen, is_known, kept
    from joulegrid.cluster.power.sensors.nvml import close_sensors, open_sensors

    sensors = open_sensors()
    try:
        wanted = [sensor for sensor in chosen(sensors, gpu) if not (missing and is_known(sensor))]
        for found in calibrated(wanted, no_load=no_load):
            typer.echo(found.model_dump_json() if as_json else _text(found))
            file = kept(found)
            if not as_json:
                typer.echo(f"  kept in {file}")
    finally:
        close_sensors()


def _text(found: Calibration) -> str:
    facts = {name: value for name, value in found.model_dump().items() if name not in ("format", "device")}
    lines = [found.device, *(f"  {name}: {json.dumps(value)}" for name, value in facts.items())]
    if found.tail == "undecided":
        lines.append("  undecided: intervals stay wide at the end of a load (no load ran, or it could not be told)")
    if found.integrates is None:
        lines.append("  integrates null: intervals stay wide under loads that vary, until a window shows it")
    return "\n".join(lines)
