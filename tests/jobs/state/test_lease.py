"""Who holds a run: epochs, clocks that differ, zombies, and a lease that nobody can read."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from joulegrid.cluster.folder import FolderStore
from joulegrid.errors import RunHeldError, UsageError
from joulegrid.jobs.state.lease import Lease, process_table, read_lease, refuse_alive, renewed_every_s, stale_s
from joulegrid.jobs.status.status import read_status


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    os.environ["JOULEGRID_LEASE_STALE_S"] = "1.2"
    return FolderStore(tmp_path, durable=False)


def test_of_two_leases_the_higher_epoch_counts_whoever_wrote_last(store: FolderStore) -> None:
    slow, quick = Lease.of_this_process(1), Lease.of_this_process(2)
    quick.write(store)
    with pytest.raises(RunHeldError, match="taken over"):
        slow.write(store)
    store.put("lease", slow.text())  # as if it had looked a moment before
    quick.write(store)
    found = read_lease(store)
    assert found is not None
    assert found.epoch == 2


def test_who_lost_the_run_does_not_release_it(store: FolderStore) -> None:
    first, second = Lease.of_this_process(1), Lease.of_this_process(2)
    second.write(store)
    first.release(store)
    found = read_lease(store)
    assert found is not None
    assert (found.epoch, found.released) == (2, False)


def test_an_owner_whose_clock_is_an_hour_off_is_alive_while_it_renews(store: FolderStore) -> None:
    other = replace(Lease.of_this_process(1), host="elsewhere", renewed_s=time.time() + 3_600)
    store.put("lease", other.text())
    over = threading.Event()

    def renew() -> None:
        while not over.wait(renewed_every_s() / 2):
            other.renewed_s += 1.0
            store.put("lease", other.text())

    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        with pytest.raises(RunHeldError, match=r"process .* on elsewhere"):
            refuse_alive(store, read_lease(store))
    finally:
        over.set()
        renewing.join()
    refuse_alive(store, read_lease(store))


def test_a_process_that_has_ended_and_that_nobody_waits_for_holds_nothing(store: FolderStore) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    held = replace(Lease.of_this_process(1), pid=child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert held.is_gone()
    assert not held.is_alive()
    child.wait()
    assert held.is_gone()


def test_a_process_number_of_another_boot_or_another_container_is_not_asked_for_here(store: FolderStore) -> None:
    nobody = replace(Lease.of_this_process(1), pid=2**22 + 1)  # above the largest that Linux gives
    assert nobody.is_gone()
    for elsewhere in (
        replace(nobody, boot_id="another"),
        replace(nobody, pid_namespace=1),
        replace(nobody, boot_id=None),
    ):
        assert not elsewhere.is_gone()
        assert elsewhere.is_alive()
        assert not replace(elsewhere, renewed_s=time.time() - 2.0).is_alive()


def test_a_real_container_has_another_process_table_under_the_same_host_name() -> None:
    code = "from joulegrid.jobs.state.lease import process_table; print(*process_table())"
    inside = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code], capture_output=True, text=True
    )
    if inside.returncode:
        pytest.skip("no PID namespace can be made here")
    boot_id, pid_namespace = inside.stdout.split()
    assert boot_id == process_table()[0]
    assert int(pid_namespace) != process_table()[1]


HOLDER: dict[str, Any] = {"owner": "x", "host": "y", "pid": 1, "renewed_s": 5.0, "epoch": 1}
MALFORMED = [
    {"renewed_s": 1e30},
    {"renewed_s": math.nan},
    {"renewed_s": "soon"},
    {"epoch": 1e30},
    {"epoch": math.inf},
    {"pid": -1},
    {"pid": 10**30},
    {"host": 5},
    {"released": "no"},
]


@pytest.mark.parametrize("changed", MALFORMED, ids=str)
def test_a_lease_that_no_driver_can_have_written_names_nobody_and_status_answers(
    store: FolderStore, changed: dict[str, Any]
) -> None:
    store.put("lease", json.dumps(HOLDER | changed).encode())
    assert read_lease(store) is None
    assert read_status(store).driver is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"owner": 1}', '{"owner": "x", "host": "y", "pid": "z"}'])
def test_a_torn_lease_names_nobody(store: FolderStore, text: str) -> None:
    store.put("lease", text.encode())
    assert read_lease(store) is None
    assert Lease.take(store).epoch == 0


def test_a_lease_of_an_older_version_is_read(store: FolderStore) -> None:
    told = {"owner": "x", "host": "y", "pid": 1, "renewed_s": 5.0, "released": True}
    store.put("lease", json.dumps(told).encode())
    found = read_lease(store)
    assert found is not None
    assert (found.epoch, found.released) == (0, True)


@pytest.mark.parametrize("given", ["soon", "0.5", "nan", "inf", "-3"])
def test_a_malformed_limit_is_refused_in_words(given: str) -> None:
    os.environ["JOULEGRID_LEASE_STALE_S"] = given
    with pytest.raises(UsageError, match=r"JOULEGRID_LEASE_STALE_S=.*give seconds, 1 or more"):
        stale_s()
