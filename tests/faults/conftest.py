"""One standing Ray cluster for all tests of this folder; studies join it, which takes 0.04 s instead of 4 to 8."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.s3_servers import environment
from tests.faults.forked import prepare
from tests.faults.trial import PLAIN, Trial
from tests.jobs.ray_head import RayHead, ray_head

Trials = Callable[..., Trial]


@pytest.fixture(scope="session")
def head() -> Iterator[RayHead]:
    """Hold a Ray head node with two CPUs; its workers know the credentials of the test's S3 servers."""
    before = dict(os.environ)
    os.environ.update({name: value for name, value in environment("").items() if value})
    try:
        with ray_head(dashboard=False) as found:
            prepare(found.environment)
            yield found
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def trial(head: RayHead, tmp_path: Path) -> Iterator[Trials]:
    """Make studies; whatever they started is ended with the test."""
    made: list[Trial] = []

    def make(body: str = PLAIN, xs: list[Any] | None = None, name: str = "study", **fields: Any) -> Trial:
        output = fields.pop("output", "")
        one = Trial(tmp_path / name, head, body, xs or [1, 2, 3, 4], fields, output)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()
