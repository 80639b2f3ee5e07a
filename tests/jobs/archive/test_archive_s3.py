"""The same archive in S3."""

from __future__ import annotations

import os
from pathlib import Path

from joulegrid.cluster.storage import open_store
from joulegrid.jobs.archive.record import Archived
from joulegrid.jobs.archive.shelf import Origin, archives, keep, take_down
from tests.cluster.s3_servers import BUCKET, environment, moto_server
from tests.jobs.archive.shelves import NOON, contents, fast


def test_an_archive_in_s3_is_kept_listed_and_taken_down(tmp_path: Path) -> None:
    with moto_server(tmp_path) as endpoint:
        os.environ |= environment(endpoint)
        store = open_store(f"s3://{BUCKET}/lab")
        names = [keep(store, contents(fast(2.0), candidate=source), NOON).name for source in (b"a", b"b")]
        assert [one.name for one in archives(store) if isinstance(one, Archived)] == names
        opened = take_down(store, names[0])
        assert opened.read("candidate.py") == b"a" and not opened.damaged
        store.put(f"archive/{names[0]}/candidate.py", b"another")
        assert take_down(store, names[0]).damaged == ["candidate.py"]
        of_run = contents(fast(3.0), origin=Origin("s3://lab/run-1", NOON, ("results/aa/x",)))
        first = keep(store, of_run)
        store.delete(f"archive/{first.name}/archive.json")  # the driver died before the index was written
        assert keep(store, of_run) == keep(store, of_run) == first
        assert [one.name for one in archives(store)] == [*names, first.name]
