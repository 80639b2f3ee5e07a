"""The command line. Verbs only: each reads its arguments, calls one function and prints what it returns."""

from __future__ import annotations

import io
import logging
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from joulegrid.errors import JoulegridError, StudyInterrupted, UsageError
from joulegrid.version import __version__

app = typer.Typer(
    help="Run grids of LLM-efficiency experiments on Ray, and say what each one cost.\n\n"
    "Begin with: joulegrid doctor; joulegrid plan studies/quickstart.yaml; joulegrid run studies/quickstart.yaml",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study in YAML.", show_default=False)]
Output = Annotated[str | None, typer.Option("--output", "-o", help="Folder or s3://bucket/prefix for runs [results].")]
Sets = Annotated[list[str], typer.Option("--set", help="Set a field: --set pytorch.batch_size=8. Repeatable.")]
Sweeps = Annotated[list[str], typer.Option("--sweep", help="Add an axis: --sweep pytorch.batch_size=1,8. Repeatable.")]
Cycles = Annotated[int | None, typer.Option("--cycles", help="Repeat every experiment so often.")]
CycleOrder = Annotated[
    str | None, typer.Option("--order", help="sequential, interleaved, shuffled, reversed or latin_square.")
]
NoGaps = Annotated[bool, typer.Option("--no-gaps", help="No idle time between experiments and cycles.")]
Power = Annotated[str | None, typer.Option("--power", help="auto, nvml, rapl, model or none.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Address = Annotated[str | None, typer.Option("--address", help="Ray cluster to join, e.g. auto [starts its own].")]
MetricsPort = Annotated[
    int,
    typer.Option(
        "--metrics-port",
        envvar="JOULEGRID_METRICS_PORT",
        min=0,
        max=65535,
        help="Serve metrics for Prometheus there; 0: nowhere.",
    ),
]
MetricsHost = Annotated[
    str,
    typer.Option("--metrics-host", envvar="JOULEGRID_METRICS_HOST", help="Address of --metrics-port, e.g. 0.0.0.0."),
]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"joulegrid {__version__}")
        raise typer.Exit


@app.command(short_help="Show what a study would run; start nothing.")
def plan(
    study: StudyFile,
    sets: Sets = [],  # noqa: B006 - typer copies it
    sweeps: Sweeps = [],  # noqa: B006
    cycles: Cycles = None,
    order: CycleOrder = None,
    no_gaps: NoGaps = False,
    points: Annotated[bool, typer.Option("--points", help="List every experiment.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a study would run: experiments, skipped points, tasks, memory, least time. Starts nothing."""
    from joulegrid.jobs.commands import StudyFlags, show_plan

    show_plan(study, StudyFlags(tuple(sets), tuple(sweeps), cycles, order, no_gaps), points=points, as_json=as_json)


@app.command(short_help="Run a study, or what is missing of it.")
def run(
    study: StudyFile,
    output: Output = None,
    sets: Sets = [],  # noqa: B006
    sweeps: Sweeps = [],  # noqa: B006
    cycles: Cycles = None,
    order: CycleOrder = None,
    no_gaps: NoGaps = False,
    power: Power = None,
    address: Address = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin a new run instead of continuing one.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try the failed tasks of the newest run again.")
    ] = False,
    extend: Annotated[bool, typer.Option("--extend", help="Add new experiments to the newest run.")] = False,
    allow_env_drift: Annotated[
        bool, typer.Option("--allow-env-drift", help="Go on although hardware or software has changed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a large study.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: AsJson = False,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = "127.0.0.1",
) -> None:
    """Run a study, or what is missing of its newest unfinished run.

    Exit code 0: all done; 1: some tasks failed; 75: drained, the next start goes on.
    """
    from joulegrid.jobs.commands import RunFlags, StudyFlags, run_command, show_plan
    from joulegrid.jobs.metrics import Endpoint
    from joulegrid.jobs.opening import Choice

    flags = StudyFlags(tuple(sets), tuple(sweeps), cycles, order, no_gaps, output, power)
    if dry_run:
        show_plan(study, flags, points=False, as_json=as_json)
        return
    choice = Choice(fresh, retry_failed, extend, allow_env_drift)
    run_flags = RunFlags(address, choice, yes, quiet, as_json, Endpoint(metrics_port, metrics_host))
    raise typer.Exit(run_command(study, flags, run_flags))


@app.command(short_help="Say how a run stands.")
def status(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN…", help="Folders or s3:// prefixes of runs, or of outputs.", show_default=False),
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Again every 2 s, until the run ends.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read and hash every committed result again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say how runs stand, from their store alone: counts, failures, time left, joules. Exit code 1: damage found."""
    from joulegrid.jobs.status_view import status_command

    raise typer.Exit(status_command(runs, follow=follow, verify=verify, as_json=as_json))


@app.command(short_help="Show the table of runs; write their pages.")
def report(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN…", help="Folders or s3:// prefixes of runs.", show_default=False)
    ],
    write: Annotated[
        bool, typer.Option("--write", help="Also write Markdown, HTML and figures into each run.")
    ] = False,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Write them there instead.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the table of one or several runs; with --write or --output also the page and its figures."""
    from joulegrid.jobs.commands import report_command

    report_command(runs, write=write, output=output, as_json=as_json)


@app.command(short_help="Say what this machine can measure.")
def doctor(
    store: Annotated[str | None, typer.Option("--output", "-o", help="The store to check [results].")] = None,
    address: Address = None,
    cluster: Annotated[bool, typer.Option("--cluster", help="One row per node of the Ray cluster.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what this machine can measure, what is missing and what to do about it."""
    from joulegrid.jobs.doctor.doctor import doctor_command

    raise typer.Exit(doctor_command(store, address, cluster, as_json))


def main() -> NoReturn:
    """Run the command line; errors of ours end in one message and their exit code, never in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8 shall not cost a run its table
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        code = app(standalone_mode=False) or 0
    except typer.Exit as leave:
        code = leave.exit_code
    except JoulegridError as error:
        code = _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        code = _complain("interrupted", 130)
    except OSError as error:
        code = _complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    except Exception as error:  # noqa: BLE001 - click's complaints have no common base outside of click
        code = _complain_of_usage(error)
    if code == StudyInterrupted.exit_code:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # impatient Ctrl-Cs shall not change how the command ends
    sys.exit(code)


def _complain_of_usage(error: Exception) -> int:
    """Typer's and click's own complaints are usage errors; anything else is a bug, whose traceback is worth reading."""
    message = getattr(error, "format_message", None)
    if message is None:
        traceback.print_exception(error)
        return _complain("this is a bug of Joulegrid; please report it with the lines above", JoulegridError.exit_code)
    return _complain(f"{message()}; see `joulegrid --help`" if message() else "", UsageError.exit_code)


def _complain(message: str, code: int) -> int:
    if message:
        sys.stderr.write(f"joulegrid: {message}\n")
    return code
