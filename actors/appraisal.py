"""What the power series adds to a finished result: nets above idle, steady states, requests' joules, MIG shares."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from joulegrid.actors.result import ExperimentResult, WindowResult
from joulegrid.cases.contract import IDLE_WINDOW
from joulegrid.cluster.power.attribution.shares import Idle, Measured, RequestShares, shares
from joulegrid.cluster.power.attribution.steps import Part, Step, intervals, trace
from joulegrid.cluster.power.baseline import Baseline, baselines_of, with_net
from joulegrid.cluster.power.energy import Energy
from joulegrid.cluster.power.sensors.mig import estimated_share
from joulegrid.cluster.power.sensors.series import Sample
from joulegrid.cluster.power.steady import Point, Steady, steadiness

STEP_LOG = "artifacts/steps.json.gz"
STEP_LOG_BYTES = 64 * 2**20
"""Of the log as text; a larger one is not read."""
UNREADABLE = (OSError, EOFError, zlib.error, RecursionError, ValueError, TypeError, LookupError, ArithmeticError)
"""What reading bytes that somebody else wrote may raise."""
_LOG = TypeAdapter(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a lane while its task ran."""

    samples: Sequence[Sample]
    celsius: Sequence[tuple[int, float]] | None
    """(time, °C of the warmest GPU); `None` without a GPU."""
    done: Mapping[int, Sequence[tuple[int, int]]]
    """Start of a window → (time, repetitions finished by then)."""
    bare: tuple[Baseline, ...] = ()
    idle_s: float = 0.0
    """How long the task was asked to hold still with its weights resident."""
    steps: Path | None = None
    parents: Mapping[int, Energy] | None = None
    """On a MIG instance: start of a window → joules of the whole GPU."""
    slices: tuple[int, int] | None = None


def appraised(result: ExperimentResult, seen: Seen) -> ExperimentResult:
    """Return a done result with what the series says of it; a failed one as it is."""
    if result.status != "done" or not result.windows:
        return result
    loaded = loaded_idle(result.windows, seen)
    baselines = (*seen.bare, *loaded)
    return result.model_copy(
        update={
            "windows": [_window(one, seen, baselines) for one in result.windows],
            "baselines": list(baselines),
            "requests": _requests(result.windows, seen, baselines),
        }
    )


def loaded_idle(windows: Sequence[WindowResult], seen: Seen) -> tuple[Baseline, ...]:
    """Return the idle power with the weights resident, from the window in which the task held still."""
    if seen.idle_s <= 0:
        return ()
    window = next((one for one in windows if one.name == IDLE_WINDOW), None)
    if window is None:
        return (Baseline(kind="loaded_idle", reason="the workload does not hold still (probe.idle)"),)
    samples = [sample for sample in seen.samples if window.t0_ns <= sample.t_ns <= window.t1_ns]
    return tuple(baselines_of("loaded_idle", window.energy, window.seconds, samples))


def _window(window: WindowResult, seen: Seen, baselines: Sequence[Baseline]) -> WindowResult:
    own = [one for one in baselines if not (one.kind == "loaded_idle" and window.name == IDLE_WINDOW)]
    updated: dict[str, Any] = {
        "energy": with_net(window.energy, window.seconds, own),
        "steady": _steady(window, seen) if window.name != IDLE_WINDOW else None,
    }
    parent = (seen.parents or {}).get(window.t0_ns)
    if parent is not None:
        named = parent.model_copy(update={"flags": tuple(dict.fromkeys((*parent.flags, "parent_gpu")))})
        updated["beside"] = [*window.beside, with_net(named, window.seconds, own)]
        idle_w = next((one.power_w for one in own if one.device == parent.device and one.kind == "bare_idle"), None)
        idle_j = None if idle_w is None else idle_w * window.seconds
        updated["estimated_share"] = estimated_share(parent, idle_j, seen.slices)
    return window.model_copy(update=updated)


def _steady(window: WindowResult, seen: Seen) -> Steady | None:
    curve = [point for point in trace(_main(seen.samples, window)) if window.t0_ns <= point[0] <= window.t1_ns]
    if not curve:
        return None
    power: list[Point] = [
        ((now_ns - window.t0_ns) / 1e9, (now_j - then_j) / ((now_ns - then_ns) / 1e9))
        for (then_ns, then_j), (now_ns, now_j) in pairwise(curve)
        if now_ns > then_ns
    ]
    done = [(0.0, 0.0), *(((t_ns - window.t0_ns) / 1e9, float(n)) for t_ns, n in seen.done.get(window.t0_ns, ()))]
    celsius: list[Point] | None = None
    if seen.celsius is not None:
        inside = [(t_ns, value) for t_ns, value in seen.celsius if window.t0_ns <= t_ns <= window.t1_ns]
        celsius = [((t_ns - window.t0_ns) / 1e9, value) for t_ns, value in inside]
    return steadiness(window.seconds, power, done, celsius)


def _requests(windows: Sequence[WindowResult], seen: Seen, baselines: Sequence[Baseline]) -> RequestShares | None:
    if seen.steps is None:
        return None
    try:
        name, steps = read_steps(seen.steps)
        window = {one.name: one for one in windows}[name]
        if any(not window.t0_ns <= step.t0_ns < step.t1_ns <= window.t1_ns for step in steps):
            raise ValueError("a step lies outside its window, or ends before it begins")
    except UNREADABLE as error:
        return RequestShares(window="unknown", reason=f"the step log cannot be used: {type(error).__name__} {error}")
    measured = intervals(steps, trace(_main(seen.samples, window)), window.t0_ns, window.t1_ns)
    return shares(Measured(name, window.seconds, window.energy, _idle(window.energy, baselines)), steps, measured)


def _idle(energy: Energy, baselines: Sequence[Baseline]) -> Idle | None:
    """The idle power of all devices of an energy: with the weights resident, else bare; `None` where one is unknown."""
    devices = [part.device for part in energy.parts or (energy,)]
    for kind in ("loaded_idle", "bare_idle"):
        own = {one.device: one for one in baselines if one.kind == kind and one.scope == energy.scope}
        found = [own[device] for device in devices if device in own and own[device].power_w is not None]
        if len(found) == len(devices):
            return Idle(sum(one.power_w or 0.0 for one in found), sum(one.u_w or 0.0 for one in found))
    return None


def read_steps(path: Path) -> tuple[str, list[Step]]:
    """Read a step log (`joulegrid.cases.workloads.step_log`); `ValueError` and the like for one that is malformed."""
    with gzip.open(path) as file:
        text = file.read(STEP_LOG_BYTES + 1)
    if len(text) > STEP_LOG_BYTES:
        raise ValueError(f"it has more than {STEP_LOG_BYTES // 2**20} MiB")
    log = _LOG.validate_python(json.loads(text))
    names = [str(name) for name in log["requests"]]
    return str(log["window"]), [
        Step(int(t0_ns), int(t1_ns), tuple(_part(names, *part) for part in parts))
        for t0_ns, t1_ns, parts in log["steps"]
    ]


def _part(names: Sequence[str], request: int, prefill: float, decode: float, kv: float) -> Part:
    counts = (float(prefill), float(decode), float(kv))
    if request < 0 or not all(0 <= count < float("inf") for count in counts):
        raise ValueError(f"a step of request {request} has the counts {counts}")
    return Part(names[request], counts)


def _main(samples: Sequence[Sample], window: WindowResult) -> list[Sample]:
    """The readings of a window's main devices, a few before and after it included."""
    energy = window.energy
    devices = {part.device for part in energy.parts or (energy,)} - {None}
    return [
        sample
        for sample in samples
        if sample.scope == energy.scope
        and sample.provenance == energy.provenance
        and (not devices or sample.device in devices)
    ]
