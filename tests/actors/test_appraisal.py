"""What a power series adds to a result: nets, steady states, requests, a MIG instance's share, costs by difference."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from joulegrid.actors.appraisal import Seen, appraised, read_steps
from joulegrid.actors.pricing import differed, flagged_short, window_of
from joulegrid.actors.result import WindowResult
from joulegrid.cases.workloads.step_log import Call, write_step_log
from joulegrid.cluster.power.baseline import Baseline
from joulegrid.cluster.power.energy import Energy, unknown
from joulegrid.cluster.power.sensors.mig import estimated_share
from joulegrid.cluster.power.sensors.series import Sample
from tests.cluster.test_attribution import IDLE_W, readings, step_joules
from tests.jobs.report.results import Made, done

S = 1_000_000_000
KIND: dict[str, Any] = {"source": "counter", "provenance": "measured", "scope": "gpu_board"}


def board(joules: float, u_j: float = 1.0, device: str = "GPU-a") -> Energy:
    return Energy(energy_j=joules, low_j=joules - u_j, high_j=joules + u_j, device=device, **KIND)


def window(name: str, t0_s: float, seconds: float, energy: Energy, repeats: int = 1) -> WindowResult:
    t0_ns, t1_ns = round(t0_s * S), round((t0_s + seconds) * S)
    mark: dict[str, Any] = {"name": name, "t0_ns": t0_ns, "t1_ns": t1_ns, "cpu_s": 0.0, "repeats": repeats}
    return window_of(mark, lambda *_: (energy, [], []), {})


def test_a_window_under_10_s_is_short_where_a_sensor_gave_its_joules() -> None:
    assert flagged_short(board(1.0), 9.9).flags == ("short",)
    assert flagged_short(board(1.0), 10.0).flags == ()
    assert flagged_short(unknown("no sensor"), 1.0).flags == ()
    modelled = Energy(energy_j=1.0, source="model", provenance="modelled", scope="cpu_package")
    assert flagged_short(modelled, 1.0).flags == ()


def test_the_idle_window_gives_the_baseline_of_the_others() -> None:
    windows = [window("throughput", 0, 20, board(6_000.0)), window("idle", 25, 5, board(500.0))]
    result = done(Made()).model_copy(update={"windows": windows, "headline": "throughput"})
    samples = [Sample(round(t * S / 10), "GPU-a", 300.0 if t <= 200 else 100.0, **KIND) for t in range(310)]
    celsius = [(t * S, 50.0 + 0.001 * t) for t in range(30)]
    pace = {0: [(round(t * S * 0.4), t) for t in range(1, 50)]}
    found = appraised(result, Seen(samples, celsius, pace, idle_s=5.0))
    (loaded,) = found.baselines
    assert loaded.kind == "loaded_idle" and loaded.power_w == pytest.approx(100.0)
    assert found.windows and found.requests is None
    (net,) = found.windows[0].energy.net
    assert net.energy_adjusted_j == pytest.approx(4_000.0)
    assert found.windows[0].steady and found.windows[0].steady.verdict == "steady"
    assert found.windows[1].steady is None and found.windows[1].energy.net == ()
    silent = appraised(result.model_copy(update={"windows": windows[:1]}), Seen(samples, celsius, {}, idle_s=5.0))
    assert "does not hold still" in (silent.baselines[0].reason or "")


def test_a_step_log_is_read_with_suspicion(tmp_path: Path) -> None:
    result = done(Made()).model_copy(update={"windows": [window("latency", 0, 20, board(6_000.0))]})

    def reason(text: bytes) -> str:
        (tmp_path / "steps.json.gz").write_bytes(text)
        found = appraised(result, Seen([], None, {}, steps=tmp_path / "steps.json.gz"))
        assert found.requests
        return found.requests.reason or ""

    def log(**changed: Any) -> bytes:
        made = {"window": "latency", "requests": ["a"], "steps": [[1, 2, [[0, 5, 0, 0]]]]} | changed
        return gzip.compress(json.dumps(made).encode())

    assert "readings cover 0.0 s" in reason(log())
    for damaged in (b"no gzip", log()[:-9], gzip.compress(b"[]"), log(window="other"), log(requests=3)):
        assert "cannot be used" in reason(damaged)
    assert "outside its window" in reason(log(steps=[[1, 30 * S, [[0, 5, 0, 0]]]]))
    torn = bytearray(log(requests=["r" * 500]))
    torn[20:24] = b"\xff\xff\xff\xff"
    assert "cannot be used" in reason(bytes(torn))
    assert "cannot be used" in reason(log(steps=[[float("inf"), 2, []]]))
    for part in ([1, 5, 0, 0], [-1, 5, 0, 0], [0, -5, 0, 0], [0, 5], [0, float("nan"), 0, 0]):
        assert "cannot be used" in reason(log(steps=[[1, 2, [part]]]))
    (tmp_path / "steps.json.gz").write_bytes(log())
    name, (step,) = read_steps(tmp_path / "steps.json.gz")
    assert (name, step.counts, step.parts[0].request) == ("latency", (5.0, 0.0, 0.0), "a")


def test_the_log_of_a_window_divides_its_joules_among_its_requests(tmp_path: Path) -> None:
    draw, t_ns, made = random.Random(4), 0, []
    while t_ns < 30 * S:
        prompts = tuple(draw.randint(40, 600) for _ in range(draw.randint(1, 6)))
        times = [t_ns, t_ns + sum(prompts) * 80_000]
        times += [times[-1] + (15_000_000 + 2_000_000 * len(prompts)) * step for step in range(1, draw.randint(5, 40))]
        made.append(Call(prompts, tuple(times)))
        t_ns = times[-1] + draw.randint(5, 300) * 1_000_000
    assert write_step_log(tmp_path, "latency", made) == "steps.json.gz"
    place = tmp_path / "artifacts" / "steps.json.gz"
    _, steps = read_steps(place)
    samples = readings(steps, draw, 0.01)
    seconds = samples[-1].t_ns / S
    joules = sum(step_joules(step) for step in steps)
    energy = board(joules + IDLE_W * seconds).model_copy(update={"provenance": "simulated"})
    result = done(Made()).model_copy(update={"windows": [window("latency", 0, seconds, energy)]})
    about: dict[str, Any] = {"device": "GPU-a", "scope": "gpu_board", "provenance": "simulated"}
    bare = Baseline(kind="bare_idle", power_w=IDLE_W, u_w=1.0, **about)
    found = appraised(result, Seen(samples, None, {}, bare=(bare,), steps=place)).requests
    assert found and found.reason is None and found.provenance == "simulated"
    assert found.n_requests == sum(len(call.prompts) for call in made)
    assert found.requests_j == pytest.approx(joules, rel=0.03)
    assert found.mismatch_j is not None and abs(found.mismatch_j) < 0.03 * joules
    assert write_step_log(tmp_path, "latency", [Call((1,) * 400_000, (0, 1))]).startswith("left out")


def test_decoding_by_difference_has_the_errors_of_both_windows() -> None:
    asked = {"name": "decode", "minuend": "throughput", "subtrahend": "prefill", "unit": "output_token", "count": 10.0}
    whole, part = window("throughput", 0, 20, board(1_000.0, 3.0), 2), window("prefill", 20, 20, board(400.0, 4.0), 4)
    found = differed(asked, [whole, part])
    assert found.energy_j == pytest.approx((500 - 100) / 10) and found.method == "difference"
    assert found.high_j == pytest.approx(40 + ((3 / 2) ** 2 + (4 / 4) ** 2) ** 0.5 / 10)
    assert "no window 'prefill'" in (differed(asked, [whole]).reason or "")
    lost = window("prefill", 20, 20, unknown("gone"), 4)
    assert differed(asked, [whole, lost]).energy_j is None


def test_a_mig_instance_gets_its_parents_joules_by_name_and_a_share_only_as_an_estimate() -> None:
    parent, instance = board(6_000.0), unknown("a MIG slice has no power sensor of its own", device="MIG-1")
    result = done(Made()).model_copy(update={"windows": [window("throughput", 0, 20, instance)]})
    bare = Baseline(kind="bare_idle", device="GPU-a", scope="gpu_board", provenance="measured", power_w=70.0, u_w=1.0)
    seen = Seen([], None, {}, bare=(bare,), parents={0: parent}, slices=(2, 7))
    (found,) = appraised(result, seen).windows or []
    assert found.energy.energy_j is None
    (beside,) = found.beside
    assert (beside.energy_j, beside.flags) == (6_000.0, ("parent_gpu",))
    share = found.estimated_share
    assert share and share.energy_j is None and share.provenance == "estimated"
    assert share.low_j == pytest.approx(400.0) and share.high_j == pytest.approx(400.0 + 4_600.0)
    known = estimated_share(parent, 1_400.0, (2, 7), activity=0.5)
    assert known.energy_j == pytest.approx(400 + 2_300) and known.reason is None
    assert "slices" in (estimated_share(parent, 1_400.0, None).reason or "")
    assert "baseline" in (estimated_share(parent, None, (2, 7)).reason or "")
    assert "unknown" in (estimated_share(unknown("gone"), 1.0, (2, 7)).reason or "")
