"""The packaged model through the whole way: zygote or spawn, windows, joules per token, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.jobs.studies import run

pytestmark = [pytest.mark.usefixtures("ray_here"), pytest.mark.slow]


def _study(folder: Path, **fields: Any) -> dict[str, Any]:
    pytorch = {"batch_size": 4, "max_new_tokens": 8, "min_window_seconds": 0.3, "warmup": 1}
    return {"study_name": "tiny", "model": "tiny-lm", "pytorch": pytorch, "output": str(folder), **fields}


@pytest.mark.parametrize("isolation", ["zygote", "spawn"])
def test_joules_per_token_come_out_modelled_and_marked(tmp_path: Path, isolation: str) -> None:
    study = run(_study(tmp_path, execution={"isolation": isolation}), report=True)
    (result,) = study.iter_results()
    assert result.status == "done", result.failure
    assert result.lane.isolation == isolation
    assert result.headline == "throughput"
    assert {window.name for window in result.windows or []} == {"throughput", "latency", "prefill", "decode"}
    assert result.energy is not None
    assert result.energy.provenance == "modelled"
    per = {one.unit: one.energy_j for one in result.energy_per or []}
    assert 0 < per["total_token"] < per["output_token"]  # type: ignore[operator]
    assert result.work is not None
    assert result.work["output_token"] == result.work["request"] * 8
    assert result.inputs["model"].startswith("sha256:")
    (total,) = study.energy
    assert total.provenance == "modelled"
    assert "modelled" in (Path(study.run) / "report" / "report.md").read_text()


def test_what_the_lane_cannot_do_fails_there_with_the_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    sweep = {"pytorch.attn_implementation": ["flash_attention_2", "eager"]}
    sweep["pytorch.precision"] = ["bf16"]
    study = run(_study(tmp_path, sweep=sweep, power={"source": "none"}))
    assert (study.counts.done, study.counts.failed) == (1, 1)
    (failure,) = study.failures
    assert failure.failure_class == "invalid"
    assert "flash" in failure.message
    done = next(one for one in study.iter_results() if one.status == "done")
    assert done.energy is not None
    assert done.energy.energy_j is None
    assert all(per.energy_j is None for per in done.energy_per or [])
