"""The verbs `meter` and `power record` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from joulegrid.jobs.power_command import calibrate

power_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Find out about a machine's power sensors, and record them."
)
meter_app = typer.Typer(rich_markup_mode=None)
UNPARSED = {"allow_interspersed_args": False}
"""Everything from COMMAND on is the command's."""
Command = Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND…", help="What to run.", show_default=False)]


@meter_app.command(short_help="Say what any command costs.", context_settings=UNPARSED)
def meter(
    command: Command = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="GPUs to report: indices or UUIDs, with commas, or none [visible ones].")
    ] = None,
    source: Annotated[
        str, typer.Option("--source", help="auto, nvml, rapl, model, zeus, codecarbon, none or replay.")
    ] = "auto",
    trace: Annotated[Path | None, typer.Option("--trace", help="The trace that `--source replay` reads.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write JSON to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stderr instead of the table.")] = False,
) -> None:
    """Run a command and say on stderr what it cost; no Ray, no study.

    Its output is left alone, signals are passed on, and its exit code is this one's: 128 + n after signal n, 127
    where the command is not found, 126 where it cannot be run.
    """
    from joulegrid.jobs.meter.command import MeterOrder, meter_command

    raise typer.Exit(meter_command(MeterOrder(tuple(command or ()), gpu, source, trace, as_json, output)))


@power_app.command(short_help="Write a trace of raw readings.", context_settings=UNPARSED)
def record(
    output: Annotated[Path, typer.Option("--output", "-o", help="FILE.jsonl or FILE.parquet.", show_default=False)],
    command: Command = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="How long, without a COMMAND.")] = None,
    source: Annotated[str, typer.Option("--source", help="auto, nvml or rapl.")] = "auto",
) -> None:
    """Write a trace of every sensor's raw readings, for some seconds or while a command runs.

    `power: {source: replay, trace: FILE}` in a study plays it again, simulated and named so everywhere.
    """
    from joulegrid.jobs.meter.recording import RecordOrder, record_command

    raise typer.Exit(record_command(RecordOrder(output, seconds, tuple(command or ()), source)))


power_app.command(short_help="Calibrate every GPU's sensor; keep what was found.")(calibrate)


@power_app.callback()
def root() -> None:
    """Find out about a machine's power sensors, and record them."""
