"""A study whose tasks run inside the workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.studies import run, study_of

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_here")]


def test_a_study_runs_inline(tmp_path: Path) -> None:
    done = run(study_of(tmp_path, xs=[1, 2], execution={"isolation": "inline"}))
    results = list(done.iter_results())
    assert sorted((result.metrics or {})["double"] for result in results) == [2, 4]
    assert {result.lane.isolation for result in results} == {"inline"}
    assert {result.timeseries for result in results} == {None}
