"""`joulegrid case new | list | show | check`: cases are begun from a template, listed, shown, and tried out."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from joulegrid.errors import UsageError

if TYPE_CHECKING:
    from joulegrid.cases.catalog import CaseEntry
    from joulegrid.cases.check import CaseCheck

app = typer.Typer(help="Begin, list, show and check the cases that kernels are judged by.", no_args_is_help=True)
CaseName = Annotated[str, typer.Argument(metavar="NAME", help="A case: its name, or its folder.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@app.command(short_help="Begin a case from the template.")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new case's name.", show_default=False)],
    into: Annotated[Path, typer.Option("--into", help="Folder that the case's folder is made in.")] = Path("cases"),
) -> None:
    """Begin a case from the template: a folder with model.py and manifest.yaml to be edited."""
    from joulegrid.cases.catalog import case_folders

    folder = new_case(name, into)
    found = case_folders().get(name) == folder.resolve()
    said = shlex.quote(name if found else str(folder))
    typer.echo(f"{folder}: put your module into model.py, edit manifest.yaml, then: joulegrid case check {said}")


@app.command(name="list", short_help="List the cases that there are.")
def list_(as_json: AsJson = False) -> None:
    """List all cases: the project's own in ./cases and those that come with Joulegrid."""
    from joulegrid.cases.catalog import list_cases

    entries = list_cases()
    if as_json:
        typer.echo(json.dumps([{**asdict(entry), "folder": str(entry.folder)} for entry in entries], indent=2))
        return
    typer.echo("\n".join(_list_lines(entries)))


@app.command(short_help="Show one case: its module, dtypes and shapes.")
def show(name: CaseName, as_json: AsJson = False) -> None:
    """Show one case: where its module is, and in which dtypes and on which shapes a kernel for it is judged."""
    from joulegrid.cases.catalog import case_folder
    from joulegrid.cases.manifest import read_manifest

    folder = case_folder(name)
    if as_json:
        told = read_manifest(folder).model_dump(mode="json", by_alias=True)
        typer.echo(json.dumps({"folder": str(folder), **told}, indent=2))
    else:
        typer.echo("\n".join(_case_lines(folder)))


@app.command(short_help="Check whether a case catches wrong kernels.")
def check(name: CaseName, as_json: AsJson = False) -> None:
    """Check a case: does its module load, are its inputs well declared, would they catch wrong kernels?

    Exit code 1: the case is refused; 2: its manifest or module cannot be used.
    """
    from joulegrid.cases.catalog import case_folder
    from joulegrid.cases.check import check_case

    checked = check_case(case_folder(name))
    typer.echo(checked.model_dump_json(indent=2) if as_json else "\n".join(_lines(checked)))
    raise typer.Exit(0 if checked.admitted else 1)


def new_case(name: str, into: Path) -> Path:
    """Write a case's folder from the template; `UsageError` where the name is no name or the folder is there."""
    from joulegrid.cases.catalog import TEMPLATE

    if not _NAME.fullmatch(name) or name == TEMPLATE.name:
        raise UsageError(f"case new: {name!r} was given; a name is letters, digits, _ and -, and begins with a letter")
    folder = into / name
    if folder.exists():
        raise UsageError(f"case new: {folder} is there already; take another name or delete it")
    folder.mkdir(parents=True)
    for path in (TEMPLATE / "model.py", TEMPLATE / "manifest.yaml"):
        (folder / path.name).write_text(path.read_text(encoding="utf-8").replace(TEMPLATE.name, name), encoding="utf-8")
    return folder


def _list_lines(entries: Sequence[CaseEntry]) -> Iterator[str]:
    width = max((len(entry.name) for entry in entries), default=0)
    yield f"{'case':<{width}}  kind    level  dtypes     what it computes"
    for entry in entries:
        level = "-" if entry.level is None else str(entry.level)
        words = entry.description if entry.error is None else f"BROKEN: {entry.error.splitlines()[0]}"
        dtypes = ",".join(entry.dtypes) or "-"
        yield f"{entry.name:<{width}}  {entry.kind or '?':<6}  {level:<5}  {dtypes:<9}  {words}"
    own = [entry.name for entry in entries if entry.is_own]
    if own:
        yield f"From ./cases: {', '.join(own)}. A case there is taken in place of a packaged one of the same name."


def _case_lines(folder: Path) -> Iterator[str]:
    from joulegrid.cases.manifest import read_manifest, read_problem
    from joulegrid.kernels.shapes import named_shapes
    from joulegrid.kernels.shipped import handwritten

    problem, manifest = read_problem(folder), read_manifest(folder)
    yield f"{problem.name}: {manifest.description}"
    yield f"  module      {problem.class_name} in {problem.file}"
    yield f"  arguments   of constructor and forward: {folder / 'manifest.yaml'}"
    yield f"  dtypes      {', '.join(problem.dtypes)}; tolerance {problem.tolerance}"
    shapes = named_shapes(problem)
    width = max(map(len, shapes))
    for name, shape in shapes.items():
        dims = ", ".join(f"{dim} {size:,}" for dim, size in shape.dims.items())
        yield f"  --shape     {name:<{width}}  {dims}" + ("" if name == "tiny" else f"; weight {shape.weight:g}")
    yield f"  hidden      {', '.join(one.name for one in problem.hidden)}: sizes that the judge draws anew each time"
    written = handwritten().get(problem.name)
    if written is not None:
        yield f"  in Triton   {written}, written by hand, a candidate like any other"


def _lines(checked: CaseCheck) -> Iterator[str]:
    yield f"{checked.name}: module loads; {checked.evaluations} evaluations of shapes, dtypes and layouts"
    yield from (f"  wrong: {problem}" for problem in checked.problems)
    if checked.killed is None:
        yield "  mutants: not tried before that is mended"
    else:
        yield f"  mutants killed: {checked.killed} of {checked.applicable}"
    for row in checked.mutants:
        if row.fate not in ("killed", "not applicable"):
            yield f"  {row.fate}: {row.mutant} in {row.dtype}: {row.by}"
    yield (
        "admitted"
        if checked.admitted
        else "REFUSED: widen inputs, distributions, shapes or weights until no mutant survives"
    )
