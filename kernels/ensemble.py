"""The null ensemble: the same module evaluated in several ways of which none is better founded than another.

*Fixed* members are there once: eager, eager on other memory layouts, with another number of threads, in float32 and
rounded once, and what `torch.compile` makes of it. *Drawn* ones (`reordering`) are exchangeable: any number of them can
be made, so their spread tells how far another legitimate evaluation may lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from joulegrid.kernels.criterion import Expectation, Reference, expectation
from joulegrid.kernels.device import pinned_precision, torch_dtype
from joulegrid.kernels.double import in_double, oracle_module, widened
from joulegrid.kernels.draw import LAYOUTS, Layout, derived_seed, relaid
from joulegrid.kernels.module import call, construct, flat_tensors, in_dtype, load_state, map_tensors
from joulegrid.kernels.problem import Arguments
from joulegrid.kernels.reordering import reordered, summed_in_turn
from joulegrid.kernels.trial import Trial

TERMS_IN_TURN, ADDITIONS_IN_TURN = 4096, 50_000_000
"""Sums are also made strictly in turn, one term after the other, where they are not longer and all of them together not
more. Equal terms then err the same way each time, which no shuffled sum does: by K half steps, not by √K."""
DRAWN = 16
"""Fewer make limits wider, never more false rejections: the quantile is of Student's t with one degree less."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Which members are made."""

    drawn: int = DRAWN
    layouts: bool = True
    threads: bool = False
    """Handing tiny tensors to another thread takes longer than all the rest."""
    compiled: bool = False
    """Needs a compiler; seconds each time."""


@dataclass(frozen=True, slots=True)
class Member:
    """One evaluation: its outputs, and by place the scores of those outputs that are judged by them."""

    name: str
    outputs: list[Any]
    scores: Mapping[int, Any]


@dataclass(frozen=True, slots=True)
class Ensemble:
    """All evaluations of one trial."""

    fixed: tuple[Member, ...]
    drawn: tuple[Member, ...]


def null_ensemble(trial: Trial, settings: Settings | None = None) -> Ensemble:
    """Evaluate a trial's module in all these ways; drawn ones follow from the draw's seed."""
    settings = settings or Settings()
    drawn = (drawn_member(trial, derived_seed(trial.draw.seed, place)) for place in range(settings.drawn))
    return Ensemble(tuple(fixed_members(trial, settings)), tuple(drawn))


def drawn_member(trial: Trial, seed: int) -> Member:
    """Return one evaluation with its sums in an order of its own and its roundings at random."""
    return _member(f"reordered {seed}", trial, trial.module(), context=reordered(seed))


def evaluated(trial: Trial, context: AbstractContextManager[Any]) -> list[Any]:
    """Return the outputs of a trial's module inside a context."""
    return _member("evaluated", trial, trial.module(), context=context).outputs


def fixed_members(trial: Trial, settings: Settings) -> Iterator[Member]:
    """Yield the evaluations that are there once."""
    yield _member("eager", trial, trial.module())
    if 1 < _terms(trial) <= TERMS_IN_TURN and _additions(trial) <= ADDITIONS_IN_TURN:
        yield _member("in turn", trial, trial.module(), context=summed_in_turn())
    for layout in LAYOUTS if settings.layouts else ():
        if layout != trial.draw.layout:
            yield _member(layout, trial, trial.module(), map_tensors(trial.inputs, partial(_laid, layout)))
    if settings.threads and trial.draw.device == "cpu":
        yield _member("threads", trial, trial.module(), context=_other_threads())
    if trial.draw.dtype != "fp32":
        yield rounded_once(trial)
    if settings.compiled:
        yield compiled_member(trial)


def _terms(trial: Trial) -> int:
    return trial.problem.reduction(trial.draw.dims)


def _additions(trial: Trial) -> int:
    return int(_terms(trial) * sum(tensor.numel() for tensor in flat_tensors(trial.oracle)))


def rounded_once(trial: Trial) -> Member:
    """Return what float32 gives throughout, rounded to the case's dtype at the end."""
    narrow = torch_dtype(trial.draw.dtype)

    def to_single(tensor: Any) -> Any:
        return tensor.float() if tensor.dtype == narrow else tensor

    module = in_dtype(construct(trial.cls, trial.init), "fp32", trial.draw.device)
    load_state(module, map_tensors(trial.state, to_single))
    member = _member("rounded once", trial, module, map_tensors(trial.inputs, to_single))
    pairs = zip(member.outputs, flat_tensors(trial.eager), strict=True)
    return replace(member, outputs=[output.to(eager.dtype) for output, eager in pairs])


def compiled_member(trial: Trial) -> Member:
    """Return what `torch.compile` makes of the module: some 20 s on a CPU the first time, 1 to 5 s once cached."""
    import torch

    torch._dynamo.reset()
    return _member("compiled", trial, torch.compile(trial.module(), dynamic=False))


def expectations(trial: Trial, ensemble: Ensemble | None = None) -> list[Expectation]:
    """Return what each output is held against; the ensemble may be handed over to be used more than once."""
    ensemble = ensemble or null_ensemble(trial)
    truths = flat_tensors(trial.oracle)
    scores = _oracle_scores(trial)
    return [_expectation(trial, ensemble, place, truths[place], scores.get(place)) for place in range(len(truths))]


def _expectation(trial: Trial, ensemble: Ensemble, place: int, truth: Any, scores: Any) -> Expectation:
    problem = trial.problem
    sums = problem.tolerance in ("reduction", "contraction")
    reference = Reference(
        oracle=truth,
        like=flat_tensors(trial.eager)[place],
        output=problem.outputs[min(place, len(problem.outputs) - 1)],
        exact=problem.tolerance == "exact",
        reduction=problem.reduction(trial.draw.dims) if sums else 1,
        scores=scores,
    )

    def seen(member: Member) -> Any:
        return member.outputs[place] if scores is None else member.scores[place]

    return expectation(reference, [seen(one) for one in ensemble.fixed], [seen(one) for one in ensemble.drawn])


def _member(
    name: str,
    trial: Trial,
    module: Any,
    inputs: Arguments | None = None,
    context: AbstractContextManager[Any] | None = None,
) -> Member:
    given = inputs or trial.inputs
    copies = map_tensors(given, _copied)
    with pinned_precision(), context or nullcontext():
        outputs = flat_tensors(call(module, copies))
        scores = _scores(trial, module, given)
    return Member(name, outputs, scores)


def _laid(layout: Layout, tensor: Any) -> Any:
    return relaid(tensor.contiguous(), layout)


def _copied(tensor: Any) -> Any:
    """A copy in the same layout: a module that writes into its inputs must not spoil those of the next member."""
    return tensor.clone() if tensor.is_contiguous() else tensor


def _scores(trial: Trial, module: Any, inputs: Arguments) -> dict[int, Any]:
    import torch

    with torch.no_grad():
        return {
            place: getattr(module, output.scores)(*inputs.args, **inputs.kwargs)
            for place, output in enumerate(trial.problem.outputs)
            if output.scores is not None
        }


def _oracle_scores(trial: Trial) -> dict[int, Any]:
    if not any(output.scores for output in trial.problem.outputs):
        return {}
    module = oracle_module(trial.problem, trial.init, trial.state)
    with in_double():
        return _scores(trial, module, map_tensors(trial.inputs, widened))


@contextmanager
def _other_threads() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
