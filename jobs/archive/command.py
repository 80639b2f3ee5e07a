"""`joulegrid archive list | show | replay | report | keep`: what was found out about kernels, kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from joulegrid.errors import UsageError

if TYPE_CHECKING:
    from joulegrid.cluster.storage import Store as OpenStore

app = typer.Typer(help="Look into the archive of judged kernels, and judge them again.", no_args_is_help=True)
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="An archive's name, a part of it, or `latest`.", show_default=False)
]
StoreUrl = Annotated[str | None, typer.Option("--store", help="Folder or s3:// that archive/ lies in [results].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.command(name="list", short_help="List what is in the archive.")
def list_(store: StoreUrl = None, as_json: AsJson = False) -> None:
    """List the archives of a store, oldest first."""
    from dataclasses import asdict

    from joulegrid.jobs.archive.record import Archived
    from joulegrid.jobs.archive.shelf import MAKERS, archives
    from joulegrid.jobs.archive.view import print_list

    place = _store(store)
    found = list(archives(place))
    if as_json:
        told = [
            one.model_dump(mode="json", exclude={"files"}) | {"verdict": one.verdict, "mean_speedup": one.speedup}
            if isinstance(one, Archived)
            else asdict(one)
            for one in found
        ]
        typer.echo(json.dumps(told, indent=2))
    elif found:
        print_list(found)
    else:
        typer.echo(f"{place.url} holds no archive; {MAKERS}.")


@app.command(short_help="Show one archive in full.")
def show(name: Name, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Show one archive in full. Exit code 1: some of its files are damaged."""
    from joulegrid.jobs.archive.shelf import take_down
    from joulegrid.jobs.archive.view import print_archive

    opened = take_down(_store(store), name)
    if as_json:
        typer.echo(json.dumps(opened.record.model_dump(mode="json") | {"damaged": opened.damaged}, indent=2))
    else:
        print_archive(opened)
    raise typer.Exit(1 if opened.damaged else 0)


@app.command(short_help="Judge an archived candidate again: does it hold?")
def replay(
    name: Name,
    store: StoreUrl = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu or cuda [where it was judged].")] = None,
    fresh: Annotated[bool, typer.Option("--fresh/--no-fresh", help="Judge it on fresh seeds, too.")] = True,
    as_json: AsJson = False,
) -> None:
    """Judge an archived candidate again, with its own seeds and with fresh ones: does it still hold?

    Exit code 0: it holds; 1: it does not, or is damaged.
    """
    from joulegrid.cases.judging import open_zygote
    from joulegrid.jobs.archive.replay import replay as replayed
    from joulegrid.jobs.archive.shelf import take_down
    from joulegrid.jobs.archive.view import print_replay

    opened = take_down(_store(store), name)
    used = device or opened.record.points[0].device
    if used not in ("cpu", "cuda"):
        raise UsageError(f"--device: {used!r} was given; cpu and cuda are allowed")
    typer.echo(f"judging {opened.record.candidate} again …", err=True)
    with open_zygote("cuda" if used == "cuda" else "cpu") as zygote:
        found = replayed(opened, zygote, fresh=fresh)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        print_replay(found)
    raise typer.Exit(0 if found.holds else 1)


@app.command(short_help="Show the figures of all archives together.")
def report(store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Show the figures of all archives together: fast_p, geometric mean, score against the roof."""
    from joulegrid.jobs.archive.record import Archived, judged_of
    from joulegrid.jobs.archive.shelf import archives
    from joulegrid.jobs.archive.view import print_report
    from joulegrid.jobs.report.kernel_figures import figures_of

    place = _store(store)
    found = [one for one in archives(place) if isinstance(one, Archived)]
    if not found:
        raise UsageError(f"archive: {place.url} holds no archive that can be read")
    if as_json:
        told = [one.model_dump(mode="json") for one in figures_of(judged_of(found))]
        typer.echo(json.dumps(told, indent=2))
    else:
        print_report(found)


@app.command(short_help="Make archives of what a study's run judged.")
def keep(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder or s3:// of a run.", show_default=False)],
    store: StoreUrl = None,
) -> None:
    """Archive what a run of the workload `kernel` judged: one archive for each candidate and case.

    A study does so itself at its end; this is for one that was cut short, or another store. Nothing is kept twice.
    """
    from joulegrid.cluster.storage import open_store
    from joulegrid.jobs.archive.of_study import archived

    place, kept = _store(store), 0
    for record in archived(open_store(run), place):
        typer.echo(f"{place.url}/archive/{record.name}")
        kept += 1
    if not kept:
        told = f"{run} has no done task of the workload `kernel` that judged a candidate"
        raise UsageError(f"archive keep: {told}; give the folder of a run that has, as `joulegrid status` names it")


def _store(url: str | None) -> OpenStore:
    from joulegrid.cases.lab_settings import lab_settings
    from joulegrid.cluster.storage import open_store

    return open_store(url or lab_settings().archive)
