"""Ways to run the unmodified module, each in a process of its own: which exist where, and what they need."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from joulegrid.kernels.judge.candidate import ReferenceCode
from joulegrid.kernels.judge.limits import Limits
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.timing.member import Member
from joulegrid.kernels.timing.result import BaselineName, Mode, TimingSettings


@dataclass(frozen=True, slots=True)
class Way:
    """How a baseline runs the module."""

    compile_mode: str | None = None
    """Of `torch.compile(…, dynamic=False)`; `None`: not compiled."""
    graph: bool = False
    """Captured in a CUDA graph."""
    needs_gpu: str | None = None
    """Why it does not exist without a GPU."""


WAYS: Mapping[BaselineName, Way] = {
    "eager": Way(),
    "eager-graph": Way(graph=True, needs_gpu="CUDA graphs need a GPU"),
    "compile": Way("default"),
    "max-autotune-no-cudagraphs": Way(
        "max-autotune-no-cudagraphs",
        needs_gpu="without a GPU there are no CUDA graphs to leave out: see max-autotune",
    ),
    "max-autotune": Way("max-autotune"),
}
MEMORY_BYTES = 16 << 30
COMPILER_PROCESSES = 64
COMPILER_SCRATCH_BYTES = 1 << 30
COMPILE_TIMEOUT_S = 600.0


def absent(name: BaselineName, device: Mode) -> str | None:
    """Return why a baseline cannot exist on this device; `None` where it can be tried."""
    return WAYS[name].needs_gpu if device == "cpu" else None


def baseline_member(problem: Problem, name: BaselineName, settings: TimingSettings, label: str | None = None) -> Member:
    """Return the case's module as a member, run in this way; `label` where one way is timed twice."""
    way = WAYS[name]
    mode = "cuda-graph" if way.graph else way.compile_mode
    limits = Limits(threads=settings.threads, memory_bytes=MEMORY_BYTES)
    if way.compile_mode is not None:
        limits = replace(
            limits,
            processes=COMPILER_PROCESSES,
            scratch_bytes=COMPILER_SCRATCH_BYTES,
            call_timeout_s=COMPILE_TIMEOUT_S,
            cache=str(compiler_cache()),
        )
    code = ReferenceCode(problem.file.read_text(encoding="utf-8"), problem.class_name, mode)
    return Member(label or name, code, limits)


def compiler_cache() -> Path:
    """Return where compiled references are kept: `$XDG_CACHE_HOME/joulegrid/inductor`, else the same below `~/.cache`.

    Every fresh process of a reference reads it; no candidate can reach it.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "joulegrid" / "inductor"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
