"""Traces: recorded, read, replayed as simulated; malformed ones are refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from joulegrid.cluster.power.sampler.frames import Hello
from joulegrid.cluster.power.sampler.recorder import Recorder, Target
from joulegrid.cluster.power.sampler.trace import Trace, read_trace
from joulegrid.cluster.power.sensors.nvml import BoardFacts, Condition
from joulegrid.cluster.power.sensors.readings import Reading
from joulegrid.cluster.power.sensors.sources import PowerConfig
from joulegrid.errors import UsageError
from joulegrid.jobs.study.load import make_study
from tests.cluster.nvml_simulated.build import simulated_nvml, uuid_of

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
S = 1_000_000_000
MS = 1_000_000


def joulegrid(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "joulegrid", *arguments]
    given = {**(env or os.environ), "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def trace() -> Trace:
    """One second of a board at 200 W, ticking each 100 ms."""
    readings = [
        Reading(k * 50 * MS, 900.0 + 20.0 * (k // 2), 200.0, counter_stamp_ns=k // 2 * 100 * MS) for k in range(21)
    ]
    facts = BoardFacts("Board of the trace", "1.0")
    conditions = [Condition(0, 50, 1700, 2600, 0x20)]
    return Trace("measured", 0.05, Hello({"GPU-trace": facts}), {"GPU-trace": readings}, {"GPU-trace": conditions})


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_a_trace_comes_back_as_it_was_written(trace: Trace, tmp_path: Path, name: str) -> None:
    trace.write(tmp_path / name)
    back = read_trace(tmp_path / name)
    assert (back.readings, back.conditions, back.provenance) == (trace.readings, trace.conditions, "measured")
    assert back.hello.boards == trace.hello.boards


def test_a_replay_goes_round_and_is_simulated_in_every_word(trace: Trace, tmp_path: Path) -> None:
    trace.write(tmp_path / "t.jsonl")
    recorder = Recorder(PowerConfig(source="replay", trace=str(tmp_path / "t.jsonl")))
    recorder.start()
    try:
        t0_ns = time.monotonic_ns()
        time.sleep(2.2)  # two seams of the loop are inside
        t1_ns = time.monotonic_ns()
        energy, beside = recorder.energy(t0_ns, t1_ns, Target(), 1.0)
        samples = recorder.series(t0_ns, t1_ns, Target(), "here/cpu0")
        conditions = recorder.conditions(t0_ns, t1_ns, Target())
        again = recorder.trace(t0_ns, t1_ns, {})
    finally:
        recorder.stop()
    assert energy.energy_j == pytest.approx(200.0 * (t1_ns - t0_ns) / S, rel=0.1)
    assert (energy.provenance, energy.source, energy.device) == ("simulated", "counter", "GPU-trace")
    assert "replayed from a trace" in str(energy.interval)
    assert beside == [], "the trace has no CPU, and this machine's is not asked"
    assert {sample.provenance for sample in samples} == {"simulated"}
    assert conditions[0].simulated and conditions[0].throttled
    assert again.provenance == "simulated", "what was replayed is not measured by being recorded"


def cut(path: Path) -> None:
    path.write_text("\n".join(path.read_text().splitlines()[:1]))


def backwards(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[5]]))


def other_device(path: Path) -> None:
    path.write_text(path.read_text() + json.dumps({"device": "GPU-x", "t_ns": 10**12}) + "\n")


def words_for_numbers(path: Path) -> None:
    path.write_text(path.read_text() + json.dumps({"device": "GPU-trace", "t_ns": 10**12, "power_w": "many"}) + "\n")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (cut, "too few readings"),
        (backwards, "backwards"),
        (other_device, "GPU-x"),
        (words_for_numbers, "not numbers"),
        (lambda path: path.write_text(""), "empty"),
        (lambda path: path.write_text("{}\n"), "header"),
        (lambda path: path.write_text("not json"), "damaged"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "damaged"),
        (lambda path: path.unlink(), "there is no such file"),
    ],
)
def test_a_malformed_trace_is_refused_by_name(
    trace: Trace, tmp_path: Path, damage: Callable[[Path], Any], why: str
) -> None:
    place = tmp_path / "t.jsonl"
    trace.write(place)
    damage(place)
    with pytest.raises(UsageError, match=why) as refusal:
        Recorder(PowerConfig(source="replay", trace=str(place)))
    assert str(place) in str(refusal.value) and refusal.value.exit_code == 2


def test_a_study_with_a_damaged_trace_is_refused_when_it_is_read(trace: Trace, tmp_path: Path) -> None:
    place = tmp_path / "t.jsonl"
    trace.write(place)
    study = {"workload": "script", "script": {"path": __file__}, "power": {"source": "replay", "trace": str(place)}}
    assert make_study({"study_name": "s", **study}).power.trace == str(place)
    cut(place)
    with pytest.raises(UsageError, match="too few readings"):
        make_study({"study_name": "s", **study})


def test_a_parquet_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"t\.parquet"):
        read_trace(tmp_path / "t.parquet")


@pytest.mark.parametrize("values", [{"source": "replay"}, {"source": "auto", "trace": "t.jsonl"}])
def test_replay_and_trace_belong_together(values: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="belong together"):
        PowerConfig.model_validate(values)


def test_a_command_is_recorded_and_a_meter_replays_it(tmp_path: Path) -> None:
    env, place = simulated_nvml(tmp_path, gpus=2), tmp_path / "with space.jsonl"
    done = joulegrid("power", "record", "-o", str(place), "--", "sh", "-c", "sleep 0.5; exit 5", env=env)
    assert done.returncode == 5 and "2 devices, measured" in done.stderr
    trace = read_trace(place)
    assert list(trace.readings) == [uuid_of(0), uuid_of(1)] and trace.conditions[uuid_of(0)]
    assert trace.readings[uuid_of(0)][0].t_ns < 100 * MS, "times count from the first reading"
    assert trace.about["environment"]["hostname"] and trace.about["command"][0] == "sh"
    replayed = joulegrid("meter", "--source", "replay", "--trace", str(place), "sleep", "0.5")
    assert replayed.returncode == 0 and "counter, simulated" in replayed.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-o", "x.csv", "--seconds", "1"], 2, "jsonl"),
        (["-o", "x.jsonl"], 2, "either --seconds"),
        (["-o", "x.jsonl", "--seconds", "0"], 2, "above 0"),
        (["-o", "x.jsonl", "--seconds", "1", "--", "true"], 2, "either --seconds"),
        (["-o", "x.jsonl", "--seconds", "1", "--source", "model"], 2, "only sensors can be recorded"),
    ],
)
def test_a_recording_that_makes_no_sense_is_refused(arguments: list[str], code: int, words: str) -> None:
    done = joulegrid("power", "record", *arguments)
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr
