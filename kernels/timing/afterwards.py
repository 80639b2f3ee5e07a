"""Verify what timed calls left behind: some against the oracle, all against a baseline's outputs of the same inputs.

This is no second judgement of accuracy. It finds calls that were timed and did no work: an output that was shown
before, or that is another call's, differs from the baseline's by about its own size, and roundings do not.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from joulegrid.kernels.criterion import compare
from joulegrid.kernels.double import oracle_module, oracle_outputs
from joulegrid.kernels.draw import Draw
from joulegrid.kernels.ensemble import Settings, expectations, null_ensemble
from joulegrid.kernels.judge.verdict import Evidence
from joulegrid.kernels.module import flat_tensors, load_class
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.timing.series import Visit
from joulegrid.kernels.trial import Trial, constructor_arguments

ALLOWED = 8.0
"""How many times the baseline's own error, or the rounding floor, two outputs of the same inputs may lie apart."""
FLOOR_ULPS, FLOOR_ULPS_PER_ROOT = 2.0, 0.25
"""The rounding floor, in steps of the dtype at 1: so many, and so many times the root of the longest sum."""
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
        self.evidence = Evidence(
            check=f"timed outputs {check}",
            where=where,
            expected=expected,
            found=found,
            advice="every timed call must do all of its work on the inputs that it was given",
        )


class Afterwards:
    """Looks at the outputs of every series of one problem; remembers how far the baseline lies from the oracle."""

    def __init__(self, problem: Problem, draw: Draw, state: Mapping[str, Any]) -> None:
        self.compared = 0
        self._problem = problem
        self._draw = draw
        self._state = state
        self._cls = load_class(problem)
        self._init = constructor_arguments(problem, draw.dims)
        self._oracle = oracle_module(problem, self._init, state)
        self._known: list[float] = []

    def verify(self, visits: Sequence[Visit], samples: int) -> None:
        """Compare the candidate's outputs of one series with the baseline's, and some of both with the oracle.

        `samples` calls go to the oracle; before anything is known of the baseline's own error one at least. Raises
        `WrongAfterTiming` with what was found.
        """
        by_member = {visit.member: visit for visit in visits}
        trusted, candidate = by_member[TRUSTED], by_member.get(CANDIDATE)
        calls = list(trusted.outputs)
        wanted = samples if self._known else max(samples, 1)
        for call in _RANDOM.sample(calls, min(wanted, len(calls))):
            self._against_oracle(call, trusted, candidate)
        if candidate is not None:
            for call in calls:
                self._against_baseline(call, candidate, trusted)
            self.compared += len(calls)

    def _against_oracle(self, call: int, trusted: Visit, candidate: Visit | None) -> None:
        inputs, own = trusted.sets[call].arguments, trusted.outputs[call]
        oracle = oracle_outputs(self._oracle, inputs)
        found = [_apart(*pair) for pair in zip(own, flat_tensors(oracle), strict=True)]
        self._known = [max(pair) for pair in zip(found, self._known or found, strict=True)]
        if candidate is None:
            return
        trial = Trial(self._problem, self._draw, self._cls, self._init, inputs, self._state, self._state, own, oracle)
        expected = expectations(trial, null_ensemble(trial, Settings(DRAWN, layouts=False)))
        wrong = compare(candidate.outputs[call], expected)
        if wrong:
            place = f"output {wrong[0].output} of call {call} of {len(trusted.sets)}"
            raise WrongAfterTiming(
                "against the oracle", place, f"{wrong[0].measure} {wrong[0].found}", str(wrong[0].allowed)
            )

    def _against_baseline(self, call: int, visit: Visit, trusted: Visit) -> None:
        pairs = zip(visit.outputs[call], trusted.outputs[call], self._known, strict=True)
        for place, (tensor, like, known) in enumerate(pairs):
            where = f"output {place} of call {call} of {len(trusted.sets)}"
            for name, found, wanted in (("shape", tensor.shape, like.shape), ("dtype", tensor.dtype, like.dtype)):
                if found != wanted:
                    raise WrongAfterTiming(f"{name} against the baseline", where, str(found), str(wanted))
            apart, allowed = _apart(tensor, like), self._allowed(like, known)
            if not apart <= allowed:
                raise WrongAfterTiming("against the baseline", where, f"{apart:.3g} apart", f"{allowed:.3g} at most")

    def _allowed(self, like: Any, known: float) -> float:
        import torch

        if not like.is_floating_point():
            return FLIPPED + 3 * known
        terms = self._problem.reduction(self._draw.dims)
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
