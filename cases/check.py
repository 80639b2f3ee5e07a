"""Whether a case can be trusted: its module loads, its inputs are well declared, wrong kernels are caught."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from joulegrid.cases.contract import Section
from joulegrid.cases.manifest import read_problem
from joulegrid.errors import PreFlightError
from joulegrid.kernels.device import single_threaded
from joulegrid.kernels.problem import Problem, Shape


class MutantRow(Section):
    """What became of one mutant in one dtype."""

    mutant: str
    """The mutant's name."""
    dtype: str
    """The dtype that it was tried in."""
    fate: Literal["killed", "survived", "equivalent", "not applicable", "wrongly declared"]
    """Only `survived` and `wrongly declared` speak against the case."""
    by: str
    """The measure and the draw that killed it, or the reason."""


class CaseCheck(Section):
    """The outcome of `joulegrid case check`."""

    name: str
    """The case."""
    admitted: bool
    """Nothing speaks against it."""
    evaluations: int
    """Draws that reference and oracle were evaluated on: shapes × dtypes × layouts."""
    problems: list[str]
    """What is wrong with the module or its inputs, in words."""
    killed: int | None
    """Mutants that the draws tell from the reference; null where problems left them untried."""
    applicable: int | None
    """Mutants that they should: neither equivalent nor without anything to change; null where untried."""
    mutants: list[MutantRow]
    """All of them."""


def check_case(folder: Path) -> CaseCheck:
    """Check a case on this machine's CPU.

    `UsageError` where manifest or module cannot be used at all; `PreFlightError` without torch.
    """
    problem = read_problem(folder)
    _require_torch()
    from joulegrid.kernels.mutation import mutation_score

    shapes = [problem.tiny, *(hidden.draw(problem.tiny.dims, 0) for hidden in problem.hidden)]
    with single_threaded():
        faults, evaluations = _faults(problem, shapes)
        score = None if faults else mutation_score(problem)
    fates = score.fates if score else ()
    rows = [MutantRow(mutant=one.mutant, dtype=one.dtype, fate=one.fate, by=one.by) for one in fates]
    return CaseCheck(
        name=problem.name,
        admitted=score is not None and not score.failures,
        evaluations=evaluations,
        problems=faults,
        killed=score.killed if score else None,
        applicable=score.applicable if score else None,
        mutants=rows,
    )


def _faults(problem: Problem, shapes: list[Shape]) -> tuple[list[str], int]:
    from joulegrid.kernels.draw import LAYOUTS, Draw

    draws = [
        (shape.name, Draw(shape.dims, dtype, layout=layout))
        for shape in shapes
        for dtype in problem.dtypes
        for layout in LAYOUTS
    ]
    found = [
        f"{name}, {draw.dtype}, {draw.layout}: {fault}" for name, draw in draws for fault in _faults_of(problem, draw)
    ]
    return found, len(draws)


def _faults_of(problem: Problem, draw: Any) -> list[str]:
    """What one evaluation shows: outputs of other number or kind than declared, inputs changed, no finite oracle."""
    from joulegrid.kernels.draw import agent_provide_inputs
    from joulegrid.kernels.module import call, flat_tensors
    from joulegrid.kernels.trial import make_trial

    trial = make_trial(problem, draw)
    outputs, oracle = flat_tensors(trial.eager), flat_tensors(trial.oracle)
    faults = []
    if len(outputs) != len(problem.outputs):
        faults.append(f"outputs: {len(problem.outputs)} declared, forward returns {len(outputs)} tensors")
    if not all(bool(tensor.isfinite().all()) for tensor in oracle if tensor.is_floating_point()):
        faults.append("inputs: standard normal numbers give infinities or NaN in float64; declare a domain")
    faults += _faults_of_class(trial)
    inputs = agent_provide_inputs(problem, draw)
    call(trial.module(), inputs)
    before = flat_tensors([trial.inputs.args, trial.inputs.kwargs])
    if not all(map(_same, before, flat_tensors([inputs.args, inputs.kwargs]))):
        faults.append("inputs: forward changes them in place; a reference must not")
    return faults


def _faults_of_class(trial: Any) -> list[str]:
    """What speaks against the declared tolerance class: sums that it denies, or roundings where it allows none."""
    from joulegrid.kernels.module import map_tensors
    from joulegrid.kernels.tolerance import ORDER, least_class

    declared = trial.problem.tolerance
    least, operator = least_class(trial.module(), map_tensors(trial.inputs, lambda tensor: tensor.clone()))
    if ORDER.index(declared) < ORDER.index(least):
        return [f"tolerance: {declared} was declared, but forward calls {operator}: it is at least {least}"]
    return (
        []
        if declared != "exact" or _rounds_nothing(trial)
        else ["tolerance: exact was declared, but eager differs from the oracle: it is at least pointwise"]
    )


def _rounds_nothing(trial: Any) -> bool:
    from joulegrid.kernels.criterion import compare
    from joulegrid.kernels.ensemble import Settings, expectations, null_ensemble

    return not compare(trial.eager, expectations(trial, null_ensemble(trial, Settings(drawn=2, layouts=False))))


def _same(left: Any, right: Any) -> bool:
    return bool(left.equal(right))


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise PreFlightError("case check needs torch; install it with `pip install joulegrid[pytorch]`") from error
