"""Try variants of a case in this very process: quick, and no evidence (`trust: in_process`).

Code that is tried here shares process, clock and memory with what looks at it, and runs with one's own rights. It is
for finding out; `joulegrid kernel verify` and `time` are for knowing.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulegrid.cases.catalog import case_folder
from joulegrid.cases.lab_settings import LabSettings, lab_settings
from joulegrid.cases.manifest import read_problem
from joulegrid.cases.variant import Correctness, Latency, Memory, VariantMetrics, Wrong, throughput_of
from joulegrid.errors import PreFlightError, UsageError
from joulegrid.kernels.shapes import checked_dtype, shape_named

if TYPE_CHECKING:
    from joulegrid.kernels.criterion import Expectation
    from joulegrid.kernels.draw import Draw
    from joulegrid.kernels.problem import Problem, Shape
    from joulegrid.kernels.tensor_cache import SharedTensors
    from joulegrid.kernels.trial import Trial

ENTRY = "OptimizedModel"
CLOCK = "median and 10–90 % of calls, each between two stamps with the device waited for"
LEAST_CALLS = 5
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class CasePoint:
    """Which shape, dtype and draw of a case."""

    shape: str = "tiny"
    """`tiny`, one of the weighted shapes, or `scaled:NAME`."""
    dtype: str | None = None
    """`None`: the case's first."""
    seed: int | None = None
    """`None`: that of the settings."""
    distribution: str = "normal"
    rebuild: bool = False
    """Draw the shared tensors anew, although they are in the cache."""


@dataclass(frozen=True, slots=True)
class CaseForward:
    """A forward with weights and inputs attached: call it without arguments. All variants of a point share tensors."""

    problem: Problem
    shape: Shape
    draw: Draw
    tensors: SharedTensors
    source: str
    forward: Callable[[Any], Any] = field(repr=False)
    """Called with `Arguments`."""

    def __call__(self) -> Any:
        """Return the outputs for the shared inputs; `UsageError` where the forward raises."""
        return self.forward(self.tensors.inputs)


def make_case_forward(
    case: str | Path | Problem,
    implementation: Any = None,
    point: CasePoint | None = None,
    settings: LabSettings | None = None,
) -> CaseForward:
    """Return a case's forward, ready to be called.

    `implementation` is `None` for the case's own module; the path of a candidate, a file with a class
    `OptimizedModel`; a class, which is built and loaded like it; or any callable of `forward`'s arguments. Inputs and
    weights come from the cache (`LabSettings.cache`) by the case's fingerprint and the seed, and are drawn anew when
    the case has changed. `UsageError` where something cannot be loaded, built or fitted.
    """
    require_torch()
    from joulegrid.kernels.draw import Draw
    from joulegrid.kernels.tensor_cache import TensorCache

    settings, point = settings or lab_settings(), point or CasePoint()
    problem = read_problem(case_folder(str(case))) if isinstance(case, str | Path) else case
    shape = shape_named(problem, point.shape)
    seed = settings.seed if point.seed is None else point.seed
    draw = Draw(shape.dims, checked_dtype(problem, point.dtype), seed, point.distribution, device=settings.used_device)
    tensors = TensorCache(settings.cache).tensors(problem, draw, rebuild=point.rebuild)
    source, forward = _forward(problem, draw, tensors, implementation)
    return CaseForward(problem, shape, draw, tensors, source, forward)


def execute_variant(
    label: str, forward_impl: CaseForward, *, use_profiler: bool = False, settings: LabSettings | None = None
) -> VariantMetrics:
    """Seed, warm up, time and check a variant in this process; write `artifacts/{case}/{label}/metrics.json`.

    Its outputs are compared before and after timing, with the case's criterion, and its inputs must be what they
    were. With `use_profiler` a few calls more are traced into `profiler/`. A variant that is wrong or raises is a
    result without numbers of speed, no error. `UsageError` for a label that is no file name, or a forward that
    `make_case_forward` did not make.
    """
    if not isinstance(forward_impl, CaseForward):
        raise UsageError("execute_variant: give what make_case_forward(CASE, your_function) returns, not the function")
    settings = settings or lab_settings()
    folder = variant_folder(settings, forward_impl.problem.name, label)
    metrics = _measured(label, forward_impl, settings)
    if use_profiler and metrics.correctness.passed:
        from joulegrid.cases.profiling import profile

        profile(forward_impl, folder / "profiler")
        metrics = metrics.model_copy(update={"profiler": sorted(path.name for path in (folder / "profiler").iterdir())})
    write_metrics(folder, metrics)
    return metrics


def variant_folder(settings: LabSettings, case: str, label: str) -> Path:
    """Return `artifacts/{case}/{label}`; `UsageError` where the label is no plain name."""
    return settings.artifacts / case / checked_label(label)


def checked_label(label: str) -> str:
    """Return a label that can name a folder; `UsageError` otherwise."""
    if not _LABEL.fullmatch(label):
        raise UsageError(f"label: {label!r} was given; use letters, digits, `.`, `_` and `-`")
    return label


def write_metrics(folder: Path, metrics: VariantMetrics) -> Path:
    """Write `metrics.json` and return its path; `PreFlightError` where the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(metrics.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise PreFlightError(f"{folder} cannot be written: {error}; set JOULEGRID_ARTIFACTS to another one") from error
    return folder / "metrics.json"


def require_torch() -> None:
    """Raise `PreFlightError` where torch is not installed."""
    if find_spec("torch") is None:  # importing it takes seconds, which a wrong argument shall not cost
        raise PreFlightError("this needs torch; install it with `pip install joulegrid[pytorch]`")


def _forward(problem: Problem, draw: Draw, tensors: SharedTensors, given: Any) -> tuple[str, Callable[[Any], Any]]:
    """What is called with the arguments, and its name."""
    from joulegrid.kernels.module import call, construct, in_dtype, load_class, load_state
    from joulegrid.kernels.trial import constructor_arguments

    if isinstance(given, str | Path):
        name, cls = str(given), _candidate_class(problem, Path(given))
    elif given is None or isinstance(given, type):
        name, cls = ("reference", load_class(problem)) if given is None else (given.__qualname__, given)
    elif callable(given):
        return getattr(given, "__qualname__", type(given).__qualname__), lambda arguments: call(given, arguments)
    else:
        raise UsageError(f"implementation: {given!r} is neither a file, a class nor a function")
    built = in_dtype(construct(cls, constructor_arguments(problem, draw.dims)), draw.dtype, draw.device)
    module = load_state(built, tensors.state)
    return name, lambda arguments: call(module, arguments)


def _candidate_class(problem: Problem, path: Path) -> Any:
    from joulegrid.kernels.module import load_class

    if not path.is_file():
        raise UsageError(f"candidate: {path} is {'a folder' if path.is_dir() else 'missing'}; give a Python file")
    return load_class(replace(problem, file=path, class_name=ENTRY))


def _measured(label: str, variant: CaseForward, settings: LabSettings) -> VariantMetrics:
    from joulegrid.kernels.device import device_name, peak_memory, reset_peak_memory
    from joulegrid.kernels.trial import make_trial

    problem, draw = variant.problem, variant.draw
    trial = make_trial(problem, draw)
    expected = trial.expectations()
    memory = latency = None
    with _seeded(draw.seed):
        correctness = _checked(variant, trial, expected)
        if correctness.passed:
            reset_peak_memory(draw.device)
            latency = _latency(variant, settings)
            peak = peak_memory(draw.device)
            memory = Memory(peak_bytes=peak.bytes, kind=peak.kind)
            correctness = _checked(variant, trial, expected)
    numbers = problem.bytes_moved(draw.dims, draw.dtype), problem.flops(draw.dims)
    timed = latency if correctness.passed else None
    return VariantMetrics(
        case=problem.name,
        fingerprint=problem.fingerprint,
        label=label,
        source=variant.source,
        trust="in_process",
        shape=variant.shape.name,
        dims=dict(draw.dims),
        dtype=draw.dtype,
        seed=draw.seed,
        device=draw.device,
        device_name=device_name(draw.device),
        latency=timed,
        throughput=throughput_of(timed.median_us / 1e6, *numbers) if timed else None,
        memory=memory,
        correctness=correctness,
    )


def _checked(variant: CaseForward, trial: Trial, expected: Sequence[Expectation]) -> Correctness:
    """Call once with copies of the inputs and compare outputs and inputs."""
    from joulegrid.kernels.criterion import compare
    from joulegrid.kernels.module import flat_tensors, map_tensors

    inputs = map_tensors(variant.tensors.inputs, lambda tensor: tensor.clone())
    try:
        outputs = variant.forward(inputs)
    except UsageError as error:
        return Correctness(passed=False, verdict="runtime_error", draws=1, error=str(error))
    before = flat_tensors([list(trial.inputs.args), dict(trial.inputs.kwargs)])
    after = flat_tensors([list(inputs.args), dict(inputs.kwargs)])
    if not all(bool(left.equal(right)) for left, right in zip(before, after, strict=True)):
        return Correctness(passed=False, verdict="changed_inputs", draws=1, error="forward wrote into its inputs")
    wrong = [
        Wrong(output=one.output, measure=one.measure, found=one.found, allowed=one.allowed)
        for one in compare(outputs, expected)
    ]
    verdict = f"wrong_{'values' if wrong[0].measure not in ('shape', 'dtype') else wrong[0].measure}" if wrong else ""
    return Correctness(passed=not wrong, verdict=verdict or "passed", draws=1, wrong=wrong)


def _latency(variant: CaseForward, settings: LabSettings) -> Latency:
    for _ in _call_seconds(variant, settings.warmup_seconds):
        pass
    seconds = sorted(_call_seconds(variant, settings.timed_seconds))
    tenth, ninetieth = seconds[len(seconds) // 10], seconds[-1 - len(seconds) // 10]
    median = statistics.median(seconds)
    return Latency(median_us=median * 1e6, low_us=tenth * 1e6, high_us=ninetieth * 1e6, calls=len(seconds), clock=CLOCK)


def _call_seconds(variant: CaseForward, least_seconds: float) -> Iterator[float]:
    """Call until the time is over, a few times at least; yield how long each took."""
    from joulegrid.kernels.device import synchronize

    device, end, calls = variant.draw.device, time.perf_counter() + least_seconds, 0
    while calls < LEAST_CALLS or time.perf_counter() < end:
        synchronize(device)
        started = time.perf_counter()
        variant()
        synchronize(device)
        yield time.perf_counter() - started
        calls += 1


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside the block, for variants that draw; afterwards they are as before."""
    import torch

    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
