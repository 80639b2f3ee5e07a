"""`joulegrid kernel baseline | verify | time | profile`: one case, one candidate, from a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from joulegrid.errors import PreFlightError, UsageError

if TYPE_CHECKING:
    from joulegrid.cases.judged import CallEnergy
    from joulegrid.cases.judging import Device, Judgement, Subject
    from joulegrid.cases.lab_settings import LabSettings
    from joulegrid.cluster.storage import Store

app = typer.Typer(
    help="Judge, time and profile kernels against the module of a case.\n\n"
    "A candidate is a Python file with LANGUAGE and a class OptimizedModel; docs/kernel-commands.md says more.",
    no_args_is_help=True,
)
CaseName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A case: its name (`joulegrid case list`), or its folder.", show_default=False),
]
CandidateFile = Annotated[
    Path, typer.Option("--candidate", "-c", help="The candidate's Python file.", show_default=False)
]
ShapeName = Annotated[
    str | None,
    typer.Option("--shape", help="tiny, one of the case's, or scaled:NAME [GPU: the weightiest; CPU: the lightest]."),
]
Dtype = Annotated[str | None, typer.Option("--dtype", help="fp32, fp16 or bf16 [the case's first].")]
Dtypes = Annotated[list[str], typer.Option("--dtype", help="fp32, fp16 or bf16; repeatable [all of the case].")]
DeviceName = Annotated[str | None, typer.Option("--device", help="cpu or cuda [cuda where there is one].")]
Label = Annotated[
    str | None, typer.Option("--label", help="Name of the variant's folder in artifacts/CASE/ [the file's].")
]
Precision = Annotated[
    float,
    typer.Option(
        "--precision", min=0.001, help="Add processes until ratios are known to this share, for 90 s at most."
    ),
]
StoreUrl = Annotated[str | None, typer.Option("--store", help="Folder or s3:// that archive/ lies in [results].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command(short_help="Judge a candidate: is it right?")
def verify(
    name: CaseName,
    candidate: CandidateFile,
    dtypes: Dtypes = [],  # noqa: B006 - typer copies it
    device: DeviceName = None,
    label: Label = None,
    archive: Annotated[bool, typer.Option("--archive", help="Keep it in the archive, too.")] = False,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Judge a candidate: fresh draws, hidden shapes, changing weights, in a process that can do nothing else.

    Exit code 0: passed; 1: not passed, or this machine cannot judge it; 2: wrong usage.
    """
    from joulegrid.cases.judging import Judgement, open_zygote, subject, verified
    from joulegrid.jobs.kernel_view import print_verifications

    settings, used = _settings(device)
    chosen = _label(candidate, label)
    first = subject(name, candidate, "tiny", dtypes[0] if dtypes else None, used)
    subjects = [subject(name, candidate, "tiny", dtype, used) for dtype in dtypes or first.problem.dtypes]
    shelf = _shelf(store or settings.archive) if archive else None
    folder = _folder(settings, first, chosen)
    words = f"judging {candidate.name} in {', '.join(one.dtype for one in subjects)}"
    with _announced(words), open_zygote(used) as zygote:
        judgements = [
            Judgement(one, verified(one.problem, one.candidate, one.dtype, zygote=zygote)) for one in subjects
        ]
    if as_json:
        typer.echo(json.dumps([one.verification.model_dump(mode="json") for one in judgements], indent=2))
    else:
        print_verifications(judgements, folder)
    _write_points(folder, judgements, chosen)
    if shelf is not None:
        _archived(judgements, shelf, chosen, quiet=as_json)
    raise typer.Exit(0 if all(one.passed for one in judgements) else 1)


@app.command(short_help="Judge a candidate, and time what passed.")
def time(
    name: CaseName,
    candidate: CandidateFile,
    shape: ShapeName = None,
    dtype: Dtype = None,
    device: DeviceName = None,
    processes: Annotated[int, typer.Option("--processes", min=5, help="Sets of fresh processes at least.")] = 5,
    precision: Precision = 0.02,
    energy: Annotated[bool, typer.Option("--energy", help="Also the joules of a call: four windows of 10 s.")] = False,
    source: Annotated[
        str, typer.Option("--source", help="What --energy reads: auto, nvml, rapl, model, zeus, codecarbon or none.")
    ] = "auto",
    label: Label = None,
    archive: Annotated[bool, typer.Option("--archive/--no-archive", help="Keep it in the archive.")] = True,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Verify a candidate, then time it against every baseline by the judge's clock; keep it in the archive.

    Exit code 0: passed, however fast; 1: not passed, or this machine cannot judge it; 2: wrong usage.
    """
    from joulegrid.cases.judging import open_zygote, subject, timed, timing_settings
    from joulegrid.jobs.kernel_energy import meter_probe
    from joulegrid.jobs.kernel_view import print_timing

    settings, used = _settings(device)
    chosen = _label(candidate, label)
    probe = meter_probe(used, source) if energy else None
    judged = subject(name, candidate, _shape(name, shape, used), dtype, used)
    shelf = _shelf(store or settings.archive) if archive else None
    folder = _folder(settings, judged, chosen)
    effort = {"processes": processes, "precision": precision}
    wanted = timing_settings(judged.shape, judged.dtype, judged.device, **effort)
    words = f"judging {candidate.name} in {judged.dtype}, then timing it on {judged.shape_name}; a minute or more"
    with _announced(words), open_zygote(used) as zygote:
        judgement = timed(judged, zygote=zygote, settings=wanted, probe=probe)
    spent = probe.call_energy(judgement.timing) if probe and judgement.passed else None
    if as_json:
        parts = {"verification": judgement.verification, "timing": judgement.timing, "energy": spent}
        told = {name: None if part is None else part.model_dump(mode="json") for name, part in parts.items()}
        typer.echo(json.dumps(told, indent=2))
    else:
        print_timing(judgement, spent, folder / "metrics.json")
    _write_points(folder, [judgement], chosen)
    if shelf is not None:
        _archived([judgement], shelf, chosen, spent=spent, quiet=as_json)
    raise typer.Exit(0 if judgement.passed else 1)


@app.command(short_help="Time the case's own module.")
def baseline(
    name: CaseName,
    shape: ShapeName = None,
    dtype: Dtype = None,
    device: DeviceName = None,
    as_json: AsJson = False,
) -> None:
    """Time the unmodified module in every way that this machine can run it, and say what the floor is."""
    from joulegrid.cases.judging import baselines_of
    from joulegrid.jobs.kernel_view import print_baselines

    settings, used = _settings(device)
    chosen = _shape(name, shape, used)
    with _announced(f"timing {name} on {chosen}, as it is and compiled; a minute or more"):
        found = baselines_of(name, chosen, dtype, used)
    folder = settings.artifacts / found.problem / "baseline"
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_baselines(found, chosen)
        typer.echo(str(folder / "baselines.json"))
    _write(folder, {"baselines.json": f"{found.model_dump_json(indent=2)}\n".encode()})


@app.command(short_help="Say where a module's or a candidate's time goes.")
def profile(
    name: CaseName,
    candidate: Annotated[
        Path | None, typer.Option("--candidate", "-c", help="A candidate's file [the case's own module].")
    ] = None,
    shape: ShapeName = None,
    dtype: Dtype = None,
    device: DeviceName = None,
    label: Label = None,
    as_json: AsJson = False,
) -> None:
    """Trace a module or a candidate in this process, with your rights: operators, a trace, bytes against the roof."""
    from joulegrid.cases.explore import CasePoint, make_case_forward, variant_folder
    from joulegrid.cases.profiling import profile as traced
    from joulegrid.jobs.kernel_view import print_profile

    settings, used = _settings(device)
    chosen = _label(candidate or Path("baseline"), label)
    forward = make_case_forward(name, candidate, CasePoint(_shape(name, shape, used), dtype), settings)
    found = traced(forward, variant_folder(settings, forward.problem.name, chosen) / "profiler")
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_profile(found)


@contextmanager
def _announced(words: str) -> Iterator[None]:
    """Say on stderr what takes its time; on Ctrl-C, that it was not finished."""
    typer.echo(f"{words} …", err=True)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("joulegrid: interrupted; nothing was kept", err=True)
        raise


def _settings(device: str | None) -> tuple[LabSettings, Device]:
    from joulegrid.cases.explore import require_torch
    from joulegrid.cases.lab_settings import lab_settings

    if device not in (None, "cpu", "cuda"):
        raise UsageError(f"--device: {device!r} was given; cpu and cuda are allowed")
    require_torch()
    settings = lab_settings()
    if device is not None:
        settings = settings.model_copy(update={"device": device})
    return settings, settings.used_device


def _shape(case: str, given: str | None, device: Device) -> str:
    from joulegrid.cases.catalog import case_folder
    from joulegrid.cases.judging import default_shape
    from joulegrid.cases.manifest import read_problem

    return given or default_shape(read_problem(case_folder(case)), device)


def _label(candidate: Path, given: str | None) -> str:
    """The variant's name; `UsageError` where a given one is none."""
    from joulegrid.cases.explore import checked_label
    from joulegrid.jobs.archive.record import slug

    return checked_label(given) if given is not None else slug(candidate.stem)


def _folder(settings: LabSettings, subject: Subject, label: str) -> Path:
    """Make `artifacts/{case}/{label}`: that it cannot be made is told before a minute is spent."""
    from joulegrid.cases.explore import variant_folder

    folder = variant_folder(settings, subject.problem.name, label)
    _write(folder, {})
    return folder


def _shelf(url: str) -> Store:
    """Open the store of an archive and see whether it can be written, for the same reason."""
    from joulegrid.cluster.storage import open_store, probe

    store = open_store(url)
    probe(store)
    return store


def _write_points(folder: Path, judgements: Sequence[Judgement], label: str) -> None:
    """Write judgements to their folder, those of further dtypes below it; an earlier time is removed."""
    from joulegrid.cases.judging import point_files

    for place, one in enumerate(judgements):
        own = folder if place == 0 else folder / one.subject.dtype
        _write(own, point_files(one, label))
        if one.timing is None:
            (own / "timing.json").unlink(missing_ok=True)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        why = error.strerror or str(error)
        raise PreFlightError(f"{folder} cannot be written: {why}; set JOULEGRID_ARTIFACTS to another folder") from error


def _traces(judgement: Judgement, label: str) -> dict[str, bytes]:
    """What `kernel profile` left of this variant, unless the candidate has changed since."""
    from joulegrid.cases.explore import variant_folder
    from joulegrid.cases.lab_settings import lab_settings

    subject = judgement.subject
    folder = variant_folder(lab_settings(), subject.problem.name, label) / "profiler"
    changed_s = subject.candidate.path.stat().st_mtime
    found = [path for path in folder.glob("*.json") if path.stat().st_mtime >= changed_s]
    return {f"profiler/{path.name}": path.read_bytes() for path in found}


def _archived(
    judgements: Sequence[Judgement], shelf: Store, label: str, *, spent: CallEnergy | None = None, quiet: bool
) -> None:
    from joulegrid.cluster.environment import capture
    from joulegrid.jobs.archive.from_judgement import contents_of
    from joulegrid.jobs.archive.shelf import keep

    environment = capture(Path.cwd()).model_dump_json(indent=2).encode()
    contents = contents_of(judgements, label, environment, spent).with_files(_traces(judgements[0], label))
    record = keep(shelf, contents)
    if not quiet:
        typer.echo(f"{shelf.url}/archive/{record.name}")
