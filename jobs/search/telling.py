"""What became of an experiment, as ledger and store hold it: that is what a searcher is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from joulegrid.actors.result import ExperimentResult, FailureClass
from joulegrid.jobs.report.run_results import RunResults
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.search.asking import Ending
from joulegrid.jobs.search.search import CycleResult
from joulegrid.jobs.study.auto_cycles import decided, repeated, value_of

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Energy
    from joulegrid.jobs.loop.run import Run
    from joulegrid.jobs.status.progress import Display


def ending_of(run: Run, index: int, *, with_numbers: bool = True) -> Ending | None:
    """Return what an experiment came to, or `None` where none of its cycles has ended.

    A task that was skipped (its family was given up) counts as failed here: the searcher must not wait for it.
    """
    visits = [(index, cycle) for cycle in range(run.study.execution.n_cycles)]
    statuses = [run.states.status(at) for at in visits]
    left = [status in ("pending", "running") for status in statuses]
    if all(left):
        return None
    lost = [
        run.states.state(at) for at, status in zip(visits, statuses, strict=True) if status in ("failed", "skipped")
    ]
    return Ending(
        cycles=tuple(map(cycle_result, _results(run, index))) if with_numbers else (),
        failure_class=cast("FailureClass | None", lost[-1].failure_class if lost else None),
        is_whole=not any(left),
        message=(lost[-1].message or "it was skipped") if lost else None,
    )


def endings_of(run: Run) -> dict[int, Ending]:
    """Return what every experiment came to of which a cycle has ended."""
    found = ((index, ending_of(run, index)) for index in range(len(run.plan)))
    return {index: ending for index, ending in found if ending is not None}


def cycle_result(result: ExperimentResult) -> CycleResult:
    """Return the numbers of a done task; joules and seconds are those of the headline window."""
    window = next((one for one in result.windows or [] if one.name == result.headline), None)
    return CycleResult(
        cycle=result.cycle,
        metrics=result.metrics or {},
        duration_s=window.seconds if window else None,
        energy_j=window.energy.energy_j if window else None,
        energy_per={per.unit: per.energy_j for per in result.energy_per or []},
        energy_kind=kind_words(window.energy) if window else None,
    )


def _results(run: Run, index: int) -> Iterator[ExperimentResult]:
    """Yield the sound committed results of an experiment, by cycle."""
    key = run.plan.key(index) if isinstance(run.plan, AskedPlan) else run.plan[index].key
    found = RunResults(run.store).done(f"commit/{key[:2]}/{key}-c")
    results = (located.result for located in found if located.result.cycle < run.study.execution.n_cycles)
    yield from sorted(results, key=lambda result: result.cycle)


def decide_cycles(run: Run, display: Display) -> bool:
    """Ask the pilot's results, once, how many cycles the run has; whether any are left to run.

    The results are those that the store holds, whoever wrote them: after a crash the same number comes out.
    """
    terms = run.study.execution.auto_cycles
    assert terms is not None, "only `n_cycles: auto` is decided"
    experiments = [repeated([value_of(one) for one in _results(run, index)]) for index in range(len(run.plan))]
    decision = decided(experiments, terms)
    run.ledger.cycles(decision.n_cycles, decision.why)
    run.lengthen()
    run.write_manifest(force=True)
    display.say(f"n_cycles auto: {decision.n_cycles}; {decision.why}")
    return decision.n_cycles > terms.pilot


def kind_words(energy: Energy) -> str | None:
    """Say how joules were obtained and of what, `measured nvml gpu_board`; `None` where they are unknown."""
    return f"{energy.provenance} {energy.source} {energy.scope}" if energy.energy_j is not None else None
