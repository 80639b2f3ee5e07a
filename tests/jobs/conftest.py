"""One Ray session, and one standing cluster, for all tests of this folder that need one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.jobs.processes import SESSION
from tests.jobs.ray_head import RayHead, ray_head


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """Hold a local Ray session with two CPUs; `drive` finds it initialised and uses it."""
    import ray

    from joulegrid.cluster.session import ray_session

    os.environ[SESSION] = str(os.getpid())  # what its workers start inherits it
    with ray_session():
        assert ray.is_initialized()
        yield


@pytest.fixture(scope="session")
def head() -> Iterator[RayHead]:
    """Hold a head node with token authentication, to which jobs are submitted."""
    with ray_head() as head:
        yield head
