"""Shared tensors: the same bytes as drawn, kept by fingerprint and seed, rebuilt where they must be."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from joulegrid.cases.manifest import read_problem
from joulegrid.kernels.draw import Draw
from joulegrid.kernels.module import flat_tensors
from joulegrid.kernels.problem import Problem
from joulegrid.kernels.tensor_cache import SharedTensors, TensorCache, drawn
from tests.cases.made_cases import make_case


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    return read_problem(make_case(tmp_path / "cases"))


@pytest.fixture
def cache(tmp_path: Path) -> TensorCache:
    return TensorCache(tmp_path / "a cache")


def tensors_of(shared: SharedTensors) -> list[Any]:
    return flat_tensors([list(shared.inputs.args), dict(shared.inputs.kwargs), dict(shared.state)])


def same(left: SharedTensors, right: SharedTensors) -> bool:
    pairs = zip(tensors_of(left), tensors_of(right), strict=True)
    return all(bool(one.equal(other)) and one.stride() == other.stride() for one, other in pairs)


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "sliced", "offset"])
def test_what_is_read_is_what_was_drawn_strides_included(problem: Problem, cache: TensorCache, layout: Any) -> None:
    draw = Draw(problem.tiny.dims, seed=3, layout=layout)
    first = cache.tensors(problem, draw)
    assert len(list(cache.folder.iterdir())) == 1
    assert same(first, cache.tensors(problem, draw)) and same(first, drawn(problem, draw))


def test_another_seed_dtype_or_case_has_a_file_of_its_own(problem: Problem, cache: TensorCache) -> None:
    draw = Draw(problem.tiny.dims)
    other = dataclasses.replace(problem, fingerprint="changed")
    paths = {
        cache.path(problem, draw),
        cache.path(problem, dataclasses.replace(draw, seed=1)),
        cache.path(problem, dataclasses.replace(draw, dtype="bf16")),
        cache.path(other, draw),
    }
    assert len(paths) == 4
    assert cache.path(problem, dataclasses.replace(draw, device="cuda")) in paths


def test_a_damaged_file_is_drawn_again(problem: Problem, cache: TensorCache) -> None:
    draw = Draw(problem.tiny.dims)
    expected = cache.tensors(problem, draw)
    for data in (b"", b"no archive of torch", cache.path(problem, draw).read_bytes()[:100]):
        cache.path(problem, draw).write_bytes(data)
        assert same(expected, cache.tensors(problem, draw))


def test_rebuilding_on_demand_replaces_the_file(problem: Problem, cache: TensorCache) -> None:
    draw = Draw(problem.tiny.dims)
    cache.tensors(problem, draw)
    before = cache.path(problem, draw).stat().st_ino
    cache.tensors(problem, draw, rebuild=True)
    assert cache.path(problem, draw).stat().st_ino != before


def test_writing_into_a_tensor_does_not_reach_the_file(problem: Problem, cache: TensorCache) -> None:
    draw = Draw(problem.tiny.dims)
    cache.tensors(problem, draw)
    for tensor in tensors_of(cache.tensors(problem, draw)):
        tensor.zero_()
    assert same(cache.tensors(problem, draw), drawn(problem, draw))


def test_the_folder_stays_within_its_limit(problem: Problem, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path / "small", limit_bytes=40_000)
    for seed in range(12):
        cache.tensors(problem, Draw(problem.tiny.dims, seed=seed))
        assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= 60_000
    newest = cache.path(problem, Draw(problem.tiny.dims, seed=11))
    assert newest.exists() and not cache.path(problem, Draw(problem.tiny.dims, seed=0)).exists()
    nothing = TensorCache(tmp_path / "none", limit_bytes=10)
    nothing.tensors(problem, Draw(problem.tiny.dims))
    assert list(nothing.folder.iterdir()) == []
