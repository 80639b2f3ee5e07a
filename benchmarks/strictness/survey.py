"""A verification that goes on after a finding: everything that would refuse a candidate, and what that relies on.

Nothing of the judge is weaker here: its first finding is still the verdict. What a call is held against is evaluated
once for all candidates that are tried on the same draw.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joulegrid.kernels.criterion import Expectation
from joulegrid.kernels.judge.draw_plan import PlannedDraw
from joulegrid.kernels.judge.judgement import Judgement
from joulegrid.kernels.judge.limits import Checks
from joulegrid.kernels.judge.session import Session
from joulegrid.kernels.judge.verdict import CandidateFault, Verdict
from joulegrid.kernels.module import flat_tensors
from joulegrid.kernels.trial import Trial

PHASES = ("in the constructor", "in forward", "in load_state_dict")
"""Where a candidate's own code raises while the protocol goes on."""
_OBSERVED = frozenset({"poison", "guards", "freeze"})
"""What a call that is looked at may owe its result to, whatever is found."""


@dataclass(frozen=True, slots=True)
class Found:
    """One kind of finding."""

    check: str
    verdict: str
    relies_on: tuple[str, ...]
    """Checks without which it may not have come about: rather too many than too few."""


@dataclass(slots=True)
class Evaluated:
    """Trials and what is expected of them, by draw: they are the same for every candidate."""

    trials: dict[Any, Trial] = field(default_factory=dict)
    expected: dict[Any, list[Expectation]] = field(default_factory=dict)


@dataclass
class Shared(Judgement):
    """The judge's own judgement, with evaluations that are shared between candidates."""

    evaluated: Evaluated = field(default_factory=Evaluated)

    def _trial(self, planned: PlannedDraw, state: Any) -> Trial:
        if state is not None:
            return Judgement._trial(self, planned, state)
        key = (self.problem.fingerprint, repr(planned.draw))
        if key not in self.evaluated.trials:
            self.evaluated.trials[key] = Judgement._trial(self, planned, None)
        return self.evaluated.trials[key]

    def _expected(self, trial: Trial) -> list[Expectation]:
        key = (trial.problem.fingerprint, repr(trial.draw), _digest(trial))
        if key not in self.evaluated.expected:
            self.evaluated.expected[key] = Judgement._expected(self, trial)
        return self.evaluated.expected[key]


@dataclass
class Survey(Shared):
    """A judgement that notes each finding and goes on; the first one is raised in the end."""

    notes: Counter[Found] = field(default_factory=Counter)
    _first: CandidateFault | None = None
    _conditions: frozenset[str] = frozenset()
    """Checks without which what is being looked at would be another call, or none."""
    _tried: int = 0

    def judge(self, zygote: Any, dtype: str, seed: int) -> None:
        """Try all draws of a dtype, whatever is found; then raise what was found first."""
        try:
            super().judge(zygote, dtype, seed)
        except CandidateFault as fault:
            self._note(fault)
        if self._first is not None:
            raise self._first

    def _judge_shape(self, session: Session, plan: list[PlannedDraw]) -> None:
        self._tried = 0
        self._conditions = frozenset({"hidden_shapes"} if plan[0].group else ())
        try:
            super()._judge_shape(session, plan)
        except CandidateFault as fault:
            if not _answers(session, fault):
                raise
            self._note(fault)

    def _try(self, session: Session, planned: PlannedDraw, trial: Trial, *, near: bool = False) -> Any:
        more = {"near_draws", "fresh_weights"} if near else {"fresh_weights"} if self._tried else set()
        self._tried += 1
        self._conditions = _conditions(planned) | _OBSERVED | more
        return super()._try(session, planned, trial, near=near)

    def _repeat(self, session: Session, first: Any) -> None:
        self._conditions = _conditions(first.planned) | {"determinism", "fresh_weights", "freeze"}
        if not any(output.is_meta for output in first.outcome.outputs):  # what has another shape was not read
            super()._repeat(session, first)

    def _try_disguised(self, session: Session, first: Any) -> None:
        self._conditions = _conditions(first.planned) | _OBSERVED | {"disguise", "fresh_weights"}
        super()._try_disguised(session, first)

    def _try_without_kernels(self, session: Session, first: Any) -> None:
        self._conditions = _conditions(first.planned) | _OBSERVED | {"decoy", "fresh_weights"}
        super()._try_without_kernels(session, first)

    def _hold(self, finding: Callable[..., None], *given: Any) -> None:
        """Note what all checks together find first, then what each finds alone."""
        try:
            finding(*given)
        except CandidateFault as fault:
            self._first = self._first or fault
            for alone in [*_one_by_one(given)] or [given]:
                try:
                    finding(*alone)
                except CandidateFault as one:
                    self._note(one)

    def _note(self, fault: CandidateFault) -> None:
        self._first = self._first or fault
        check = fault.evidence.check
        own = {check} & set(Checks.names())
        on = {name for name in self._conditions | own if getattr(self.settings.checks, name)}
        self.notes[Found(check, str(fault.verdict), tuple(sorted(on)))] += 1


def only(name: str) -> Checks:
    """Return one check alone switched on; values on the tiny shape are always looked at."""
    return Checks().without(*(other for other in Checks.names() if other != name))


def _answers(session: Session, fault: CandidateFault) -> bool:
    """Whether the child only raised and can be asked again: what a broken one says next would be no other finding."""
    raised = fault.verdict in (Verdict.RUNTIME_ERROR, Verdict.FORBIDDEN) and fault.evidence.where.startswith(PHASES)
    return raised and Path(f"/proc/{session.pid}").exists()


def _conditions(planned: PlannedDraw) -> frozenset[str]:
    draw = planned.draw
    special = {
        "hidden_shapes": planned.group > 0,
        "distributions": draw.distribution != "normal",
        "layouts": draw.layout != "contiguous",
    }
    return frozenset(name for name, needed in special.items() if needed)


def _one_by_one(given: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the same arguments with each check of theirs alone; nothing where they have none."""
    for place, checks in enumerate(given):
        if isinstance(checks, Checks):
            for name in Checks.names():
                if getattr(checks, name):
                    yield (*given[:place], only(name), *given[place + 1 :])


def _digest(trial: Trial) -> bytes:
    import torch

    found = hashlib.blake2b(digest_size=16)
    for tensor in flat_tensors([list(trial.inputs.args), dict(trial.inputs.kwargs), dict(trial.state)]):
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.digest()
