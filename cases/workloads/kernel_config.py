"""The fields of an experiment of the workload `kernel`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from joulegrid.cases.contract import ExperimentConfig, Section

Step = Literal["verify", "time", "profile"]
_USUAL: tuple[Step, ...] = ("verify", "time")
_ORDER: tuple[Step, ...] = (*_USUAL, "profile")


class KernelParams(Section):
    """Which candidate is judged, on what, and how far."""

    case: str = Field(min_length=1)
    """Name of a case, or a folder with a manifest."""
    candidate: str = Field(min_length=1)
    """The candidate's file, absolute or relative to the study's folder; `handwritten`: Joulegrid's own for the case."""
    shape: str = Field(default="tiny", min_length=1)
    """Shape that is timed: `tiny`, one of the case's, or `scaled:NAME`. Verification has shapes of its own."""
    dtype: str | None = None
    """`fp32`, `fp16` or `bf16`; null takes the case's first."""
    steps: tuple[Step, ...] = _USUAL
    """`verify`, and of what passed `time` and `profile`. The last one runs the candidate with your rights, outside the
    judge's walls: only where you would run it yourself."""
    processes: int = Field(default=5, ge=5)
    """Sets of fresh processes that are timed at least."""
    precision: float = Field(default=0.02, gt=0)
    """Half-width of the ratios' intervals at which no further processes are timed, within 90 s a comparison."""
    energy: bool = False
    """Repeat the candidate's calls in windows that are long enough for its joules."""

    @field_validator("steps")
    @classmethod
    def _verified_first(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        if "verify" not in steps or len(set(steps)) < len(steps):
            raise ValueError(
                "steps: give verify, and beside it time, profile or both; nothing is timed that was not verified"
            )
        return tuple(step for step in _ORDER if step in steps)


class KernelConfig(ExperimentConfig):
    """An experiment of the workload `kernel`."""

    workload: Literal["kernel"] = "kernel"
    """The code that a task runs."""
    kernel: KernelParams
    """Case, candidate, shape and dtype."""
