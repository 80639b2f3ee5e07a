"""Power over time of one task an experiment, with the measured windows marked. Reads `timeseries.parquet`."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joulegrid.jobs.report.columns import experiment_name
from joulegrid.jobs.report.plots import COLOURS, Figure, new_figure, saved, styled
from joulegrid.jobs.report.quantity import plain
from joulegrid.jobs.report.run_results import Located, RunResults
from joulegrid.jobs.report.summary_row import SCOPE_WORDS

if TYPE_CHECKING:
    from joulegrid.actors.result import WindowResult
    from joulegrid.jobs.report.run_report import RunReport

_PANELS = 6
_COLUMNS = 3
_TRIED = 50  # experiments of which a series is looked for
_POINTS = 2_000  # a panel is 500 pixels wide; more points only swell the SVG
_TINTS = ("#f2c14e", "#7fb7be", "#c38d9e", "#8fbf7f", "#b0a1d6")


@dataclass(frozen=True, slots=True)
class Series:
    """Readings of one device, time in seconds since the task's first reading."""

    device: str
    kind: str
    """How the power was obtained and of what."""
    time_s: list[float]
    power_w: list[float]


@dataclass(frozen=True, slots=True)
class TaskPower:
    """What one panel shows."""

    name: str
    cycle: int
    windows: list[WindowResult]
    t0_ns: int
    series: list[Series]


def power_over_time(run: RunReport) -> Figure | str:
    """Draw power over time for the first cycle of up to six experiments; or say why there is nothing to draw."""
    tasks = _tasks(run)
    if not tasks:
        return "No figure of power over time: no power series was recorded."
    columns = min(_COLUMNS, len(tasks))
    lines = -(-len(tasks) // columns)
    with styled():
        figure = new_figure(1.2 + 3.6 * columns, 0.7 + 2.5 * lines)
        panels = list(figure.subplots(lines, columns, squeeze=False, sharey=True).flat)
        for panel, task in zip(panels, tasks, strict=False):
            _draw(panel, task, names=_window_names(tasks))
        panels[0].set_ylim(bottom=0)  # all share it; set any earlier it would keep the first task's upper end
        for panel in panels[len(tasks) :]:
            panel.set_visible(False)
        _legend(figure, _window_names(tasks))
        total = run.study.n_experiments
        shown = f"Shown: {len(tasks)} of {total} experiments." if total > len(tasks) else ""
        caption = "One task of each experiment, its first cycle that is done. Tinted: the measured windows."
        return saved(figure, "power", "Power over time", f"{caption} {shown}".strip())


def read_series(data: bytes) -> tuple[int, list[Series]]:
    """Return the first time stamp in nanoseconds, and the readings by device; at most 2,000 points a device."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data)).to_pydict()
    grouped: dict[tuple[str, str], list[tuple[int, float]]] = {}
    kinds = zip(table["device"], table["provenance"], table["scope"], strict=True)
    for (device, provenance, scope), t_ns, power_w in zip(kinds, table["t_ns"], table["power_w"], strict=True):
        if t_ns is not None and power_w is not None:
            kind = f"{provenance}, {SCOPE_WORDS.get(scope, scope)}" if provenance else "not said how obtained"
            grouped.setdefault((str(device), kind), []).append((t_ns, power_w))
    t0_ns = min((readings[0][0] for readings in map(sorted, grouped.values())), default=0)
    return t0_ns, [_series(place, sorted(readings), t0_ns) for place, readings in grouped.items()]


def _series(place: tuple[str, str], readings: list[tuple[int, float]], t0_ns: int) -> Series:
    thinned = readings[:: -(-len(readings) // _POINTS)]
    times = [(t_ns - t0_ns) / 1e9 for t_ns, _ in thinned]
    return Series(*place, time_s=times, power_w=[power_w for _, power_w in thinned])


def _tasks(run: RunReport) -> list[TaskPower]:
    found = RunResults(run.store)
    tasks: list[TaskPower] = []
    names = {row.key: experiment_name(row) for row in run.study.summary if row.n_done}
    for key, name in list(names.items())[:_TRIED]:
        located = found.first_done(key)
        task = _task(run, located, name) if located is not None else None
        if task is not None:
            tasks.append(task)
        if len(tasks) == _PANELS:
            break
    return tasks


def _task(run: RunReport, located: Located, name: str) -> TaskPower | None:
    result = located.result
    if result.timeseries is None:
        return None
    try:
        t0_ns, series = read_series(run.store.get(f"{located.path}/{result.timeseries}"))
    except FileNotFoundError:
        return None
    return TaskPower(name, result.cycle, result.windows or [], t0_ns, series) if series else None


def _window_names(tasks: list[TaskPower]) -> list[str]:
    return list(dict.fromkeys(window.name for task in tasks for window in task.windows))


def _draw(panel: Any, task: TaskPower, *, names: list[str]) -> None:
    for window in task.windows:
        start_s, end_s = ((t_ns - task.t0_ns) / 1e9 for t_ns in (window.t0_ns, window.t1_ns))
        tint = _TINTS[names.index(window.name) % len(_TINTS)]
        panel.axvspan(start_s, end_s, color=tint, alpha=0.35, linewidth=0)
    for number, series in enumerate(task.series):
        label = f"{plain(series.device)[:16]} ({series.kind})"
        colour = COLOURS[number % len(COLOURS)]
        panel.plot(series.time_s, series.power_w, color=colour, linewidth=1.0, label=label)
    if len(task.series) > 1:
        panel.legend(fontsize=6.5, loc="lower center")
    name = task.name if len(task.name) <= 40 else f"{task.name[:39]}…"
    panel.set_title(f"{name}, cycle {task.cycle + 1}", fontsize=8.5)
    panel.set_xlabel("time, s")
    kinds = "; ".join(dict.fromkeys(series.kind for series in task.series))
    panel.set_ylabel(f"power, W\n({kinds})")


def _legend(figure: Any, names: list[str]) -> None:
    from matplotlib.patches import Patch

    if not names:
        return
    patches = [Patch(color=_TINTS[n % len(_TINTS)], alpha=0.35, linewidth=0) for n in range(len(names))]
    labels = [plain(name) for name in names]
    figure.legend(patches, labels, loc="outside lower center", ncols=min(6, len(names)), fontsize=8)
