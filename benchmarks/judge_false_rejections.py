"""How often the criterion refuses what is right, and how often it lets wrong arithmetic pass.

Every case × dtype × distribution, on its tiny or one of its hidden shapes in turn. Right are: each fixed member of the
null ensemble, held against the ensemble without it; drawn members with new seeds; sums strictly in turn; the oracle
rounded once; on the first `--compiled` draws of a dtype in the first round another number of threads and what
`torch.compile` makes of the module (seconds each); and every honest candidate in torch of `tests/attacks/benign`, in
its case and dtype. Wrong are sums in turn whose partial sums are rounded to 16 bits, in cases with products.

Seeds are the system's, and noted: `--seed` repeats them. `--more` adds rounds in which only candidates are tried.

Run: `python -m benchmarks.judge_false_rejections [--rounds 1] [--more 0] [--jobs 1] [--draws 13] [--compiled 0]
[--seed N] [--results judge_false_rejections] [--case NAME …]` (four minutes of one core a round)
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measurement import write
from joulegrid.cases.catalog import module_cases
from joulegrid.cases.manifest import read_problem
from joulegrid.kernels.criterion import compare
from joulegrid.kernels.device import pinned_precision, single_threaded, torch_dtype
from joulegrid.kernels.distributions import DISTRIBUTIONS
from joulegrid.kernels.draw import Draw, derived_seed
from joulegrid.kernels.ensemble import (
    Ensemble,
    Member,
    Settings,
    compiled_member,
    drawn_member,
    evaluated,
    expectations,
    fixed_members,
    null_ensemble,
)
from joulegrid.kernels.module import call, flat_tensors, load_class
from joulegrid.kernels.null_errors import FALSE_REJECTIONS
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.reordering import summed_in_turn
from joulegrid.kernels.trial import Trial, make_trial
from tests.attacks import catalog

NEW = 3


@dataclass(frozen=True, slots=True)
class Round:
    """What is tried of each case: so many distributions, in each dtype; the first of them also compiled."""

    number: int
    seed: int
    draws: int
    compiled: int
    candidates_alone: bool


@dataclass(frozen=True, slots=True)
class Held:
    """One evaluation that was held against an ensemble which it is no part of."""

    case: str
    dtype: str
    draw: str
    kind: str
    right: bool
    measures: tuple[str, ...]
    """Those that were exceeded."""


Tried = Iterator[tuple[str, bool, Any, Any]]
"""Kind, whether it is right, outputs, and what they are held against."""


def held_of(folder: Path, plan: Round) -> list[Held]:
    """Return what was compared for one case, on one thread."""
    with single_threaded():
        return list(held(read_problem(folder), plan))


def held(problem: Problem, plan: Round) -> Iterator[Held]:
    """Yield what was compared, on one of the shapes in turn."""
    first = derived_seed(plan.seed, plan.number, problem.name)
    shapes = [problem.tiny, *(hidden.draw(problem.tiny.dims, first) for hidden in problem.hidden)]
    for dtype in problem.dtypes:
        for place, distribution in enumerate([*DISTRIBUTIONS][: plan.draws]):
            shape = shapes[(place + plan.number) % len(shapes)]
            draw = Draw(shape.dims, dtype, derived_seed(first, dtype, place), distribution)
            for kind, right, outputs, expected in tried(problem, draw, plan, compiled=place < plan.compiled):
                exceeded = tuple(one.measure for one in compare(outputs, expected))
                yield Held(problem.name, dtype, f"{shape.name}, {distribution}", kind, right, exceeded)


def tried(problem: Problem, draw: Draw, plan: Round, compiled: bool) -> Tried:
    """Yield everything that is held against an ensemble on one draw."""
    candidates = _candidates(problem.name, draw.dtype)
    if plan.candidates_alone and not candidates:
        return
    trial = make_trial(problem, draw)
    ensemble = null_ensemble(trial)
    expected = expectations(trial, ensemble)
    for path in candidates:
        yield path.stem, True, _outputs_of(path, trial), expected
    if plan.candidates_alone:
        return
    for member in ensemble.fixed:
        others = Ensemble(tuple(one for one in ensemble.fixed if one is not member), ensemble.drawn)
        yield member.name, True, member.outputs, expectations(trial, others)
    for kind, outputs in held_out(trial, compiled):
        yield kind, True, outputs, expected
    if problem.tolerance == "contraction":
        dtype = "fp16" if draw.dtype == "fp32" else draw.dtype
        yield f"sums in {dtype}", False, evaluated(trial, summed_in_turn(torch_dtype(dtype))), expected


def held_out(trial: Trial, compiled: bool) -> Iterator[tuple[str, Any]]:
    """Yield right evaluations that are never members."""
    for number in range(NEW):
        yield "reordered", drawn_member(trial, derived_seed(trial.draw.seed, "new", number)).outputs
    pairs = zip(flat_tensors(trial.oracle), flat_tensors(trial.eager), strict=True)
    yield "oracle", [oracle.to(eager.dtype) for oracle, eager in pairs]
    if compiled:
        members = [*fixed_members(trial, Settings(layouts=False, threads=True)), compiled_member(trial)]
        for member in members:
            if member.name in ("threads", "compiled"):
                yield f"{member.name}, {_difference(member, members[0])}", member.outputs


def _difference(member: Member, eager: Member) -> str:
    same = all(mine.equal(other) for mine, other in zip(member.outputs, eager.outputs, strict=True))
    return "as eager" if same else "other bits"


def _candidates(case: str, dtype: str) -> list[Path]:
    """Honest candidates in torch for a case in a dtype."""
    return [
        one.path
        for one in catalog.benign()
        if (one.case, one.dtype) == (case, dtype) and 'LANGUAGE = "torch"' in one.path.read_text()
    ]


def _outputs_of(path: Path, trial: Trial) -> list[Any]:
    """What a candidate computes in this process: it is honest."""
    other = load_class(replace(trial.problem, file=path, class_name="OptimizedModel"))
    with pinned_precision():
        return flat_tensors(call(replace(trial, cls=other).module(), trial.inputs))


def rows_of(found: Sequence[Held], field: str) -> list[dict[str, Any]]:
    """Count refusals by one field, each with its 95 % interval."""
    groups: dict[str, list[Held]] = defaultdict(list)
    for one in found:
        groups[getattr(one, field)].append(one)
    return [row(name, group) for name, group in groups.items()]


def row(name: str, group: Sequence[Held]) -> dict[str, Any]:
    """Return one line: how many were compared and refused."""
    refused = sum(bool(one.measures) for one in group)
    low, high = interval_95(refused, len(group))
    return {
        "name": name, "n": len(group), "refused": refused, "rate": refused / len(group),
        "lower_95": low, "upper_95": high,
    }  # fmt: skip


def interval_95(events: int, trials: int) -> tuple[float, float]:
    """Return the exact interval of a share (C. Clopper, E. Pearson, Biometrika 26, 1934)."""
    from scipy.stats import beta

    low = float(beta.ppf(0.025, events, trials - events + 1)) if events else 0.0
    return low, float(beta.ppf(0.975, events + 1, trials - events)) if events < trials else 1.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables at the end; the JSON is written anew after each case, so that a run may be broken off."""
    options = _options(arguments)
    found: list[Held] = []
    for number, case, compared in _tries(options):
        print(f"round {number}: {case}: {len(compared)} compared", flush=True)
        found += compared
        if found:
            tables = _report(options, number, found)
    for title, rows in tables.items():
        shown(title, rows)


def _report(options: argparse.Namespace, number: int, found: Sequence[Held]) -> dict[str, list[dict[str, Any]]]:
    right, wrong = ([one for one in found if one.right is truth] for truth in (True, False))
    tables = {
        "right_by_kind": rows_of(right, "kind"),
        "right_by_case": rows_of(right, "case"),
        "right": [row("all", right), *_candidates_row(right)],
        "wrong_by_kind": rows_of(wrong, "kind"),
        "wrong_by_case": rows_of(wrong, "case"),
    }
    refusals = [
        f"{one.case} {one.dtype} {one.draw}: {one.kind}: {', '.join(one.measures)}" for one in right if one.measures
    ]
    facts = {"seed": options.seed, "nominal": FALSE_REJECTIONS, "cases": len({one.case for one in found})}
    last = {"round": number, "of": options.rounds + options.more, "case": found[-1].case}
    write(options.results, [], facts | {"last": last, "refusals": refusals} | tables)
    return tables


def _candidates_row(right: Sequence[Held]) -> list[dict[str, Any]]:
    names = {one.path.stem for one in catalog.benign()}
    candidates = [one for one in right if one.kind in names]
    return [row("candidates", candidates)] if candidates else []


def _tries(options: argparse.Namespace) -> Iterator[tuple[int, str, list[Held]]]:
    """Yield round, case and what was compared."""
    folders = [folder for name, folder in module_cases().items() if not options.case or name in options.case]
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        for number in range(options.rounds + options.more):
            compiled = 0 if number else options.compiled
            plan = Round(number, options.seed, options.draws, compiled, candidates_alone=number >= options.rounds)
            for folder, compared in zip(folders, pool.map(partial(held_of, plan=plan), folders), strict=True):
                yield number, folder.name, compared


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=len(DISTRIBUTIONS))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--more", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--compiled", type=int, default=0)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(5), "little"))
    parser.add_argument("--results", default="judge_false_rejections")
    parser.add_argument("--case", nargs="*", default=[])
    return parser.parse_args(arguments)


def shown(title: str, rows: Any) -> None:
    """Print one table."""
    print(f"\n{title}\n{'':28} {'n':>7} {'refused':>8} {'rate':>9} {'95 % interval':>21}")
    for line in rows:
        print(
            f"{line['name']:28} {line['n']:7} {line['refused']:8} {line['rate']:9.2e}"
            f" {line['lower_95']:10.2e} {line['upper_95']:10.2e}"
        )


if __name__ == "__main__":
    main()
