"""`joulegrid status`: how runs stand, in lines for people or as JSON; once, or until they end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from joulegrid.cluster.storage import open_store
from joulegrid.errors import UsageError
from joulegrid.jobs.carbon.carbon_account import budget_words
from joulegrid.jobs.plan.estimate import duration_words
from joulegrid.jobs.report.quantity import plain
from joulegrid.jobs.status.status import RunStatus, is_run, read_status

if TYPE_CHECKING:
    from joulegrid.cluster.storage import Store

REFRESH_S = 2.0
_NOTES_SHOWN = 5
Show = Callable[[Sequence[RunStatus]], None]


def status_command(places: Sequence[str], *, follow: bool, verify: bool, as_json: bool) -> int:
    """Print how runs stand; return 1 where `verify` found damaged results, else 0.

    With `follow` again every two seconds, until nobody works on any of them.

    Raises:
        UsageError: where there is no run.
    """
    found = [runs_at(place) for place in places]
    stores = [store for stores in found for store in stores]
    one_run = len(places) == 1 and is_run(open_store(places[0]))
    with _shown(as_json=as_json, follow=follow, one_run=one_run) as show:
        while True:
            statuses = [read_status(store, verify=verify) for store in stores]
            show(statuses)
            if not follow or all(status.is_over for status in statuses):
                break
            time.sleep(REFRESH_S)
    return 1 if verify and any(status.damaged for status in statuses) else 0


def runs_at(place: str) -> list[Store]:
    """Return the run at a place, or the runs in a study's output; `UsageError` where there is none."""
    root = open_store(place)
    if is_run(root):
        return [root]
    found = [store for store in map(root.child, root.folders()) if is_run(store)]
    if not found:
        raise UsageError(
            f"no run at {root.url}; give a run's folder (it holds plan.json), its s3:// prefix, "
            "or the output folder in which runs lie"
        )
    return found


@contextmanager
def _shown(*, as_json: bool, follow: bool, one_run: bool) -> Iterator[Show]:
    """A terminal's lines are drawn over; a pipe gets a line for each change."""
    if as_json:
        yield _show_lines_of_json if follow else _show_run_as_json if one_run else _show_runs_as_json
    elif not follow:
        yield lambda statuses: _write(status_lines(statuses))
    elif sys.stdout.isatty():
        with _live() as show:
            yield show
    else:
        yield _Changes().show


@contextmanager
def _live() -> Iterator[Show]:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        yield lambda statuses: live.update(Text("\n".join(status_lines(statuses))), refresh=True)


class _Changes:
    """Prints a run's line when it differs from the one before."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def show(self, statuses: Sequence[RunStatus]) -> None:
        for status in statuses:
            told = status_line(status, timeless=True)
            if self._said.get(status.run) != told:
                self._said[status.run] = told
                _write([status_line(status)])


def _show_run_as_json(statuses: Sequence[RunStatus]) -> None:
    """What is asked of one run's place is one object; its shape depends on nothing that lies there."""
    _write([json.dumps(statuses[0].model_dump(mode="json"), indent=2, ensure_ascii=False)])


def _show_runs_as_json(statuses: Sequence[RunStatus]) -> None:
    runs = [status.model_dump(mode="json") for status in statuses]
    _write([json.dumps({"runs": runs}, indent=2, ensure_ascii=False)])


def _show_lines_of_json(statuses: Sequence[RunStatus]) -> None:
    _write([json.dumps(status.model_dump(mode="json"), ensure_ascii=False) for status in statuses])


def _write(lines: Sequence[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def status_lines(statuses: Sequence[RunStatus]) -> list[str]:
    """Return all that is known of one run, or a line for each of several."""
    if len(statuses) != 1:
        return [status_line(status) for status in statuses]
    (status,) = statuses
    parts = [
        ("tasks", _tasks(status)),
        ("failures", ", ".join(f"{name} {count}" for name, count in status.failures.items())),
        ("time left", _time_left(status)),
        ("energy", _energy(status)),
        ("budget", budget_words(status.budget) if status.budget else ""),
        ("driver", _driver(status)),
        ("written", status.written_at or "never"),
        *(("note", plain(note)) for note in status.notes[-_NOTES_SHOWN:]),
        *(("damaged", f"{one.task}: {plain(one.reason)}") for one in status.damaged or ()),
        *(("damaged", f"{path}: what it told is missing here") for path in status.damaged_segments),
    ]
    if status.damaged == []:
        parts.append(("verified", "every committed result has the bytes that were committed"))
    return [f"{_name(status)}: {status.state}", *(f"  {name:<10} {said}" for name, said in parts if said)]


def status_line(status: RunStatus, *, timeless: bool = False) -> str:
    """Return how a run stands in one line; `timeless` without what changes though nothing happens."""
    parts = [status.state, _tasks(status)]
    if not timeless and status.time_left_s:
        parts.append(f"about {duration_words(status.time_left_s)} left")
    parts += [_energy(status)] if status.energy_j else []
    parts += [f"{len(status.damaged)} damaged"] if status.damaged else []
    return f"{_name(status)}: {', '.join(parts)}"


def _name(status: RunStatus) -> str:
    return plain(status.run.rstrip("/").rpartition("/")[2])


def _tasks(status: RunStatus) -> str:
    others = [(name, getattr(status, name)) for name in ("failed", "skipped", "running", "pending")]
    known = [f"{count} {name}" for name, count in others if count]
    total = "an unknown number of tasks" if status.n_tasks is None else status.n_tasks
    if status.n_cycles_most is not None and status.n_cycles is not None:
        known.append(f"{status.n_cycles} + up to {status.n_cycles_most - status.n_cycles} cycles")
    return ", ".join([f"{status.done} of {total} done", *known])


def _time_left(status: RunStatus) -> str:
    if status.is_over:
        return ""
    if status.time_left_s is None:
        return "unknown until a task has ended"
    return f"about {duration_words(status.time_left_s)}"


def _energy(status: RunStatus) -> str:
    known = ", ".join(f"{joules:.4g} J ({name})" for name, joules in sorted(status.energy_j.items()))
    return f"{known} in headline windows" if known else "unknown"


def _driver(status: RunStatus) -> str:
    driver = status.driver
    if driver is None:
        return "nobody has left a name"
    who = f"process {driver.pid} on {plain(driver.host)}"
    if driver.alive:
        return f"{who}, seen {driver.seen_s_ago:.0f} s ago"
    if status.state == "abandoned":
        return f"{who} is gone since {driver.seen_at}; start the same study again to go on"
    return f"nobody; the last was {who}"
