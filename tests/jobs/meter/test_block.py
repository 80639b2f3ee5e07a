"""`with joulegrid.meter() as m`."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import joulegrid
from joulegrid.errors import UsageError
from joulegrid.jobs.meter.block import shared_recorder
from tests.cluster.nvml_simulated.build import simulated_nvml, uuid_of

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def _ended() -> object:
    yield
    shared_recorder("model").stop()


def test_a_block_is_modelled_by_its_cpu_time_where_there_is_no_sensor() -> None:
    with joulegrid.meter(source="model") as m:
        ends_s = time.process_time() + 0.2
        while time.process_time() < ends_s:
            pass
    assert m.energy_j is not None and m.energy_j >= 0.7
    assert (m.source, m.provenance, m.edges, m.reason) == ("model", "modelled", "synced", None)
    assert m.uncertainty_j == pytest.approx(m.energy_j * (8.0 - 1.7) / 4.0 / 2)
    assert m.seconds >= 0.2 and len(m.parts) == 1 and m.conditions == []


def test_what_is_read_before_the_end_is_an_error_that_says_so() -> None:
    with joulegrid.meter(source="model") as m, pytest.raises(UsageError, match="after the with block"):
        _ = m.energy_j


def test_a_meter_is_used_once() -> None:
    with joulegrid.meter(source="model") as m:
        pass
    with pytest.raises(UsageError, match="again for the next one"), m:
        pass


def test_an_exception_passes_through_and_the_block_is_measured_up_to_it() -> None:
    m = joulegrid.meter(source="model")
    with pytest.raises(ZeroDivisionError), m:
        _ = 1 / 0
    assert m.energy_j is not None


def test_nested_blocks_and_threads_share_one_recorder() -> None:
    found = []

    def work() -> None:
        with joulegrid.meter(source="model") as outer, joulegrid.meter(source="model") as inner:
            pass
        found.append((outer.seconds, inner.seconds))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(outer >= inner for outer, inner in found)


@pytest.mark.parametrize(("gpu", "source"), [("0", "model"), (None, "guess")])
def test_what_cannot_be_measured_is_refused(gpu: str | None, source: str) -> None:
    with pytest.raises(UsageError):
        joulegrid.meter(gpu=gpu, source=source)


CODE = """
import json, os, time
import joulegrid
with joulegrid.meter() as m:
    time.sleep(0.5)
with joulegrid.meter(gpu=1) as one:
    time.sleep(0.3)
reader, writer = os.pipe()
if os.fork() == 0:
    with joulegrid.meter(gpu=0) as forked:
        time.sleep(0.3)
    os.write(writer, json.dumps(forked.source).encode())
    os._exit(0)
print(json.dumps([m.energy_j, m.seconds, m.source, m.edges, [p.scope for p in m.parts], m.energy.flags,
                  one.energy.device, one.conditions[0].name, json.loads(os.read(reader, 99))]))
"""


def test_a_block_over_two_gpus_is_measured_and_says_that_nobody_waited_for_them(tmp_path: Path) -> None:
    env = {**simulated_nvml(tmp_path, gpus=2), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", CODE]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    energy_j, seconds, source, edges, scopes, flags, device, name, forked = json.loads(done.stdout)
    assert energy_j == pytest.approx(140.0 * seconds, rel=0.1)
    assert source == "counter" and edges == "unsynced" and "unsynced" in flags, "torch is not imported there"
    assert scopes == ["gpu_board", "gpu_board", "cpu_package"]
    assert device == uuid_of(1) and name == "Simulated GPU"
    assert forked == "counter", "a fork has a recorder of its own"
    assert done.stderr == ""


def test_a_fork_is_told_that_the_meter_is_its_parents() -> None:
    script = """
import os, sys, joulegrid, joulegrid.errors
with joulegrid.meter(source="model") as m: pass
if os.fork():
    os.wait(); sys.exit()
try: m.energy_j
except joulegrid.errors.UsageError as error: print(error, flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "of which this one is a fork" in done.stdout, done.stderr
