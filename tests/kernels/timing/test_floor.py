"""The physical floor: what is charged, what the cache is credited with, and that it is measured once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from joulegrid.cases.catalog import case_folder  # noqa: E402
from joulegrid.cases.manifest import read_problem  # noqa: E402
from joulegrid.kernels.device import single_threaded  # noqa: E402
from joulegrid.kernels.problem import Problem  # noqa: E402
from joulegrid.kernels.timing import roofs  # noqa: E402
from joulegrid.kernels.timing.floor import Footprint, physical_floor  # noqa: E402
from joulegrid.kernels.timing.roofs import Roofs, machine_roofs  # noqa: E402

MEGA = 1 << 20
ROOFS = Roofs(
    device="made", threads=1, bytes_per_s=1e10, flops_per_s={"fp32": 1e11}, cache_bytes=MEGA, provenance="simulated"
)


@pytest.fixture
def problem() -> Problem:
    return read_problem(case_folder("rmsnorm"))


def test_bytes_beyond_the_cache_are_charged_at_the_measured_bandwidth(problem: Problem) -> None:
    dims = {"rows": 4096, "width": 1024}
    footprint = Footprint(inputs=16 * MEGA, weights=4096, outputs=16 * MEGA, calls=64)
    floor = physical_floor(problem, dims, "fp32", footprint, ROOFS)
    assert floor.bound == "memory"
    assert floor.credited_bytes == 4096 + 2 * MEGA // 64
    assert floor.seconds == pytest.approx((32 * MEGA + 4096 - floor.credited_bytes) / 1e10)
    assert floor.impossible(0.7 * floor.seconds)
    assert not floor.impossible(0.9 * floor.seconds)
    assert floor.share(2 * floor.seconds) == 0.5


def test_what_fits_into_the_cache_is_charged_by_its_operations_alone(problem: Problem) -> None:
    small = {"rows": 16, "width": 1024}
    floor = physical_floor(problem, small, "fp32", Footprint(64 << 10, 4096, 64 << 10, calls=4), ROOFS)
    assert floor.credited_bytes == floor.bytes_moved
    assert (floor.bound, floor.seconds) == ("arithmetic", 5 * 16 * 1024 / 1e11)


def test_an_unknown_cache_is_credited_with_everything(problem: Problem) -> None:
    unknown = ROOFS.model_copy(update={"cache_bytes": None})
    floor = physical_floor(
        problem, {"rows": 4096, "width": 1024}, "fp32", Footprint(16 * MEGA, 0, 16 * MEGA, 64), unknown
    )
    assert floor.bound == "arithmetic"


def test_a_narrow_dtype_is_never_held_against_a_lower_roof_than_fp32() -> None:
    assert ROOFS.model_copy(update={"flops_per_s": {"fp32": 5.0, "bf16": 1.0}}).peak("bf16") == 5.0


def test_roofs_are_measured_once_and_the_best_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a cache"))
    with single_threaded():
        found = machine_roofs("cpu", "fp32")
        path = next((tmp_path / "a cache" / "joulegrid" / "roofs").iterdir())
        assert found.bytes_per_s > 1e8
        assert found.peak("fp32") > 1e8
        kept: dict[str, Any] = json.loads(path.read_text())
        path.write_text(json.dumps({**kept, "bytes_per_s": 1e15}))
        assert machine_roofs("cpu", "fp32").bytes_per_s == 1e15
        assert machine_roofs("cpu", "fp32", again=True).bytes_per_s == 1e15
        path.write_text("{")
        assert machine_roofs("cpu", "fp32").bytes_per_s < 1e15


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    with single_threaded():
        assert machine_roofs("cpu", "fp32").threads == 1


def test_sizes_of_caches_are_read_with_their_units() -> None:
    assert [roofs._size(text) for text in ("48K\n", "2M", "512")] == [48 << 10, 2 << 20, 512]
