"""`joulegrid kernel baseline | verify | time | profile`: one case, one candidate, from a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from joulegrid.errors import UsageError

if TYPE_CHECKING:
    from joulegrid.cases.judged import CallEnergy
    from joulegrid.cases.judging import Device, Judgement
    from joulegrid.cases.lab_settings import LabSettings

app = typer.Typer(
    help="Judge, time and profile kernels against the module of a case.\n\n"
    "A candidate is a Python file with LANGUAGE and a class OptimizedModel; docs/kernel-commands.md says more.",
    no_args_is_help=True,
)
CaseName = Annotated[
    str, typer.Argument(metavar="NAME", help="Of the case; `joulegrid case list`.", show_default=False)
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
Store = Annotated[str | None, typer.Option("--store", help="Folder or s3:// that archive/ lies in [results].")]
Precision = Annotated[
    float,
    typer.Option(
        "--precision", min=0.001, help="Add processes until ratios are known to this share, for 90 s at most."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command()
def verify(
    name: CaseName,
    candidate: CandidateFile,
    dtypes: Dtypes = [],  # noqa: B006 - typer copies it
    device: DeviceName = None,
    label: Label = None,
    archive: Annotated[bool, typer.Option("--archive", help="Keep it in the archive, too.")] = False,
    store: Store = None,
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
    with open_zygote(used) as zygote:
        judgements = [
            Judgement(one, verified(one.problem, one.candidate, one.dtype, zygote=zygote)) for one in subjects
        ]
    folder = _written(settings, judgements, chosen)
    if as_json:
        typer.echo(json.dumps([one.verification.model_dump(mode="json") for one in judgements], indent=2))
    else:
        print_verifications(judgements, folder)
    if archive:
        _archived(judgements, store or settings.archive, chosen, quiet=as_json)
    raise typer.Exit(0 if all(one.passed for one in judgements) else 1)


@app.command()
def time(
    name: CaseName,
    candidate: CandidateFile,
    shape: ShapeName = None,
    dtype: Dtype = None,
    device: DeviceName = None,
    processes: Annotated[int, typer.Option("--processes", min=5, help="Sets of fresh processes at least.")] = 5,
    precision: Precision = 0.02,
    energy: Annotated[bool, typer.Option("--energy", help="Also the joules of a call: four windows of 10 s.")] = False,
    label: Label = None,
    archive: Annotated[bool, typer.Option("--archive/--no-archive", help="Keep it in the archive.")] = True,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Verify a candidate, then time it against every baseline by the judge's clock; keep it in the archive.

    Exit code 0: passed, however fast; 1: not passed; 2: wrong usage.
    """
    from joulegrid.cases.judging import open_zygote, subject, timed, timing_settings
    from joulegrid.jobs.kernel_energy import MeterProbe
    from joulegrid.jobs.kernel_view import print_timing

    settings, used = _settings(device)
    chosen = _label(candidate, label)
    probe = MeterProbe() if energy else None
    judged = subject(name, candidate, _shape(name, shape, used), dtype, used)
    with open_zygote(used) as zygote:
        effort = {"processes": processes, "precision": precision}
        wanted = timing_settings(judged.shape, judged.dtype, judged.device, **effort)
        judgement = timed(judged, zygote=zygote, settings=wanted, probe=probe)
    spent = probe.call_energy(judgement.timing) if probe and judgement.timing and judgement.passed else None
    folder = _written(settings, [judgement], chosen)
    if as_json:
        parts = {"verification": judgement.verification, "timing": judgement.timing, "energy": spent}
        told = {name: None if part is None else part.model_dump(mode="json") for name, part in parts.items()}
        typer.echo(json.dumps(told, indent=2))
    else:
        print_timing(judgement, spent, folder / "metrics.json")
    if archive:
        _archived([judgement], store or settings.archive, chosen, spent=spent, quiet=as_json)
    raise typer.Exit(0 if judgement.passed else 1)


@app.command()
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
    found = baselines_of(name, chosen, dtype, used)
    folder = settings.artifacts / found.problem / "baseline"
    _write(folder, {"baselines.json": f"{found.model_dump_json(indent=2)}\n".encode()})
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_baselines(found, chosen)
        typer.echo(str(folder / "baselines.json"))


@app.command()
def profile(
    name: CaseName,
    candidate: Annotated[
        Path | None, typer.Option("--candidate", "-c", help="A candidate's file [the case's own module].")
    ] = None,
    shape: ShapeName = None,
    dtype: Dtype = None,
    label: Label = None,
    as_json: AsJson = False,
) -> None:
    """Trace a module or a candidate in this process, with your rights: operators, a trace, bytes against the roof."""
    from joulegrid.cases.explore import CasePoint, make_case_forward, variant_folder
    from joulegrid.cases.profiling import profile as traced
    from joulegrid.jobs.kernel_view import print_profile

    settings, used = _settings(None)
    forward = make_case_forward(name, candidate, CasePoint(_shape(name, shape, used), dtype))
    chosen = label or (candidate.stem if candidate else "baseline")
    found = traced(forward, variant_folder(settings, forward.problem.name, chosen) / "profiler")
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_profile(found)


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


def _written(settings: LabSettings, judgements: Sequence[Judgement], label: str) -> Path:
    """Write judgements to `artifacts/{case}/{label}`, those of further dtypes below it; an earlier time is removed."""
    from joulegrid.cases.explore import variant_folder
    from joulegrid.cases.judging import point_files

    first = judgements[0].subject
    folder = variant_folder(settings, first.problem.name, label)
    for place, one in enumerate(judgements):
        own = folder if place == 0 else folder / one.subject.dtype
        (own / "timing.json").unlink(missing_ok=True)
        _write(own, point_files(one, label))
    return folder


def _write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


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
    judgements: Sequence[Judgement], store: str, label: str, *, spent: CallEnergy | None = None, quiet: bool
) -> None:
    from joulegrid.cluster.environment import capture
    from joulegrid.cluster.storage import open_store
    from joulegrid.jobs.archive.from_judgement import contents_of
    from joulegrid.jobs.archive.shelf import keep

    environment = capture(Path.cwd()).model_dump_json(indent=2).encode()
    place = open_store(store)
    contents = contents_of(judgements, label, environment, spent).with_files(_traces(judgements[0], label))
    record = keep(place, contents)
    if not quiet:
        typer.echo(f"{place.url}/archive/{record.name}")
