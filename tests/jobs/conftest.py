"""One standing cluster for all tests of this folder that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.jobs.ray_head import RayHead, ray_head


@pytest.fixture(scope="session")
def head() -> Iterator[RayHead]:
    """Hold a head node with token authentication, to which jobs are submitted."""
    with ray_head() as head:
        yield head
