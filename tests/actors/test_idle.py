"""Idle power on lanes with a sensor: bare before the first task, loaded in the task, reused while it still holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from joulegrid.actors.idle import IdleTerms
from tests.actors.gpu_lane import open_gpu_lane
from tests.cluster.nvml_simulated.build import Control, simulated_nvml, uuid_of

TASK = "import time\ndef main():\n    time.sleep(1.2)\n    return {}"
TERMS = IdleTerms(bare_s=1.5, loaded_s=0.6, max_age_h=1.0)


def baselines(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in result["baselines"]}


def test_a_gpu_lane_measures_bare_and_loaded_idle_and_later_runs_reuse_what_still_holds(tmp_path: Path) -> None:
    env = simulated_nvml(tmp_path, gpus=1, idle_w=70.0) | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    cache = tmp_path / "cache" / "joulegrid" / "idle" / f"{uuid_of(0)}.json"
    with open_gpu_lane(tmp_path, env, uuid_of(0), baseline=TERMS) as lane:
        outcome, result = lane.run(TASK)
    assert outcome["status"] == "done", result
    found = baselines(result)
    assert found["bare_idle"]["power_w"] == pytest.approx(70.0, rel=0.02)
    assert found["loaded_idle"]["power_w"] == pytest.approx(70.0, rel=0.05)
    assert found["bare_idle"]["device"] == uuid_of(0) and not found["bare_idle"]["reused"]
    windows = {one["name"]: one for one in result["windows"]}
    assert set(windows) == {"main", "idle"} and windows["idle"]["seconds"] >= 0.6
    nets = {net["baseline"]: net for net in windows["main"]["energy"]["net"]}
    assert set(nets) == {"bare_idle", "loaded_idle"}
    assert nets["bare_idle"]["low_j"] <= 0.0 <= nets["bare_idle"]["high_j"]  # it did nothing
    assert "short" in windows["main"]["energy"]["flags"]
    assert windows["main"]["steady"]["verdict"] == "unknown"
    terms = IdleTerms(bare_s=1.5, loaded_s=0.0, max_age_h=1.0)
    with open_gpu_lane(tmp_path, env, uuid_of(0), baseline=terms) as lane:
        _, result = lane.run(TASK)
    assert baselines(result)["bare_idle"]["reused"] and set(baselines(result)) == {"bare_idle"}
    kept = json.loads(cache.read_text())
    kept["baselines"][0]["power_w"] *= 2  # a short look contradicts it
    cache.write_text(json.dumps(kept))
    with open_gpu_lane(tmp_path, env, uuid_of(0), baseline=terms) as lane:
        _, result = lane.run(TASK)
    assert not baselines(result)["bare_idle"]["reused"]
    assert baselines(result)["bare_idle"]["power_w"] == pytest.approx(70.0, rel=0.03)


def test_a_gpu_that_somebody_holds_has_no_bare_idle_power(tmp_path: Path) -> None:
    env = simulated_nvml(tmp_path, gpus=1) | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    Control(env).occupy(0, [1])
    with open_gpu_lane(tmp_path, env, uuid_of(0), baseline=TERMS) as lane:
        outcome, _ = lane.run(TASK)
    assert outcome["failure_class"] == "contaminated"
    assert not (tmp_path / "cache").exists()
