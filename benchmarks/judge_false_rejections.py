"""How often the criterion refuses what is right, and how often it lets wrong arithmetic pass.

Every case × dtype × distribution, on its tiny or one of its hidden shapes in turn. Right are: each fixed member of the
null ensemble, held against the ensemble without it; drawn members with new seeds; sums strictly in turn; the oracle
rounded once. Wrong are sums in turn whose partial sums are rounded to 16 bits, in cases with products.

Run: `python -m benchmarks.judge_false_rejections [--rounds 1] [--jobs 1] [--draws 13] [--case NAME …]`
(four minutes of one core a round)
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measurement import Series, write
from joulegrid.cases.catalog import module_cases
from joulegrid.cases.manifest import read_problem
from joulegrid.kernels.criterion import compare
from joulegrid.kernels.device import single_threaded, torch_dtype
from joulegrid.kernels.distributions import DISTRIBUTIONS
from joulegrid.kernels.draw import Draw
from joulegrid.kernels.ensemble import Ensemble, drawn_member, evaluated, expectations, null_ensemble
from joulegrid.kernels.module import flat_tensors
from joulegrid.kernels.null_errors import FALSE_REJECTIONS
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.reordering import summed_in_turn
from joulegrid.kernels.trial import Trial, make_trial

NEW = 3
NEW_SEED = 10**12


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


def held_of(folder: Path, draws: int, shift: int) -> list[Held]:
    """Return what was compared for one case, on one thread."""
    with single_threaded():
        return list(held(read_problem(folder), draws, shift))


def held(problem: Problem, draws: int, shift: int) -> Iterator[Held]:
    """Yield what was compared on the first so many distributions, in all dtypes; `shift` gives other seeds."""
    shapes = [problem.tiny, *(hidden.draw(problem.tiny.dims, shift) for hidden in problem.hidden)]
    for dtype in problem.dtypes:
        for place, distribution in enumerate([*DISTRIBUTIONS][:draws]):
            shape = shapes[(place + shift) % len(shapes)]
            trial = make_trial(problem, Draw(shape.dims, dtype, 1000 * shift + place, distribution))
            for kind, right, outputs, expected in tried(trial):
                exceeded = tuple(one.measure for one in compare(outputs, expected))
                yield Held(problem.name, dtype, f"{shape.name}, {distribution}", kind, right, exceeded)


def tried(trial: Trial) -> Iterator[tuple[str, bool, Any, Any]]:
    """Yield kind, whether it is right, outputs, and what they are held against."""
    ensemble = null_ensemble(trial)
    expected = expectations(trial, ensemble)
    for member in ensemble.fixed:
        others = Ensemble(tuple(one for one in ensemble.fixed if one is not member), ensemble.drawn)
        yield member.name, True, member.outputs, expectations(trial, others)
    for number in range(NEW):
        yield "reordered", True, drawn_member(trial, NEW_SEED + number).outputs, expected
    yield "in turn", True, evaluated(trial, summed_in_turn()), expected
    pairs = zip(flat_tensors(trial.oracle), flat_tensors(trial.eager), strict=True)
    yield "oracle", True, [oracle.to(eager.dtype) for oracle, eager in pairs], expected
    if trial.problem.tolerance == "contraction":
        dtype = "fp16" if trial.draw.dtype == "fp32" else trial.draw.dtype
        yield f"sums in {dtype}", False, evaluated(trial, summed_in_turn(torch_dtype(dtype))), expected


def rows_of(found: Sequence[Held], field: str) -> list[dict[str, Any]]:
    """Count refusals by one field, each with the upper end of its 95 % interval (Clopper and Pearson)."""
    groups: dict[str, list[Held]] = defaultdict(list)
    for one in found:
        groups[getattr(one, field)].append(one)
    return [row(name, group) for name, group in groups.items()]


def row(name: str, group: Sequence[Held]) -> dict[str, Any]:
    """Return one line: how many were compared and refused."""
    refused = sum(bool(one.measures) for one in group)
    rate = refused / len(group)
    return {"name": name, "n": len(group), "refused": refused, "rate": rate, "upper_95": upper_end(refused, len(group))}


def upper_end(events: int, trials: int) -> float:
    """Return the rate at which so few events or less have a chance of 2.5 %; binomial, by bisection."""
    if events == trials:
        return 1.0
    low, high = events / trials, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        chance = math.fsum(math.exp(_log_binomial(count, trials, middle)) for count in range(events + 1))
        low, high = (middle, high) if chance > 0.025 else (low, middle)
    return high


def _log_binomial(count: int, trials: int, rate: float) -> float:
    ways = math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
    return ways + count * math.log(rate) + (trials - count) * math.log1p(-rate) if 0 < rate < 1 else -math.inf


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=len(DISTRIBUTIONS))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--case", nargs="*", default=[])
    options = parser.parse_args(arguments)
    found: list[Held] = []
    rounds = Series("refused though right", "of one")
    folders = [folder for name, folder in module_cases().items() if not options.case or name in options.case]
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        for shift in range(options.rounds):
            one_round: list[Held] = []
            work = partial(held_of, draws=options.draws, shift=shift)
            for folder, compared in zip(folders, pool.map(work, folders), strict=True):
                one_round += compared
                print(f"round {shift}: {folder.name}", flush=True)
            right = [one for one in one_round if one.right]
            rounds.values.append(sum(bool(one.measures) for one in right) / len(right))
            found += one_round
    right, wrong = ([one for one in found if one.right is truth] for truth in (True, False))
    tables = {
        "right_by_kind": rows_of(right, "kind"),
        "right_by_case": rows_of(right, "case"),
        "right": row("all", right),
        "wrong_by_kind": rows_of(wrong, "kind"),
        "wrong_by_case": rows_of(wrong, "case"),
    }
    for title in ("right_by_kind", "right_by_case", "wrong_by_kind", "wrong_by_case"):
        shown(title, tables[title])
    shown("right", [tables["right"]])
    refusals = [
        f"{one.case} {one.dtype} {one.draw}: {one.kind}: {', '.join(one.measures)}" for one in right if one.measures
    ]
    facts = {"nominal": FALSE_REJECTIONS, "cases": len({one.case for one in found}), "refusals": refusals, **tables}
    write("judge_false_rejections", [rounds], facts)


def shown(title: str, rows: Any) -> None:
    """Print one table."""
    print(f"\n{title}\n{'':28} {'n':>7} {'refused':>8} {'rate':>9} {'95 % up to':>11}")
    for line in rows:
        print(f"{line['name']:28} {line['n']:7} {line['refused']:8} {line['rate']:9.2e} {line['upper_95']:11.2e}")


if __name__ == "__main__":
    main()
