"""Does the judge work on this device at all? One question after another, each with its answer or its error.

Made for the first run on a machine: what fails is told by name, and the questions behind it are asked all the same.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from joulegrid.errors import JoulegridError
from joulegrid.kernels.draw import Draw
from joulegrid.kernels.judge.candidate import Candidate, ReferenceCode
from joulegrid.kernels.judge.memory import Arena
from joulegrid.kernels.judge.session import Session, open_session
from joulegrid.kernels.judge.settings import Settings
from joulegrid.kernels.judge.verdict import CandidateFault
from joulegrid.kernels.judge.verify import verify
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.module import flat_tensors
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.timing.baselines import WAYS, absent, baseline_member
from joulegrid.kernels.timing.comparison import first_calls
from joulegrid.kernels.timing.conditions import snapshot
from joulegrid.kernels.timing.ground import Ground, make_ground
from joulegrid.kernels.timing.inputs import fresh_inputs
from joulegrid.kernels.timing.result import TimingSettings
from joulegrid.kernels.trial import make_trial

FAULTS = (JoulegridError, CandidateFault, RuntimeError, OSError, ValueError, TypeError, AttributeError, AssertionError)
"""What a step may fail of without ending the run."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What the questions are asked with."""

    problem: Problem
    candidate: Candidate
    settings: TimingSettings

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """Where they are asked."""
        return self.settings.device


def questions(subject: Subject) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield each question's name and how it is asked."""
    yield "device", lambda: _device(subject.device)
    yield "shared memory", lambda: _shared(subject.device)
    yield "one call, then series, in a child", lambda: _child(subject)
    yield "a candidate verified", lambda: _verified(subject)
    for name in WAYS:
        yield f"baseline {name}", lambda name=name: _baseline(subject, name)  # type: ignore[misc]


def asked(subject: Subject) -> list[dict[str, Any]]:
    """Ask all of them; return answers, errors and seconds."""
    found = []
    for name, question in questions(subject):
        began_s = time.monotonic()
        answer: dict[str, Any] = {"question": name, "answer": None, "error": None}
        try:
            answer["answer"] = question()
        except FAULTS as error:
            answer["error"] = f"{type(error).__name__}: {error}"
            answer["traceback"] = traceback.format_exc()
        answer["seconds"] = round(time.monotonic() - began_s, 2)
        found.append(answer)
    return found


def _device(device: str) -> dict[str, Any]:
    import torch

    facts: dict[str, Any] = {"torch": torch.__version__, "compiler": shutil.which("gcc") or shutil.which("clang")}
    if device == "cuda":
        from joulegrid.kernels.judge.cuda_memory import own_driver_environment, require_gpu

        require_gpu()
        board = torch.cuda.get_device_properties(torch.cuda.current_device())
        facts |= {"name": board.name, "capability": [board.major, board.minor], "cache_bytes": board.L2_cache_size}
        facts |= {"multiprocessors": board.multi_processor_count, "memory_bytes": board.total_memory}
        facts |= {"cuda": torch.version.cuda, "environment": own_driver_environment()}
    gpu = snapshot([], device).gpu
    return facts | {"clocks": None if gpu is None else {"sm_mhz": gpu.sm_mhz, "driver": gpu.driver}}


def _shared(device: str) -> dict[str, Any]:
    import torch

    arena = Arena(0, 3 << 20, device)
    region, _ = arena.reserve("inputs.0", torch.ones(1 << 18))
    nan = bool(region.tensor.isnan().all())
    region.tensor.fill_(2.0)
    digests = len(arena.digests(arena.given()))
    total = float(region.tensor.sum())
    del region
    arena.close()
    if not nan or total != 2.0 * (1 << 18):
        raise ValueError(f"canaries NaN: {nan}, sum {total}")
    return {"digests": digests}


def _child(subject: Subject) -> dict[str, Any]:
    problem, dtype = subject.problem, subject.settings.dtype or subject.problem.dtypes[0]
    trial = make_trial(problem, Draw(problem.tiny.dims, dtype, 1, device=subject.device))
    like = flat_tensors(trial.eager)
    code = ReferenceCode(problem.file.read_text(encoding="utf-8"), problem.class_name)
    with Zygote(subject.device) as zygote, open_session(zygote, code) as session:
        session.build(trial.init, dtype)
        session.load(trial.state)
        outcome = session.call(trial.inputs, like)
        equal = all(map(_same, outcome.outputs, like))
        if outcome.changed_inputs or not equal:
            raise ValueError(f"outputs equal eager's: {equal}; changed inputs: {outcome.changed_inputs}")
        return {"isolation": session.facts, **_series(session, trial, like, _sets(subject, trial))}


def _sets(subject: Subject, trial: Any) -> list[Any]:
    """Return four sets of inputs of the tiny shape."""
    return [one.arguments for one in fresh_inputs(subject.problem, trial.draw, 4)]


def _series(session: Session, trial: Any, like: list[Any], sets: list[Any]) -> dict[str, Any]:
    session.prepare(sets, like)
    session.settle()
    described_ns = session.run_series(4)
    session.refill(sets)
    plain_ns = session.run_series(4, describe=False)
    structure, outputs = session.outputs(3, like)
    session.refill(sets)
    flushed_ns = session.run_series(4, describe=False, flush=True)
    facts = {
        "described_ns": described_ns,
        "plain_ns": plain_ns,
        "device_ns": session.device_ns,
        "flushed_ns": flushed_ns,
    }
    facts |= {"copied_ns": session.revealed_ns, "flushes_ns": session.run_flushes(4), "structure": structure}
    session.refill(sets)
    times_ns, peak_bytes = session.device_times(4, 0.01)
    return facts | {"device_times_ns": times_ns, "peak_bytes": peak_bytes, "outputs": len(outputs)}


def _same(left: Any, right: Any) -> bool:
    return bool(((left == right) | ((left != left) & (right != right))).all())


def _verified(subject: Subject) -> dict[str, Any]:
    dtype = subject.settings.dtype or subject.problem.dtypes[0]
    found = verify(subject.problem, subject.candidate, Settings(device=subject.device, dtypes=(dtype,)))
    if not found.passed:
        raise ValueError(f"{found.verdict}: {[one.model_dump() for one in found.evidence]}")
    return {"draws": len(found.draws), "mode": found.mode, "launches": found.launches, "seconds": found.seconds}


def _baseline(subject: Subject, name: Any) -> str:
    reason = absent(name, subject.device)
    if reason is not None:
        return f"none here: {reason}"
    ground: Ground = make_ground(subject.problem, subject.settings)
    with Zygote(subject.device) as zygote:
        reason = first_calls(zygote, baseline_member(subject.problem, name, subject.settings), ground)
    if reason is not None:
        raise ValueError(reason)
    return "runs"
