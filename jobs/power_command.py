"""`joulegrid power calibrate`: what can be found out about this machine's power sensors, kept for later windows."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated

import typer

from joulegrid.errors import PreFlightError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from joulegrid.cluster.power.calibration import Calibration
    from joulegrid.cluster.power.sensors.nvml import BoardSensor


def calibrate(
    gpu: Annotated[list[str] | None, typer.Option("--gpu", help="Only this UUID; may be given several times.")] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Only GPUs that bursts have not calibrated yet.")] = False,
    no_load: Annotated[bool, typer.Option("--no-load", help="Read only; start no load on the GPUs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Calibrate every GPU's sensor, all at once: 2 s, and half a minute more where torch can load it. Keeps it."""
    from joulegrid.cluster.power.sensors.nvml import close_sensors, open_sensors

    sensors = open_sensors()
    try:
        chosen = [sensor for sensor in _chosen(sensors, gpu) if not (missing and _is_known(sensor))]
        for found in _found(chosen, no_load):
            typer.echo(found.model_dump_json() if as_json else _text(found))
            file = _kept(found)
            if not as_json:
                typer.echo(f"  kept in {file}")
    finally:
        close_sensors()


def _chosen(sensors: list[BoardSensor], uuids: list[str] | None) -> list[BoardSensor]:
    known = {sensor.device: sensor for sensor in sensors}
    strange = [uuid for uuid in uuids or () if uuid not in known]
    if strange:
        raise UsageError(f"--gpu {strange[0]}: NVML sees no such GPU; it sees {', '.join(known)}")
    return [known[uuid] for uuid in dict.fromkeys(uuids)] if uuids else sensors


def _earlier(sensor: BoardSensor) -> Calibration | None:
    from joulegrid.cluster.power.calibration import remembered

    facts = sensor.facts()
    return remembered(sensor.device, facts.driver, facts.vbios)


def _is_known(sensor: BoardSensor) -> bool:
    earlier = _earlier(sensor)
    return earlier is not None and earlier.bursts > 0


def _found(sensors: list[BoardSensor], no_load: bool) -> list[Calibration]:
    from joulegrid.cluster.power.calibrating import calibrate as calibrated
    from joulegrid.kernels.bursts import burst_loads

    if not sensors:
        return []
    loads = {} if no_load else burst_loads({sensor.device for sensor in sensors})
    with ThreadPoolExecutor(len(sensors)) as pool:
        found = list(pool.map(lambda sensor: calibrated(sensor, loads.get(sensor.device)), sensors))
    return [
        one.over(_earlier(sensor)).model_copy(update={"driver": facts.driver, "vbios": facts.vbios})
        for sensor, one in zip(sensors, found, strict=True)
        if (facts := sensor.facts())
    ]


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
        lines.append("  integrates null: intervals stay wide under loads that vary, until a window shows it")
    return "\n".join(lines)
