"""`joulegrid case new | list | check`: cases are begun from a template, listed, and tried out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from joulegrid.errors import UsageError

if TYPE_CHECKING:
    from joulegrid.cases.check import CaseCheck

app = typer.Typer(help="Begin, list and check the cases that kernels are judged by.", no_args_is_help=True)
CaseName = Annotated[str, typer.Argument(metavar="NAME", help="Of the case.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@app.command()
def new(
    name: CaseName,
    into: Annotated[Path, typer.Option("--into", help="Folder that the case's folder is made in.")] = Path("cases"),
) -> None:
    """Begin a case from the template: a folder with model.py and manifest.yaml to be edited."""
    folder = new_case(name, into)
    typer.echo(f"{folder}: put your module into model.py, edit manifest.yaml, then: joulegrid case check {name}")


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """List all cases: the project's own in ./cases and those that come with Joulegrid."""
    from joulegrid.cases.catalog import list_cases

    entries = list_cases()
    if as_json:
        typer.echo(json.dumps([{**asdict(entry), "folder": str(entry.folder)} for entry in entries], indent=2))
        return
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        level = "-" if entry.level is None else str(entry.level)
        words = entry.description if entry.error is None else f"BROKEN: {entry.error.splitlines()[0]}"
        typer.echo(
            f"{entry.name:<{width}}  {entry.kind or '?':<6}  {level}  {','.join(entry.dtypes) or '-':<9}  {words}"
        )


@app.command()
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
