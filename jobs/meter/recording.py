"""`joulegrid power record`: a trace of raw readings, for a time or while a command runs."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from joulegrid.cluster.environment import capture
from joulegrid.cluster.power.sampler.recorder import Recorder
from joulegrid.cluster.power.sampler.trace import SUFFIXES
from joulegrid.cluster.power.sensors.readings import KEPT_S
from joulegrid.cluster.secrets import mask
from joulegrid.errors import PreFlightError, StudyInterrupted, UsageError
from joulegrid.jobs.meter.command import not_started, refuse_output, run
from joulegrid.jobs.meter.devices import power_config
from joulegrid.jsontypes import Json

RECORDED = ("auto", "nvml", "rapl")
AROUND_NS = 1_000_000_000
"""How much is kept before the start and after the end: windows at a trace's edges need what lies around them."""


@dataclass(frozen=True, slots=True)
class RecordOrder:
    """What `joulegrid power record` was told."""

    output: Path
    seconds: float | None = None
    command: tuple[str, ...] = ()
    source: str = "auto"


def record_command(order: RecordOrder) -> int:
    """Record, write the trace, return the command's exit code or 0."""
    _refuse(order)
    recorder = Recorder(power_config(order.source))
    try:
        if not recorder.describe()["devices"]:
            why = "; ".join(str(one) for one in recorder.describe()["missing"].values())
            raise PreFlightError(f"power record: this machine has no sensor to record: {why}")
        recorder.start()
        time.sleep(AROUND_NS / 1e9)
        t0_ns, code = time.monotonic_ns(), 0
        if order.command:
            try:
                code = run(order.command, recorder).exit_code
            except OSError as error:
                return not_started("power record", order.command[0], error)
        else:
            code = _rest(order.seconds or 0.0)
        t1_ns = time.monotonic_ns()
        time.sleep(AROUND_NS / 1e9)
        trace = recorder.trace(t0_ns - AROUND_NS, t1_ns + AROUND_NS, _about(order, (t1_ns - t0_ns) / 1e9))
    finally:
        recorder.stop()
    trace.write(order.output)
    n_readings = sum(len(found) for found in trace.readings.values())
    sys.stderr.write(f"{order.output}: {n_readings:,} readings of {len(trace.readings)} devices, {trace.provenance}\n")
    return code


def _rest(seconds: float) -> int:
    """Wait; Ctrl-C ends it early, and what was read until then is kept."""
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        return StudyInterrupted.exit_code
    return 0


def _refuse(order: RecordOrder) -> None:
    if order.output.suffix not in SUFFIXES:
        raise UsageError(f"--output {order.output}: a trace ends in {' or '.join(SUFFIXES)}")
    if order.source not in RECORDED:
        raise UsageError(f"--source {order.source}: only sensors can be recorded: {', '.join(RECORDED)}")
    refuse_output(order.output)
    if (order.seconds is None) == (not order.command):
        raise UsageError("power record: give either --seconds N or, behind --, a COMMAND")
    if order.seconds is not None and not 0 < order.seconds <= KEPT_S:
        raise UsageError(f"--seconds {order.seconds:g}: above 0, at most {KEPT_S:g} (readings are kept so long)")


def _about(order: RecordOrder, seconds: float) -> dict[str, Json]:
    return {
        "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "command": mask(list(order.command)),
        "environment": capture().model_dump(mode="json"),
    }
