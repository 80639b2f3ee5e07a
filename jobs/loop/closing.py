"""What is written when a run has ended: summary, the study's result, the report, and archives of judged kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from joulegrid.cluster.secrets import mask
from joulegrid.jobs.archive.of_study import archived
from joulegrid.jobs.archive.record import ROOT
from joulegrid.jobs.carbon.pricing import accounting_of
from joulegrid.jobs.loop.opening import as_asked, put_back_damaged
from joulegrid.jobs.plan.resolved import resolved_yaml
from joulegrid.jobs.report.assembly import assemble

if TYPE_CHECKING:
    from joulegrid.cluster.storage import Store
    from joulegrid.jobs.loop.run import Run
    from joulegrid.jobs.status.progress import Display
    from joulegrid.jobs.study_result import StudyResult

_ARCHIVES_SHOWN = 8


def finish(run: Run, display: Display, *, report: bool) -> StudyResult:
    """Write what a run that has ended leaves behind, and return what the store then holds.

    A start that is cut short in it is gone on with, and does it again.
    """
    from joulegrid.jobs.report.run_report import RunReport, write_report

    accounting = accounting_of(run.store)
    result = assemble(run.store, accounting, write_summary=True)
    if result.counts.damaged:  # told now, run again by the next start
        put_back_damaged(run)
        run.close("stopped", release=False)
        result = assemble(run.store, accounting, write_summary=True)
    if run.study.searcher is not None:
        resolved = resolved_yaml(as_asked(run.study, run.plan), run.plan.workload.input_fields)
        run.store.put("resolved.yaml", mask(resolved).encode())
    run.store.put("study_result.json", result.model_dump_json(indent=1).encode())
    if report:
        whole = RunReport(run.name, result, run.store, is_finished=True)
        display.say(f"report: {write_report(whole)}")
    if run.archive is not None:
        _archive(run, run.archive, display)
    return result


def _archive(run: Run, place: Store, display: Display) -> None:
    names = [record.name for record in archived(run.store, place)]
    for name in names[:_ARCHIVES_SHOWN]:
        display.say(f"archive: {place.url}/{ROOT}/{name}")
    if len(names) > _ARCHIVES_SHOWN:
        display.say(f"archive: and {len(names) - _ARCHIVES_SHOWN} more; joulegrid archive list --store {place.url}")
