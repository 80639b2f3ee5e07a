"""One dtype of a verification, in one child: every draw, repeats, and a call without kernels."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from joulegrid.kernels.criterion import Expectation
from joulegrid.kernels.double import oracle_module, oracle_outputs
from joulegrid.kernels.judge import findings
from joulegrid.kernels.judge.candidate import Candidate
from joulegrid.kernels.judge.draw_plan import PlannedDraw, planned_draws
from joulegrid.kernels.judge.outcome import Observe, Outcome
from joulegrid.kernels.judge.session import Session, open_session
from joulegrid.kernels.judge.settings import Settings, mode_of, proxy_of
from joulegrid.kernels.judge.verdict import CandidateFault, DrawRecord, Evidence, Verdict
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.module import call, flat_tensors, map_tensors
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.trial import Trial, make_trial

REPEATS = {"cpu": 3, "interpreter": 3, "cuda": 19}
"""How often the very first draw is repeated one by one, apart from its first call."""
LATER_REPEATS = 2
"""How often the first draw on each further shape is repeated, at most."""
REPEATS_IN_A_ROW, FEWEST_IN_A_ROW, ROW_S, ROW_BYTES = 500, 50, 0.15, 32 << 20
"""How often it is then repeated without a stop, at most: what is wrong once in fifty calls shows but in one of 20,000
verifications. Less often where it takes longer or returns more; on a GPU, where outputs must be copied, not at all."""


@dataclass(slots=True)
class Course:
    """What has been seen so far."""

    draws: list[DrawRecord] = field(default_factory=list)
    launches: dict[str, int] = field(default_factory=dict)
    operators: dict[str, int] = field(default_factory=dict)
    isolation: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Tried:
    """One draw that was called: what is expected is worth keeping, since the null ensemble takes a while."""

    planned: PlannedDraw
    trial: Trial
    expected: list[Expectation]
    outcome: Outcome


@dataclass(slots=True)
class Judgement:
    """One dtype of one verification, in one child."""

    problem: Problem
    candidate: Candidate
    settings: Settings
    course: Course
    kept: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Where calls changed what the module or its file holds, and what."""

    def judge(self, zygote: Zygote, dtype: str, seed: int) -> None:
        """Try all draws of a dtype; `CandidateFault` at the first that fails."""
        settings = self.settings
        judged = proxy_of(self.candidate, settings, dtype)
        plan = planned_draws(self.problem, judged, seed, settings.draws, settings.checks)
        limits = settings.limits.on(settings.device)
        with open_session(zygote, self.candidate, limits, freeze=settings.checks.freeze) as session:
            self.course.isolation = dict(session.facts)
            for _, group in itertools.groupby(plan, lambda planned: planned.group):
                self._judge_shape(session, list(group))
            if settings.checks.held:  # what came of it has more to say, where anything did
                self._hold(findings.require_nothing_kept, self.kept)

    def _judge_shape(self, session: Session, plan: list[PlannedDraw]) -> None:
        checks = self.settings.checks
        first: _Tried | None = None
        for place, planned in enumerate(plan):
            trial = self._trial(planned, None if first is None or checks.fresh_weights else first.trial.state)
            if place == 0:
                self._build(session, trial)
            if place == 0 or checks.fresh_weights:
                session.load(trial.state, mutate=place > 0)
            tried = self._try(session, planned, trial)
            first = first or tried
        assert first is not None
        self._repeat(session, first)
        if checks.near_draws and first.planned.group == 0:
            self._try_near(session, first)
        if self.candidate.language == "triton":
            self._try_as_triton(session, first)

    def _trial(self, planned: PlannedDraw, state: Any) -> Trial:
        draw = replace(planned.draw, device=self.settings.device)
        trial = make_trial(self.problem, draw)
        return trial if state is None else self._with_state(trial, state)

    def _with_state(self, trial: Trial, state: Mapping[str, Any]) -> Trial:
        """Return the trial as it is with these weights, and with its own inputs evaluated anew."""
        eager = call(trial.module(state), map_tensors(trial.inputs, lambda tensor: tensor.clone()))
        oracle = oracle_outputs(oracle_module(self.problem, trial.init, state), trial.inputs)
        return replace(trial, state=state, eager=eager, oracle=oracle)

    def _build(self, session: Session, trial: Trial) -> None:
        """Construct the module; its state must have the reference's names and shapes."""
        found = {name: tuple(shape) for name, shape, _ in session.build(trial.init, trial.draw.dtype)}
        wanted = {name: tuple(value.shape) for name, value in trial.initial_state.items()}
        if found != wanted:
            raise CandidateFault(
                Verdict.RUNTIME_ERROR,
                Evidence(
                    check="protocol", where="in the constructor", expected=f"a state_dict of {_shapes(wanted)}",
                    found=_shapes(found), advice="name parameters and buffers as the reference does",
                ),
            )  # fmt: skip

    def _try(self, session: Session, planned: PlannedDraw, trial: Trial, *, near: bool = False) -> _Tried:
        """One draw: call, look at memory, language and values."""
        checks, where = self.settings.checks, _where(planned)
        # Those with exchanged numbers are made as timed calls are, so that what is kept for these must be right, too.
        observe = Observe() if near else self._observe()
        outcome = session.call(trial.inputs, flat_tensors(trial.eager), observe)
        if not near:
            self._record(planned, outcome)
        if outcome.kept:
            self.kept[where] = outcome.kept
        aliases = _aliases_of_reference(trial) if outcome.aliases else ()
        self._hold(findings.require_untouched, outcome, checks, where, aliases)
        if self.candidate.language == "triton" and not near:
            self._hold(findings.require_language, outcome, self.candidate.passthrough, checks, where)
        expected = self._expected(trial)
        self._hold(findings.require_values, outcome, findings.structure_of(trial.eager), expected, where)
        return _Tried(planned, trial, expected, outcome)

    def _repeat(self, session: Session, first: _Tried) -> None:
        """Come back to the first draw on this shape, with its weights and nobody looking: the same bits are due."""
        checks, trial = self.settings.checks, first.trial
        if not checks.determinism:
            return
        if checks.fresh_weights:
            session.load(trial.state, mutate=True)
        where = f"{_where(first.planned)}, repeated"
        for outcome in self._repeated(session, first):
            aliases = _aliases_of_reference(trial) if outcome.aliases else ()
            self._hold(findings.require_untouched, outcome, checks, where, aliases)
            if outcome.kept:
                self.kept[where] = outcome.kept
            if findings.same(outcome, first.outcome):
                continue
            self._hold(findings.require_values, outcome, findings.structure_of(trial.eager), first.expected, where)
            if not self.problem.atomics:
                self._hold(findings.require_same, outcome, first.outcome, where)

    def _repeated(self, session: Session, first: _Tried) -> Iterator[Outcome]:
        """Call again one by one, and on the first shape many times in a row, as a series is timed."""
        like = flat_tensors(first.trial.eager)
        repeats = REPEATS[mode_of(self.candidate, self.settings)]
        for _ in range(min(repeats, LATER_REPEATS) if first.planned.group else repeats):
            outcome = session.call(first.trial.inputs, like)
            yield outcome
        if first.planned.group == 0 and self.settings.device == "cpu":
            affordable = ROW_S * 1e9 / outcome.elapsed_ns, ROW_BYTES / (1 + sum(tensor.nbytes for tensor in like))
            most = REPEATS["cuda"] if self.problem.atomics else REPEATS_IN_A_ROW  # each of whose values is looked at
            # However busy the machine is, a torch candidate's calls of milliseconds are repeated that often.
            least = FEWEST_IN_A_ROW if self.candidate.language == "torch" and outcome.elapsed_ns < 2e7 else 1
            yield from session.repeat(min(most, max(least, min(map(int, affordable)))), like)

    def _try_near(self, session: Session, first: _Tried) -> None:
        """Exchange a few numbers of a draw that was called: what knows it by samples answers with the old result."""
        trial, planned = first.trial, first.planned
        chance = random.Random(planned.draw.seed)  # noqa: S311 - seeded from the system's entropy, to be repeated
        swapped = partial(_swapped, chance=chance)
        near = replace(trial, inputs=map_tensors(trial.inputs, swapped))
        state = {name: swapped(tensor) for name, tensor in trial.state.items()}
        weights_change = self.settings.checks.fresh_weights
        if weights_change:
            session.load(trial.state, mutate=True)
        self._try(session, planned, self._with_state(near, trial.state), near=True)
        if weights_change and any(not state[name].equal(trial.state[name]) for name in state):
            session.load(state, mutate=True)
            self._try(session, planned, self._with_state(near, state), near=True)

    def _try_as_triton(self, session: Session, first: _Tried) -> None:
        """Two more calls: one without kernels, and where they are interpreted one that believes to be on a GPU."""
        checks = self.settings.checks
        if checks.decoy:
            self._try_without_kernels(session, first)
        if checks.disguise and self.settings.device == "cpu" and first.planned.group == 0:
            self._try_disguised(session, first)

    def _try_disguised(self, session: Session, first: _Tried) -> None:
        trial, where = first.trial, f"{_where(first.planned)}, told that it is on a GPU"
        if self.settings.checks.fresh_weights:
            session.load(trial.state, mutate=True)
        try:
            outcome = session.call(trial.inputs, flat_tensors(trial.eager), replace(self._observe(), disguise=True))
        except CandidateFault:
            return  # there is no GPU for what it asks
        self._hold(findings.require_language, outcome, self.candidate.passthrough, self.settings.checks, where)
        self._hold(findings.require_values, outcome, findings.structure_of(trial.eager), first.expected, where)
        self._hold(findings.require_launches, outcome, first.outcome, where)

    def _try_without_kernels(self, session: Session, first: _Tried) -> None:
        trial = first.trial
        if not any(tensor.numel() for tensor in flat_tensors(trial.eager)):
            return
        observe = Observe(operators=True, poison=True, suppress_launches=True)
        if self.settings.checks.fresh_weights:  # what is expected is for these
            session.load(trial.state, mutate=True)
        try:
            outcome = session.call(trial.inputs, flat_tensors(trial.eager), observe)
        except CandidateFault:
            return  # a candidate that fails without its kernels needs them
        self._hold(findings.require_needed_kernels, outcome, first.expected, _where(first.planned))

    def _observe(self) -> Observe:
        """What a call is looked at for."""
        checks = self.settings.checks
        provenance = checks.provenance and self.candidate.language == "triton"
        watched = checks.dispatch_log or provenance or checks.poison or checks.guards
        return Observe(operators=watched, provenance=provenance, poison=checks.poison, guards=checks.guards)

    def _hold(self, finding: Callable[..., None], *given: Any) -> None:
        """Hold a call against one of `findings`; what speaks against it ends the verification."""
        finding(*given)

    def _expected(self, trial: Trial) -> list[Expectation]:
        """Return what a trial's outputs are held against."""
        return trial.expectations()

    def _record(self, planned: PlannedDraw, outcome: Outcome) -> None:
        draw = planned.draw
        self.course.launches = dict(outcome.launches)
        self.course.operators = dict(outcome.operators)
        record = DrawRecord(
            shape=planned.shape.name, dims=dict(draw.dims), dtype=draw.dtype, distribution=draw.distribution,
            layout=draw.layout, seed=draw.seed, seconds=outcome.elapsed_ns / 1e9,
        )  # fmt: skip
        self.course.draws.append(record)


def _swapped(tensor: Any, chance: random.Random) -> Any:
    """Return a float tensor with the least and the largest number of one row exchanged, of an inner row if any."""
    if not tensor.is_floating_point() or not tensor.dim() or tensor.numel() < 2:
        return tensor
    copy = tensor.clone()
    rows = copy.reshape(-1, copy.shape[-1])
    number = chance.randrange(1, len(rows) - 1) if len(rows) > 2 else chance.randrange(len(rows))
    row = rows[number].clone()
    low, high = int(row.argmin()), int(row.argmax())
    row[[low, high]] = row[[high, low]]
    rows[number] = row
    return rows.reshape(copy.shape)


def _aliases_of_reference(trial: Trial) -> tuple[str, ...]:
    """What the reference's own outputs share memory with: a candidate may do the same."""
    module = trial.module()
    outputs = flat_tensors(call(module, trial.inputs))
    known = {
        "inputs": flat_tensors([list(trial.inputs.args), dict(trial.inputs.kwargs)]),
        "weights": list(module.state_dict().values()),
    }
    storages = {_storage(tensor) for tensor in outputs}
    return tuple(name for name, others in known.items() if storages & {_storage(tensor) for tensor in others})


def _storage(tensor: Any) -> int:
    return int(tensor.untyped_storage().data_ptr())


def _where(planned: PlannedDraw) -> str:
    """The draw in words that tell an author the class of inputs, not the inputs."""
    draw = planned.draw
    shape = "the tiny shape" if planned.group == 0 else f"a hidden shape of {planned.shape.name!r}"
    return f"{shape}, {draw.dtype}, {draw.distribution} inputs, {draw.layout}"


def _shapes(state: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in state.items())[:500] or "nothing"
