"""The sampler on a real local Ray, over a simulated GPU."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from joulegrid.actors.sampler import start_sampler
from joulegrid.cluster.power.sampler.recorder import Target
from joulegrid.cluster.power.sensors.sources import PowerConfig
from joulegrid.errors import PreFlightError
from tests.cluster.nvml_simulated.build import Control, simulated_nvml, uuid_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ray(ray_here: None) -> Any:
    import ray

    return ray


@pytest.fixture
def here(ray: Any) -> str:
    return str(ray.get_runtime_context().get_node_id())


def test_the_sampler_measures_a_simulated_gpu_beside_a_modelled_cpu(ray: Any, here: str, tmp_path: Path) -> None:
    env = simulated_nvml(tmp_path, gpus=1)
    carried = {name: env[name] for name in ("LD_LIBRARY_PATH", "SIMULATED_NVML_FILE")}
    sampler: Any = start_sampler(here, PowerConfig(), name="sampler-test", runtime_env={"env_vars": carried})
    target = Target(gpu_uuids=(uuid_of(0),), cpus=(0,), pid=os.getpid())
    ray.get(sampler.watch.remote("here/gpu0", os.getpid()))
    control = Control(env)
    t0_ns = time.monotonic_ns()
    control.step(0, t0_ns, 300.0)
    time.sleep(1.0)
    t1_ns = time.monotonic_ns()
    control.step(0, t1_ns, 70.0)
    main, beside = ray.get(sampler.energy.remote(t0_ns, t1_ns, target, 0.5))
    truth_j = control.energy_j(0, t0_ns, t1_ns)
    samples = ray.get(sampler.series.remote(t0_ns, t1_ns, target, "here/gpu0"))
    described = ray.get(sampler.describe.remote())
    ray.get([sampler.unwatch.remote("here/gpu0"), sampler.stop.remote()])
    ray.kill(sampler)
    assert main.source == "counter" and main.low_j <= truth_j <= main.high_j
    assert main.energy_j == pytest.approx(truth_j, rel=0.1)
    assert len(beside) >= 1 and beside[0].scope == "cpu_package"
    assert "instant_integral" in {sample.source for sample in samples}
    assert described["sources"][:2] == ["counter", "instant_integral"]
    assert described["devices"][0]["name"] == "Simulated GPU"


def test_a_missing_explicit_source_is_refused_by_name_before_anything_runs(ray: Any, here: str, tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")
    broken = {"env_vars": {"LD_LIBRARY_PATH": str(tmp_path)}}
    with pytest.raises(PreFlightError, match=r"^power source nvml: .*nvidia-smi") as refusal:
        start_sampler(here, PowerConfig(source="nvml"), runtime_env=broken)
    assert "Traceback" not in str(refusal.value)
