"""What the checks make of one call: evidence with the verdict that it means, the gravest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from joulegrid.kernels.criterion import Exceeded, Expectation, compare
from joulegrid.kernels.judge.limits import Checks
from joulegrid.kernels.judge.operators import allowed_for_triton
from joulegrid.kernels.judge.outcome import Outcome, plain_text
from joulegrid.kernels.judge.returned import same_bits
from joulegrid.kernels.judge.verdict import CandidateFault, Evidence, Verdict

Finding = tuple[Verdict, Evidence]
_BY_MEASURE = {"shape": Verdict.WRONG_SHAPE, "outputs": Verdict.WRONG_SHAPE, "dtype": Verdict.WRONG_DTYPE}


def require_untouched(outcome: Outcome, checks: Checks, where: str, allowed_aliases: Sequence[str]) -> None:
    """Raise `CandidateFault` where a call changed, kept or shared memory that is not its own."""
    if checks.input_hash and outcome.changed_inputs:
        raise _fault(
            Verdict.TAMPERING, "input_hash", where, "inputs, weights and the memory around them as they were",
            f"changed: {', '.join(outcome.changed_inputs[:5])}",
            "write to new tensors; mask stores at the edges",
        )  # fmt: skip
    if checks.guards and outcome.torn:
        raise _fault(
            Verdict.OUT_OF_BOUNDS, "guards", where, "nothing written beyond the tensors that forward allocates",
            f"{outcome.torn} bytes around them were overwritten", "mask stores at the edges",
        )  # fmt: skip
    shared = [name for name in outcome.aliases if name not in allowed_aliases]
    if checks.alias and shared:
        raise _fault(
            Verdict.TAMPERING, "alias", where, "outputs in memory of their own",
            f"outputs share memory with {', '.join(shared)}", "return new tensors on every call",
        )  # fmt: skip
    if checks.rehash and outcome.changed_outputs is not None:
        raise _fault(
            Verdict.TAMPERING, "rehash", where, "outputs that stay as they were returned",
            f"those of call {outcome.changed_outputs} have changed since", "return new tensors on every call",
        )  # fmt: skip


def require_values(outcome: Outcome, structure: Any, expected: Sequence[Expectation], where: str) -> None:
    """Raise `CandidateFault` where the outputs are of another structure, shape, dtype or value than they may be."""
    if outcome.structure != structure:
        raise _fault(
            Verdict.WRONG_SHAPE, "values", where, f"outputs of the structure {_shown(structure)}",
            _shown(outcome.structure), "return plain tensors as the reference does",
        )  # fmt: skip
    exceeded = compare(outcome.outputs, expected)
    if exceeded:
        raise CandidateFault(*_wrong(exceeded, where))


def _wrong(exceeded: Sequence[Exceeded], where: str) -> Finding:
    first = exceeded[0]
    verdict = _BY_MEASURE.get(first.measure, Verdict.WRONG_VALUES)
    more = f" (also {', '.join(one.measure for one in exceeded[1:4])})" if exceeded[1:] else ""
    place = f"{where}, output {first.output}" if first.output >= 0 else where
    evidence = Evidence(
        check="values", where=place, expected=f"{first.measure}: {_number(first.allowed)}",
        found=f"{_number(first.found)}{more}", advice=_ADVICE.get(first.measure, ""),
    )  # fmt: skip
    return verdict, evidence


_ADVICE = {
    "finite": "NaN where none is due is often memory that was never written, or an exponential without its maximum",
    "bias": "the errors have a sign: look for a truncation or an approximated function",
    "row_l2": "a whole row is off: look at masks at the edges, or at sums in too low a precision",
}


def require_language(outcome: Outcome, passthrough: Sequence[str], checks: Checks, where: str) -> None:
    """Raise `CandidateFault` where a Triton candidate lets torch compute, or launches nothing."""
    foreign = [name for name in outcome.operators if not allowed_for_triton(name, passthrough)]
    if checks.dispatch_log and foreign:
        raise _fault(
            Verdict.FORBIDDEN, "dispatch_log", where, "Triton kernels, and of torch allocation, views and copies",
            f"torch computed {', '.join(foreign[:6])}",
            'do it in a kernel, or declare PASSTHROUGH = ("mm",) for a matrix product that is left to torch',
        )  # fmt: skip
    if checks.provenance and outcome.unknown_memory:
        raise _fault(
            Verdict.FORBIDDEN, "provenance", where, "memory that the call's own arguments and operators made",
            f"{', '.join(outcome.unknown_memory)}: memory that was filled where no operator was seen",
            "compute in kernels; make constants by torch.full, or in the constructor",
        )  # fmt: skip
    if checks.launches and not outcome.launches:
        raise _fault(
            Verdict.FORBIDDEN, "launches", where, "at least one launch of a Triton kernel", "none",
            'a candidate in torch alone says LANGUAGE = "torch"',
        )  # fmt: skip


def require_nothing_kept(kept: Mapping[str, Sequence[str]]) -> None:
    """Raise `CandidateFault` where calls, named by where they were made, changed what the module or its file holds."""
    for where, names in kept.items():
        raise _fault(
            Verdict.FORBIDDEN, "held", where, "a module that a call leaves as it was",
            f"changed: {', '.join(names[:5])}", "compute everything from the arguments at every call",
        )  # fmt: skip


def require_needed_kernels(outcome: Outcome, expected: Sequence[Expectation], where: str) -> None:
    """Raise `CandidateFault` where the outputs pass although no Triton kernel ran: then torch computes them."""
    if not compare(outcome.outputs, expected):
        raise _fault(
            Verdict.FORBIDDEN, "decoy", where, "outputs that are wrong when no kernel runs", "right ones",
            "let the Triton kernels compute what is returned",
        )  # fmt: skip


def require_same(outcome: Outcome, first: Outcome, where: str) -> None:
    """Raise `CandidateFault` where a repeat on the same inputs differs in a bit."""
    for place, (again, before) in enumerate(zip(outcome.outputs, first.outputs, strict=False)):
        if not same_bits(again, before):
            raise _fault(
                Verdict.NONDETERMINISTIC, "determinism", f"{where}, output {place}",
                "the same bits for the same inputs", "other bits",
                "look for races between programs; a case whose kernels may add in any order declares `atomics`",
            )  # fmt: skip


def same(outcome: Outcome, first: Outcome) -> bool:
    """Tell whether two calls returned the same structure with the same bits."""
    return outcome.structure == first.structure and all(map(same_bits, outcome.outputs, first.outputs))


def require_launches(outcome: Outcome, first: Outcome, where: str) -> None:
    """Raise `CandidateFault` where other kernels ran than in the call that is compared."""
    if outcome.launches != first.launches:
        raise _fault(
            Verdict.FORBIDDEN, "disguise", where, f"the kernels that ran before: {_shown(dict(first.launches))}",
            _shown(dict(outcome.launches)), "run the same kernels wherever the tensors are",
        )  # fmt: skip


def structure_of(result: Any) -> Any:
    """Return the structure of outputs as a child describes it: `*` for a tensor, nested lists and dicts."""
    if isinstance(result, dict):
        return {str(name): structure_of(item) for name, item in result.items()}
    return [structure_of(item) for item in result] if isinstance(result, tuple | list) else "*"


def _shown(structure: Any) -> str:
    if structure in ("*", "builtins.NoneType"):
        return "one tensor" if structure == "*" else "None"
    return plain_text(structure).replace("'", "")[:200]


def _number(value: float | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _fault(verdict: Verdict, check: str, where: str, expected: str, found: str, advice: str) -> CandidateFault:
    return CandidateFault(verdict, Evidence(check=check, where=where, expected=expected, found=found, advice=advice))
