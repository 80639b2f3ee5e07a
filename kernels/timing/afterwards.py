"""Verify what timed calls left behind: some against the oracle, all against a baseline's outputs of the same inputs.

The comparison with the baseline only sifts: what lies farther apart than errors that were seen before is held against
the oracle as well, and the oracle alone condemns. An output that was shown before, or that is another call's, differs
by about its own size; roundings do not.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from joulegrid.kernels.criterion import compare
from joulegrid.kernels.double import oracle_module, oracle_outputs
from joulegrid.kernels.draw import Draw
from joulegrid.kernels.ensemble import Settings, expectations, null_ensemble
from joulegrid.kernels.judge.verdict import Evidence, Verdict
from joulegrid.kernels.module import call as evaluate
from joulegrid.kernels.module import construct, flat_tensors, in_dtype, load_class, load_state, map_tensors
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.timing.inputs import InputSet
from joulegrid.kernels.timing.series import Left, Visit
from joulegrid.kernels.trial import Trial, constructor_arguments

ALLOWED = 3.0
"""How many times their two errors, as far as is known, two outputs may lie apart before the oracle is asked."""
FLOOR_ULPS, FLOOR_ULPS_PER_ROOT = 2.0, 0.25
"""The rounding floor, in steps of the dtype at 1: so many, and so many times the root of the longest sum."""
FEW = 256
"""Outputs of fewer numbers have errors that are small by chance: theirs is the floor that grows with the sum."""
DRAWN = 6
"""Members of the null ensemble that a timed call is judged by: fewer make wider limits."""
FLIPPED = 0.05
"""Share of integers that may differ beyond three times the share in which baseline and oracle do."""
CANDIDATE = "candidate"
TRUSTED = "eager"
"""The baseline whose outputs the others' are held against."""
SAME = "same"
"""The strongest baseline in a process of its own once more."""
_SINGLE_BYTES = 4
_LEAST = 1e-37
"""No scale is smaller: a row of zeros would make every error infinite, and an error there still shows."""
_RANDOM = random.SystemRandom()


class WrongAfterTiming(Exception):  # noqa: N818 - a finding, not a fault
    """Outputs of a timed call were wrong."""

    def __init__(self, check: str, where: str, found: str, expected: str) -> None:
        super().__init__(f"{check}: {where}: {found}; expected {expected}")
        self.verdict = Verdict.WRONG_VALUES
        self.evidence = Evidence(
            check=f"timed outputs {check}",
            where=where,
            expected=expected,
            found=found,
            advice="every timed call must do all of its work on the inputs that it was given",
        )


@dataclass(frozen=True, slots=True)
class _Call:
    """One call: what it was given, what it left, what eager makes of it, and its place in words."""

    inputs: InputSet
    outputs: Sequence[Any]
    eager: Sequence[Any]
    where: str


class Afterwards:
    """Looks at the outputs of every series of one problem; remembers how far members lie from the oracle."""

    def __init__(self, problem: Problem, draw: Draw, state: Mapping[str, Any]) -> None:
        self.compared = 0
        self._problem = problem
        self._draw = draw
        self._first = self._state = state
        self._cls = load_class(problem)
        self._init = constructor_arguments(problem, draw.dims)
        self._oracle: Any = None
        self._known: dict[str, list[float]] = {}

    def verify(self, left: Left, samples: int) -> None:
        """Compare the candidate's outputs of one series with the baseline's, and some of both with the oracle.

        `samples` calls go to the oracle, and all on odd inputs; before anything is known of errors one at least. Raises
        `WrongAfterTiming` with what was found.
        """
        by_member = {visit.member: visit for visit in left.visits}
        trusted, candidate = by_member[TRUSTED], by_member.get(CANDIDATE)
        self._weights(left.state)
        calls = [call for call in trusted.outputs if call not in left.odd]
        wanted = samples if self._known else max(samples, 1)
        for call in _RANDOM.sample(calls, min(wanted, len(calls))):
            self._against_oracle(call, trusted, candidate)
        for call in left.odd if candidate is not None else ():
            self._against_oracle(call, trusted, candidate)
        if candidate is not None:
            for call in calls:
                if self._is_off(call, candidate, trusted):
                    self._against_oracle(call, trusted, candidate)
            self.compared += len(calls) + len(left.odd)

    def _weights(self, state: Mapping[str, Any]) -> None:
        if state and state is not self._state:
            self._state, self._oracle = state, None

    def alone(self, visit: Visit) -> None:
        """Hold calls that were made with the first weights against the oracle, no baseline beside them."""
        module = load_state(
            in_dtype(construct(self._cls, self._init), self._draw.dtype, self._draw.device), self._first
        )
        self._weights(self._first)
        for call, outputs in visit.outputs.items():
            one = visit.sets[call]
            eager = flat_tensors(evaluate(module, map_tensors(one.arguments, lambda tensor: tensor.clone())))
            self._require_right(_Call(one, outputs, eager, f"call {call} of {len(visit.sets)} in a window"))

    def _against_oracle(self, call: int, trusted: Visit, candidate: Visit | None) -> None:
        one, own = trusted.sets[call], trusted.outputs[call]
        visits = [trusted]
        if candidate is not None:
            visits.append(candidate)
            where = f"call {call} of {len(trusted.sets)}, {one.distribution} inputs"
            self._require_right(_Call(one, candidate.outputs[call], own, where))
        if one.distribution == self._draw.distribution:
            oracle = flat_tensors(self._exact(one))
            for visit in visits:
                self._learn(visit.member, visit.outputs[call], oracle)

    def _require_right(self, made: _Call) -> None:
        problem, state, inputs = self._problem, self._state, made.inputs.arguments
        draw = replace(self._draw, distribution=made.inputs.distribution)
        oracle = self._exact(made.inputs)
        trial = Trial(problem, draw, self._cls, self._init, inputs, state, state, made.eager, oracle)
        expected = expectations(trial, null_ensemble(trial, Settings(DRAWN, layouts=False)))
        wrong = compare(made.outputs, expected)
        if wrong:
            where = f"output {wrong[0].output} of {made.where}"
            found = f"{wrong[0].measure} {wrong[0].found}"
            raise WrongAfterTiming("against the oracle", where, found, str(wrong[0].allowed))

    def _exact(self, one: InputSet) -> Any:
        self._oracle = self._oracle or oracle_module(self._problem, self._init, self._state)
        return oracle_outputs(self._oracle, one.arguments)

    def _learn(self, member: str, outputs: Sequence[Any], oracle: Sequence[Any]) -> None:
        found = [_apart(*pair) for pair in zip(outputs, oracle, strict=True)]
        known = self._known.get(member, found)
        self._known[member] = [max(pair) for pair in zip(found, known, strict=True)]

    def _is_off(self, call: int, visit: Visit, trusted: Visit) -> bool:
        """Whether a call's outputs lie farther from the baseline's than is known of both; another form is raised."""
        off = False
        for place, (tensor, like) in enumerate(zip(visit.outputs[call], trusted.outputs[call], strict=True)):
            where = f"output {place} of call {call} of {len(trusted.sets)}"
            for name, found, wanted in (("shape", tensor.shape, like.shape), ("dtype", tensor.dtype, like.dtype)):
                if found != wanted:
                    raise WrongAfterTiming(f"{name} against the baseline", where, str(found), str(wanted))
            known = sum(errors[place] for errors in self._known.values())
            off |= not _apart(tensor, like) <= self._allowed(like, known)
        return off

    def _allowed(self, like: Any, known: float) -> float:
        import torch

        if not like.is_floating_point():
            return FLIPPED + 3 * known
        terms = self._problem.reduction(self._draw.dims) if like.numel() < FEW else 0
        floor = float(torch.finfo(like.dtype).eps) * (FLOOR_ULPS + FLOOR_ULPS_PER_ROOT * terms**0.5)
        return float(ALLOWED * max(known, floor))


def _apart(tensor: Any, like: Any) -> float:
    """Return how far two evaluations lie apart: the worst element over its row's root mean square; of integers a share.

    NaN where one is infinite or NaN and the other is not the same.
    """
    import torch

    if not tensor.numel():
        return 0.0
    if not tensor.is_floating_point():
        return float((tensor != like).double().mean())
    width = like.shape[-1] if like.dim() else 1
    exact = like.dtype if like.dtype.itemsize >= _SINGLE_BYTES else torch.float32
    rows, wanted = (one.reshape(-1, width).to(exact) for one in (tensor, like))
    error = rows - wanted
    if not bool(error.isfinite().all()):
        error = torch.where(rows == wanted, 0, error)
        wanted = wanted.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    sizes = torch.linalg.vector_norm(wanted, dim=-1) / width**0.5
    return float((torch.linalg.vector_norm(error, torch.inf, dim=-1) / sizes.clamp_(min=_LEAST)).max())
