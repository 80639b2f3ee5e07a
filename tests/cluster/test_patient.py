"""A store that waits for itself: failures that pass, failures that stay, and what may not be waited for."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import pytest

from joulegrid.cluster.folder import FolderStore
from joulegrid.cluster.patient import PatientStore, patience_s
from joulegrid.cluster.storage import StoreError
from joulegrid.errors import UsageError
from tests.faults.faulty_store import Fault, FaultyStore


def patient(folder: Path, fault: Fault, patience_s: float = 5.0) -> PatientStore:
    return PatientStore(FaultyStore(FolderStore(folder, durable=False), fault), patience_s)


def test_an_operation_that_fails_for_a_while_succeeds_in_the_end(tmp_path: Path) -> None:
    store = patient(tmp_path, Fault("error", after=0, count=2))
    store.put("a", b"1")
    assert store.get("a") == b"1"


def test_a_creation_whose_answer_was_lost_knows_its_own_bytes(tmp_path: Path) -> None:
    store = patient(tmp_path, Fault("lost"))
    assert store.create("a", b"1")
    assert not store.create("a", b"2")


def test_who_waited_in_vain_says_how_long_and_does_not_wait_again_before_something_succeeds(tmp_path: Path) -> None:
    fault = Fault("error", count=100)
    store = patient(tmp_path, fault, 1.0)
    with pytest.raises(StoreError, match=r"a fault of this store.*\(tried again for 1 s\)"):
        store.put("a", b"1")
    began_s = time.monotonic()
    for _ in range(3):
        with pytest.raises(StoreError):
            store.put("a", b"1")
    assert time.monotonic() - began_s < 0.5
    fault.kind = "none"
    store.put("a", b"1")
    fault.kind, fault.after, fault.count = "error", fault.seen, 1
    store.put("a", b"2")
    assert store.get("a") == b"2"


def test_what_is_absent_is_not_waited_for(tmp_path: Path) -> None:
    began_s = time.monotonic()
    with pytest.raises(FileNotFoundError):
        patient(tmp_path, Fault()).get("nothing")
    assert time.monotonic() - began_s < 1.0


def test_a_listing_goes_on_and_a_worker_gets_the_same_patience(tmp_path: Path) -> None:
    store = patient(tmp_path, Fault())
    for name in "abc":
        store.put(f"x/{name}", b"")
    sent = pickle.loads(pickle.dumps(store.child("x")))
    assert (list(store.list("x/")), list(sent.list())) == (["x/a", "x/b", "x/c"], ["a", "b", "c"])
    assert (sent.patience_s, sent.url, sent.conditional) == (5.0, f"{store.url}/x", True)


@pytest.mark.parametrize("given", ["long", "-1", "nan", "inf"])
def test_a_malformed_patience_is_refused_in_words(given: str) -> None:
    os.environ["JOULEGRID_STORE_PATIENCE_S"] = given
    with pytest.raises(UsageError, match=r"JOULEGRID_STORE_PATIENCE_S=.*give seconds, 0 or more"):
        patience_s()
