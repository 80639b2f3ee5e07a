"""In which UTC hours a window's joules were drawn, from what its result and its power series say."""

from __future__ import annotations

import io
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from joulegrid.cluster.carbon.hours import Reading, crosses_an_hour, split

if TYPE_CHECKING:
    from joulegrid.actors.result import ExperimentResult, WindowResult
    from joulegrid.cluster.power.energy import Energy
    from joulegrid.cluster.storage import Store
    from joulegrid.jobs.report.run_results import Located


class WindowHours(NamedTuple):
    """A window's joules by hour, and how sure the hours are."""

    joules: dict[datetime, float]
    is_placed: bool = False
    """Whether the window's wall-clock time was taken from its task's start, in a result of an older version."""
    is_even: bool = False
    """Whether the power was taken for constant, because no series tells it."""


def window_hours(store: Store, located: Located, window: WindowResult, energy: Energy) -> WindowHours:
    """Return hour → joules of a known energy; the power series is read only for a window across an hour."""
    result = located.result
    offset_ns = offset_of(result)
    t0_ns, t1_ns, power = window.t0_ns + offset_ns, window.t1_ns + offset_ns, list[Reading]()
    is_across = crosses_an_hour(t0_ns, t1_ns)
    if is_across and result.timeseries is not None:
        path = f"{located.path}/{result.timeseries}"
        power = [(t_ns + offset_ns, power_w) for t_ns, power_w in _series(store, path, window, energy)]
    joules = split(energy.energy_j or 0.0, t0_ns, t1_ns, power)
    return WindowHours(joules, result.timing.unix_offset_ns is None, is_across and not power)


def offset_of(result: ExperimentResult) -> int:
    """Return what turns the result's monotonic times into nanoseconds since 1970.

    Results of older versions do not say: then as if the first window began with the workload's first line, which is
    seconds off.
    """
    if result.timing.unix_offset_ns is not None:
        return result.timing.unix_offset_ns
    started = datetime.fromisoformat(result.timing.started_at)
    first_ns = min((window.t0_ns for window in result.windows or []), default=0)
    return round((started.timestamp() + (result.timing.start_s or 0.0)) * 1e9) - first_ns


def _series(store: Store, path: str, window: WindowResult, energy: Energy) -> list[Reading]:
    """The readings of the energy's devices inside the window, devices summed; none where they were not read alike."""
    import pyarrow.parquet as pq

    try:
        columns = pq.read_table(io.BytesIO(store.get(path))).to_pydict()
        rows = zip(*(columns[name] for name in ("t_ns", "device", "power_w", "scope")), strict=True)
        devices: dict[str, list[Reading]] = {}
        for t_ns, device, power_w, scope in rows:
            if scope == energy.scope and window.t0_ns <= t_ns <= window.t1_ns:
                devices.setdefault(str(device), []).append((int(t_ns), float(power_w)))
    except (FileNotFoundError, KeyError, ValueError, TypeError, OSError):
        return []
    wanted = devices if energy.device is None else {energy.device: devices.get(energy.device, [])}
    return _summed(list(wanted.values()))


def _summed(devices: list[list[Reading]]) -> list[Reading]:
    """Sum series reading by reading; they are read one after the other in the same turn of the sampler."""
    if not devices or len({len(one) for one in devices}) > 1:
        return []
    return [(turn[0][0], sum(power_w for _, power_w in turn)) for turn in zip(*devices, strict=True)]
