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

from joulegrid.envfile import read_env_file
from joulegrid.errors import JoulegridError, StudyInterrupted, UsageError
from joulegrid.jobs import case_command, kernel_command
from joulegrid.jobs.archive import command as archive_command
from joulegrid.jobs.carbon.carbon_cli import carbon
from joulegrid.jobs.meter.verbs import meter_app, power_app
from joulegrid.version import __version__

app = typer.Typer(
    help="Run grids of LLM-efficiency experiments on Ray, and say what each one cost.\n\n"
    "Begin with: joulegrid doctor; joulegrid plan studies/quickstart.yaml; joulegrid run studies/quickstart.yaml",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(case_command.app, name="case")
app.add_typer(kernel_command.app, name="kernel")
app.add_typer(archive_command.app, name="archive")

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study: YAML or Python.", show_default=False)]
Output = Annotated[str | None, typer.Option("--output", "-o", help="Folder or s3://bucket/prefix for runs [results].")]
Sets = Annotated[list[str], typer.Option("--set", help="Set a field: --set pytorch.batch_size=8. Repeatable.")]
Sweeps = Annotated[list[str], typer.Option("--sweep", help="Add an axis: --sweep pytorch.batch_size=1,8. Repeatable.")]
Cycles = Annotated[
    int | None, typer.Option("--cycles", help="Repeat every experiment so often, also in place of auto.")
]
CycleOrder = Annotated[
    str | None, typer.Option("--order", help="sequential, interleaved, shuffled, reversed or latin_square.")
]
NoGaps = Annotated[bool, typer.Option("--no-gaps", help="No idle time between experiments and cycles.")]
Power = Annotated[
    str | None,
    typer.Option(
        "--power", help="auto, nvml, rapl, model, zeus, codecarbon, none, or replay with --set power.trace=FILE."
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Begin a new run instead of continuing one.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try the failed tasks of the newest run again.")]
Extend = Annotated[bool, typer.Option("--extend", help="Add new experiments to the newest run.")]
AllowDrift = Annotated[bool, typer.Option("--allow-env-drift", help="Go on although hardware or software has changed.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a large study.")]
Quietly = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
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
    fresh: Fresh = False,
    retry_failed: RetryFailed = False,
    extend: Extend = False,
    allow_env_drift: AllowDrift = False,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and the run to go on with.")] = False,
    quiet: Quietly = False,
    as_json: AsJson = False,
    metrics_port: MetricsPort = 0,
    metrics_host: MetricsHost = "127.0.0.1",
) -> None:
    """Run a study, or what is missing of its newest unfinished run.

    Exit code 0: all done; 1: some tasks failed; 3: its budget of joules or grams is spent;
    75: drained, the next start goes on.
    """
    from joulegrid.jobs.commands import RunFlags, StudyFlags, run_command, show_start
    from joulegrid.jobs.loop.continuing import Choice
    from joulegrid.jobs.status.metrics import Endpoint

    flags = StudyFlags(tuple(sets), tuple(sweeps), cycles, order, no_gaps, output, power)
    choice = Choice(fresh, retry_failed, extend, allow_env_drift)
    if dry_run:
        show_start(study, flags, choice, as_json=as_json)
        return
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
    from joulegrid.jobs.status.status_view import status_command

    raise typer.Exit(status_command(runs, follow=follow, verify=verify, as_json=as_json))


@app.command(short_help="Run a study on a Ray cluster as a job, or in SLURM.")
def submit(
    study: StudyFile,
    output: Output = None,
    sets: Sets = [],  # noqa: B006
    sweeps: Sweeps = [],  # noqa: B006
    cycles: Cycles = None,
    order: CycleOrder = None,
    no_gaps: NoGaps = False,
    power: Power = None,
    fresh: Fresh = False,
    retry_failed: RetryFailed = False,
    extend: Extend = False,
    allow_env_drift: AllowDrift = False,
    yes: Yes = False,
    quiet: Quietly = False,
    as_json: AsJson = False,
    address: Annotated[str | None, typer.Option("--address", help="Ray: the dashboard, http://HEAD:8265.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Ray: show the log, leave with its exit code.")] = False,
    working_dir: Annotated[
        Path | None, typer.Option("--working-dir", help="Ray: folder to upload [the study's project].")
    ] = None,
    env: Annotated[list[str], typer.Option("--env", help="Ray: NAME=VALUE for the job. Repeatable.")] = [],  # noqa: B006
    slurm: Annotated[bool, typer.Option("--slurm", help="Submit by sbatch.")] = False,
    nodes: Annotated[int, typer.Option("--nodes", help="SLURM: how many nodes.")] = 1,
    gpus_per_node: Annotated[int | None, typer.Option("--gpus-per-node", help="SLURM: GPUs of each node.")] = None,
    cpus_per_task: Annotated[int | None, typer.Option("--cpus-per-task", help="SLURM: CPUs of each node.")] = None,
    time: Annotated[str | None, typer.Option("--time", help="SLURM: walltime, e.g. 4:00:00 or 2-00.")] = None,
    partition: Annotated[str | None, typer.Option("--partition", help="SLURM: partition.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="SLURM: account.")] = None,
    sbatch: Annotated[list[str], typer.Option("--sbatch", help="SLURM: KEY=VALUE, any option of sbatch.")] = [],  # noqa: B006
    setup: Annotated[list[str], typer.Option("--setup", help="SLURM: a shell line before anything else.")] = [],  # noqa: B006
    python: Annotated[str | None, typer.Option("--python", help="SLURM: interpreter on the nodes [this one].")] = None,
    only_print: Annotated[bool, typer.Option("--print", help="SLURM: show the batch file; submit nothing.")] = False,
) -> None:
    """Run a study elsewhere: as a job of a standing Ray cluster (--address), or in a SLURM allocation (--slurm).

    Takes the flags of `run`, and asks before anything is sent. With --follow the exit code is the job's.
    """
    from joulegrid.cluster.slurm import Allocation
    from joulegrid.jobs.commands import RunFlags, StudyFlags
    from joulegrid.jobs.loop.continuing import Choice
    from joulegrid.jobs.submit.batch_job import SlurmTarget
    from joulegrid.jobs.submit.ray_job import RayTarget
    from joulegrid.jobs.submit.submit import Targets, submit_command

    flags = StudyFlags(tuple(sets), tuple(sweeps), cycles, order, no_gaps, output, power)
    started = RunFlags(None, Choice(fresh, retry_failed, extend, allow_env_drift), yes, quiet, as_json)
    asked = Allocation(nodes, gpus_per_node, cpus_per_task, time, partition, account, tuple(sbatch))
    targets = Targets(
        RayTarget(address or "", working_dir, tuple(env), follow, as_json),
        SlurmTarget(asked, tuple(setup), python, only_print, as_json),
        slurm,
    )
    raise typer.Exit(submit_command(study, flags, started, targets))


@app.command(short_help="Show the table of runs; write their pages.")
def report(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN…", help="Folders or s3:// prefixes of runs.", show_default=False)
    ],
    write: Annotated[
        bool, typer.Option("--write", help="Also write Markdown, HTML and figures into each run.")
    ] = False,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Write them there instead.")] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Compare with this experiment: its label or key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the table of one or several runs; with --write or --output also the page and its figures."""
    from joulegrid.jobs.commands import report_command

    report_command(runs, write=write, output=output, as_json=as_json, baseline=baseline)


app.command(short_help="Derive grams of CO2 and money from a run's joules.")(carbon)


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


app.add_typer(meter_app)
app.add_typer(power_app, name="power")


def main() -> NoReturn:
    """Run the command line; errors of ours end in one message and their exit code, never in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8 shall not cost a run its table
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        read_env_file()
        code = app(standalone_mode=False) or 0
    except typer.Exit as leave:
        code = leave.exit_code
    except JoulegridError as error:
        code = _complain("\n".join([str(error), *getattr(error, "__notes__", ())]), error.exit_code)
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
    told = message().rstrip(".")
    if told.startswith("Usage:"):  # a group of verbs without its verb: what it says is its help
        sys.stderr.write(f"{message()}\n")
        return UsageError.exit_code
    see = f" See `{_command(error)} --help`" if told.endswith("?") else f"; see `{_command(error)} --help`"
    return _complain(f"{told}{see}" if told else "", UsageError.exit_code)


def _command(error: Exception) -> str:
    """The command that was typed, as far as it is one: its help says what it takes."""
    context = getattr(error, "ctx", None)
    below = "" if context is None else context.command_path.removeprefix(context.find_root().command_path)
    return f"joulegrid{below}"


def _complain(message: str, code: int) -> int:
    if message:
        sys.stderr.write(f"joulegrid: {message}\n")
    return code
