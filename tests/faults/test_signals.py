"""Ctrl-C once, and twice by an impatient person: the state is whole, nothing runs on, the next start does the rest."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.conftest import Trials
from tests.faults.manifest_watch import ManifestWatch
from tests.faults.processes import wait_until_gone
from tests.faults.trial import HELD_AT_3


@pytest.mark.parametrize("n_signals", [1, 2], ids=["once", "twice"])
def test_an_interrupted_run_is_whole_and_the_next_start_does_the_rest(trial: Trials, n_signals: int) -> None:
    one = trial(HELD_AT_3, [1, 2, 3, 4])
    with ManifestWatch(Path(one.output)):
        process = one.start()
        one.until(process, lambda: "3" in one.executions())
        for _ in range(n_signals):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        ended = one.end(process)
        wait_until_gone(one.head)
        assert ended.code == 130, ended.err
        assert "Traceback" not in ended.err
        manifest = json.loads(one.store.get("manifest.json"))
        before, executed, xs = one.committed(), one.executions(), one.committed_xs()
        counts = manifest["counts"]
        assert (manifest["state"], counts["done"], counts["pending"]) == ("interrupted", len(xs), 4 - len(xs))
        one.let_go()
        again = one.run()
    assert again.code == 0, again.err
    assert one.executions() == executed + Counter({"1", "2", "3", "4"} - xs)
    assert {path: one.committed()[path] for path in before} == before
    one.check(again)
