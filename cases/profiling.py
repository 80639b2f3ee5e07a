"""Where a variant's time goes: an operator table, a Chrome trace, and its bytes and FLOPs against the device's roof."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from joulegrid.cases.contract import Section
from joulegrid.errors import JoulegridError, PreFlightError

if TYPE_CHECKING:
    from joulegrid.cases.explore import CaseForward, CasePoint

TRACED_CALLS = 10
OPERATORS_KEPT = 50
TRACE, OPERATORS = "trace.json", "operators.json"
CHILD_LIMIT_S = 300.0


class OperatorRow(Section):
    """One operator in all traced calls."""

    name: str
    """As torch calls it; on a GPU also kernels."""
    calls: int
    """How often it ran in one call of forward."""
    cpu_us: float
    """Time of its own on the CPU in one call of forward, without what it called."""
    device_us: float
    """The same on the GPU; 0 on a CPU."""
    share: float
    """Part of the whole time of its kind: device time where there is any, else CPU time."""


class RoofShare(Section):
    """How near a variant comes to what copies and products reach on this device."""

    bytes: int
    """Least traffic of one call by the manifest's formula."""
    flops: int
    """Operations of one call by the manifest's formula."""
    intensity: float
    """FLOP for each byte."""
    bound: Literal["memory", "compute"]
    """What limits such a call at the roof."""
    seconds: float
    """Time of one call here, untraced."""
    roof_seconds: float
    """Time of one call at the roof."""
    share: float
    """`roof_seconds / seconds`; above 1 where the tensors stay in a cache, which the roof's copy does not."""
    bytes_per_s: float
    """Roof: bytes that a copy or a sum moves."""
    flops_per_s: float
    """Roof: operations of a square product in the dtype."""
    how: str = "the best that copies, sums and square products were measured to do here"
    """How the roof was obtained."""


class Profile(Section):
    """What `joulegrid kernel profile` and `profiler_tool` return."""

    case: str
    """Name of the case."""
    source: str
    """`reference`, or what was run."""
    trust: Literal["in_process"] = "in_process"
    """It ran in the process that looked at it."""
    shape: str
    """Name of the shape."""
    dtype: str
    """The dtype."""
    device: str
    """`cpu` or `cuda`."""
    operators: list[OperatorRow]
    """The most expensive ones first, fifty at most."""
    roof: RoofShare
    """Against the roof."""
    trace: str
    """File for chrome://tracing or ui.perfetto.dev; in `operators.json` its name, for it lies beside it."""


def profile(variant: CaseForward, folder: Path) -> Profile:
    """Trace ten calls after three untraced ones; write `trace.json` and `operators.json` into the folder.

    `PreFlightError` where it cannot be written; `UsageError` where the variant raises.
    """
    seconds = _seconds(variant)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        operators, trace = _operators(variant, folder), folder / TRACE
        found = Profile(
            case=variant.problem.name,
            source=variant.source,
            shape=variant.shape.name,
            dtype=variant.draw.dtype,
            device=variant.draw.device,
            operators=operators,
            roof=_roof_share(variant, seconds),
            trace=str(trace),
        )
        kept = found.model_copy(update={"trace": trace.name})
        (folder / OPERATORS).write_text(kept.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise PreFlightError(f"{folder} cannot be written: {error}; set JOULEGRID_ARTIFACTS to another one") from error
    return found


def profile_apart(case: str | Path, candidate: Path, point: CasePoint, device: str) -> dict[str, bytes] | str:
    """Trace a candidate in a process of its own and return the files it wrote by their name, or why there are none.

    The process has the rights of whoever starts it, and none of the judge's walls: only for candidates that one would
    run oneself. What else it writes is not looked at.
    """
    with tempfile.TemporaryDirectory(prefix="joulegrid-profile-") as folder:
        arguments = [str(case), str(candidate), point.shape, str(point.dtype), folder]
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        env = {**os.environ, "PYTHONPATH": path, "JOULEGRID_DEVICE": device}
        command = [sys.executable, "-m", "joulegrid.cases.profiling", *arguments]
        try:
            done = subprocess.run(
                command, env=env, capture_output=True, text=True, errors="replace", timeout=CHILD_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"profiling took longer than {CHILD_LIMIT_S:g} s"
        found = {name: Path(folder, name) for name in (TRACE, OPERATORS)}
        if done.returncode != 0 or not all(place.is_file() for place in found.values()):
            said = done.stderr.strip().splitlines()
            return f"profiling left with {done.returncode}: {said[-1] if said else 'it said nothing'}"
        return {name: place.read_bytes() for name, place in found.items()}


def main(case: str, candidate: str, shape: str, dtype: str, folder: str) -> None:
    """Trace one candidate into a folder: what `profile_apart` starts."""
    from joulegrid.cases.explore import CasePoint, make_case_forward

    profile(make_case_forward(case, candidate, CasePoint(shape, dtype)), Path(folder))


def _seconds(variant: CaseForward) -> float:
    """The fastest of some untraced calls."""
    from joulegrid.kernels.device import synchronize

    found = []
    for _ in range(3 + TRACED_CALLS):
        synchronize(variant.draw.device)
        started = time.perf_counter()
        variant()
        synchronize(variant.draw.device)
        found.append(time.perf_counter() - started)
    return min(found[3:])


def _operators(variant: CaseForward, folder: Path) -> list[OperatorRow]:
    from torch.profiler import ProfilerActivity, profile

    from joulegrid.kernels.device import synchronize

    activities = [ProfilerActivity.CPU]
    activities += [ProfilerActivity.CUDA] if variant.draw.device == "cuda" else []
    with profile(activities=activities, acc_events=True) as tracer:
        for _ in range(TRACED_CALLS):
            variant()
        synchronize(variant.draw.device)
    tracer.export_chrome_trace(str(folder / TRACE))
    events = list(tracer.key_averages())
    whole_device = sum(_device_us(event) for event in events)
    whole = whole_device or sum(float(event.self_cpu_time_total) for event in events) or 1.0
    rows = [_row(event, whole, on_device=whole_device > 0) for event in events]
    return sorted(rows, key=lambda row: -row.share)[:OPERATORS_KEPT]


def _row(event: Any, whole: float, *, on_device: bool) -> OperatorRow:
    cpu, device = float(event.self_cpu_time_total), _device_us(event)
    return OperatorRow(
        name=str(event.key),
        calls=round(event.count / TRACED_CALLS),
        cpu_us=cpu / TRACED_CALLS,
        device_us=device / TRACED_CALLS,
        share=(device if on_device else cpu) / whole,
    )


def _device_us(event: Any) -> float:
    return float(getattr(event, "self_device_time_total", 0.0))


def _roof_share(variant: CaseForward, seconds: float) -> RoofShare:
    from joulegrid.kernels.timing.roofs import machine_roofs

    draw, problem = variant.draw, variant.problem
    roofs = machine_roofs(draw.device, draw.dtype)
    n_bytes, flops, peak = problem.bytes_moved(draw.dims, draw.dtype), problem.flops(draw.dims), roofs.peak(draw.dtype)
    memory_s, compute_s = n_bytes / roofs.bytes_per_s, flops / peak
    least = max(memory_s, compute_s)
    return RoofShare(
        bytes=n_bytes,
        flops=flops,
        intensity=flops / n_bytes,
        bound="memory" if memory_s >= compute_s else "compute",
        seconds=seconds,
        roof_seconds=least,
        share=least / seconds,
        bytes_per_s=roofs.bytes_per_s,
        flops_per_s=peak,
    )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except JoulegridError as error:
        sys.exit(str(error))
