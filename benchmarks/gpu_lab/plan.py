"""What is measured on a GPU, most important first: a list of steps, each run in a process of its own. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from joulegrid.kernels.problem import Problem, Shape

Kind = Literal["smoke", "same", "attack", "point"]
HALF = ("bf16", "fp16")
FIRST = ("rmsnorm", "softmax", "swiglu", "cross_entropy", "layernorm", "add_rmsnorm")
"""Cases that are measured before the others: what readers know best."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do; its key finds it again in the results of an earlier run."""

    kind: Kind
    case: str = ""
    shape: str = ""
    dtype: str = ""
    file: str = ""
    """The candidate's, of an attack; of a point it follows from the case."""

    @property
    def key(self) -> str:
        """Name the step in a file."""
        return " ".join(filter(None, (self.kind, self.case, self.shape, self.dtype, Path(self.file).stem)))


def steps(problems: Mapping[str, Problem], attacks: Sequence[tuple[str, str, str]], device: str) -> list[Step]:
    """Return all steps in order: does it work at all, A/A, attacks, points by the weight of their shape.

    The weightiest shape of every case in half precision comes first, then the same in the other dtypes, then the other
    shapes. `attacks` are (file, case, dtype).
    """
    names = sorted(problems, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    first = names[0]
    found = [Step("smoke", first, *_heaviest(problems[first], device))]
    found.append(Step("same", first, *_heaviest(problems[first], device)))
    found += [Step("attack", case, "tiny", dtype, file) for file, case, dtype in attacks]
    return found + [point for rank in (0, 1, 2) for name in names for point in _points(problems[name], device, rank)]


def shapes_of(problem: Problem, device: str) -> list[Shape]:
    """Return a problem's weighted shapes, heaviest first; on a CPU its tiny one stands for all of them."""
    if device == "cpu":
        return [Shape("tiny", problem.tiny.dims)]
    return sorted(problem.shapes, key=lambda shape: -shape.weight)


def _heaviest(problem: Problem, device: str) -> tuple[str, str]:
    return shapes_of(problem, device)[0].name, _dtypes(problem)[0]


def _points(problem: Problem, device: str, rank: int) -> Iterator[Step]:
    heaviest, *others = shapes_of(problem, device)
    half, *rest = _dtypes(problem)
    pairs = {
        0: [(heaviest, half)],
        1: [(heaviest, dtype) for dtype in rest],
        2: [(shape, dtype) for shape in others for dtype in (half, *rest)],
    }
    for shape, dtype in pairs[rank]:
        yield Step("point", problem.name, shape.name, dtype)


def _dtypes(problem: Problem) -> list[str]:
    """Half precision first: what is served."""
    return sorted(problem.dtypes, key=lambda dtype: dtype not in HALF)


def remaining(planned: Sequence[Step], done: Collection[str]) -> list[Step]:
    """Return the steps that an earlier run has not finished; the smoke step is done in every run."""
    return [step for step in planned if step.kind == "smoke" or step.key not in done]


def affordable(spent_s: Sequence[float], left_s: float, least_s: float = 20.0) -> bool:
    """Tell whether another step is begun: as long as the middle one so far would still fit."""
    usual = sorted(spent_s)[len(spent_s) // 2] if spent_s else least_s
    return left_s >= max(least_s, usual)
