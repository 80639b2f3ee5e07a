"""The mutation score: would a case's inputs catch wrong kernels? Every mutant on every draw, until it is caught.

A mutant is *killed* where some draw tells it from the reference, in each dtype; it *survives* otherwise. It *does not
apply* where there is nothing to change. A survivor that the case declares as equivalent is *equivalent* only if it
agrees with the reference in float64, too, to the last bits, on every draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from joulegrid.errors import UsageError
from joulegrid.kernels.criterion import Expectation, compare
from joulegrid.kernels.distributions import DISTRIBUTIONS
from joulegrid.kernels.double import in_double, oracle_module, widened
from joulegrid.kernels.draw import Draw
from joulegrid.kernels.ensemble import expectations
from joulegrid.kernels.module import call, flat_tensors, load_state, map_tensors
from joulegrid.kernels.mutants import Mutant, Scene, mutants_of
from joulegrid.kernels.problem import Arguments, Problem
from joulegrid.kernels.trial import Trial, make_trial

Fate = Literal["killed", "survived", "equivalent", "not applicable", "wrongly declared"]
EQUIVALENT_RELATIVE = 1e-9
"""Two evaluations in float64 that differ by less, relative to the largest number of the output, compute the same."""


@dataclass(frozen=True, slots=True)
class MutantFate:
    """What became of one mutant in one dtype, and which draw or reason decided it."""

    mutant: str
    dtype: str
    fate: Fate
    by: str


@dataclass(frozen=True, slots=True)
class MutationScore:
    """The fates of all mutants in all dtypes."""

    fates: tuple[MutantFate, ...]

    @property
    def killed(self) -> int:
        """Mutants that were told from the reference."""
        return sum(fate.fate == "killed" for fate in self.fates)

    @property
    def applicable(self) -> int:
        """Mutants that should have been: all but those that do not apply or are equivalent."""
        return sum(fate.fate not in ("not applicable", "equivalent") for fate in self.fates)

    @property
    def failures(self) -> tuple[MutantFate, ...]:
        """Survivors, and declarations that do not hold: the case is admitted when there is none."""
        return tuple(fate for fate in self.fates if fate.fate in ("survived", "wrongly declared"))


def mutation_score(problem: Problem, seed: int = 0) -> MutationScore:
    """Try all mutants of a problem in each of its dtypes, on the tiny shape and one of each hidden generator."""
    fates = [fate for dtype in problem.dtypes for fate in _fates(problem, dtype, seed)]
    unknown = sorted(problem.equivalent_mutants.keys() - {fate.mutant for fate in fates})
    if unknown:
        known = ", ".join(dict.fromkeys(fate.mutant for fate in fates))
        raise UsageError(f"equivalent_mutants: {', '.join(unknown)} is no mutant of this case; they are {known}")
    return MutationScore(tuple(fates))


def _fates(problem: Problem, dtype: str, seed: int) -> Iterator[MutantFate]:
    found: dict[str, MutantFate] = {}
    open_ones: dict[str, Mutant] | None = None
    for scene in _scenes(problem, dtype, seed):
        if open_ones is None:
            open_ones = mutants_of(scene.narrow.trial)
        for name, mutant in list(open_ones.items()):
            fate = _fate(scene, name, mutant)
            if fate is not None:
                found[name] = fate
                del open_ones[name]
        if not open_ones:
            break
    for name in open_ones or {}:
        found[name] = _unkilled(problem, name, dtype)
    yield from found.values()


def _fate(scene: _Scenes, name: str, mutant: Mutant) -> MutantFate | None:
    """What one draw decides about a mutant; `None` where it decides nothing."""
    problem, dtype = scene.narrow.trial.problem, scene.narrow.trial.draw.dtype
    outputs = mutant(scene.narrow)
    if outputs is None and name in problem.equivalent_mutants:
        return MutantFate(name, dtype, "wrongly declared", "does not apply to this case")
    if outputs is None:
        return MutantFate(name, dtype, "not applicable", "nothing to change")
    if name in problem.equivalent_mutants:
        with in_double():
            same = _same(mutant(scene.wide), scene.wide.truth)
        return None if same else MutantFate(name, dtype, "wrongly declared", f"differs in float64 on {scene.words}")
    wrong = compare(outputs, scene.expected)
    return MutantFate(name, dtype, "killed", f"{wrong[0].measure} on {scene.words}") if wrong else None


def _unkilled(problem: Problem, name: str, dtype: str) -> MutantFate:
    declared = problem.equivalent_mutants.get(name)
    if declared is not None:
        return MutantFate(name, dtype, "equivalent", declared)
    return MutantFate(name, dtype, "survived", "no draw tells it from the reference")


@dataclass(frozen=True, slots=True)
class _Scenes:
    """One draw: the scene in the case's dtype and in float64, what outputs must fulfil, and its name."""

    narrow: Scene
    wide: Scene
    expected: list[Expectation]
    words: str


def _scenes(problem: Problem, dtype: str, seed: int) -> Iterator[_Scenes]:
    for shape in [problem.tiny, *(hidden.draw(problem.tiny.dims, seed) for hidden in problem.hidden)]:
        earlier = make_trial(problem, Draw(shape.dims, dtype, seed + 1000))
        for place, distribution in enumerate(DISTRIBUTIONS):
            trial = make_trial(problem, Draw(shape.dims, dtype, seed + place, distribution))
            words = f"{shape.name}, {distribution}"
            yield _Scenes(_narrow(trial, earlier), _wide(trial, earlier), expectations(trial), words)


def _narrow(trial: Trial, earlier: Trial) -> Scene:
    def run(state: Mapping[str, Any], arguments: Arguments) -> Any:
        return call(trial.module(state), map_tensors(arguments, lambda tensor: tensor.clone()))

    return Scene(trial, earlier, run, trial.eager, trial.module)


def _wide(trial: Trial, earlier: Trial) -> Scene:
    """The same draw in float64: a mutant that changes nothing of the mathematics agrees here to the last bits."""
    make = partial(oracle_module, trial.problem, trial.init)

    def run(state: Mapping[str, Any], arguments: Arguments) -> Any:
        return call(load_state(make(trial.state), map_tensors(state, widened)), map_tensors(arguments, widened))

    widely = replace(trial, inputs=map_tensors(trial.inputs, widened), eager=trial.oracle)
    return Scene(widely, earlier, run, trial.oracle, lambda: make(trial.state))


def _same(outputs: Any, truth: Any) -> bool:
    pairs = zip(flat_tensors(outputs), flat_tensors(truth), strict=True)
    return all(_close(output.double(), true.double()) for output, true in pairs)


def _close(output: Any, true: Any) -> bool:
    import torch

    if output.equal(true) or not true.numel():
        return True
    largest = float(true[true.isfinite()].abs().max()) if bool(true.isfinite().any()) else 0.0
    return bool(torch.allclose(output, true, rtol=0, atol=EQUIVALENT_RELATIVE * largest, equal_nan=True))
