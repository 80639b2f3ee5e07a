"""What a study of kernels archives by itself when it ends: where to, and that it is done once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from joulegrid.cases.lab_settings import lab_settings
from joulegrid.cluster.session import refuse_vanishing
from joulegrid.cluster.storage import open_store, probe
from joulegrid.jobs.archive.from_run import contents_of
from joulegrid.jobs.archive.shelf import keep
from joulegrid.jobs.plan.check import KERNEL, refuse_archive

if TYPE_CHECKING:
    from joulegrid.cluster.storage import Store
    from joulegrid.jobs.archive.record import Archived


def archive_of(workload: str, wanted: bool | None, output: Store) -> Store | None:
    """Return the store of a study's archives; `None` where it makes none.

    That is `JOULEGRID_ARCHIVE` where it is set, else the store of its runs. `UsageError` where archives are asked for
    and there is nothing to archive; `PreFlightError` or `StoreError` where the store cannot be used.
    """
    refuse_archive(workload, wanted)
    if workload != KERNEL or wanted is False:
        return None
    settings = lab_settings()
    if "archive" not in settings.model_fields_set:
        return output
    refuse_vanishing("JOULEGRID_ARCHIVE", settings.archive)
    place = open_store(settings.archive)
    probe(place)
    return place


def archived(run: Store, place: Store) -> Iterator[Archived]:
    """Archive what a run has judged so far and yield the records; what was archived before is not archived again."""
    for contents in contents_of(run):
        yield keep(place, contents)
