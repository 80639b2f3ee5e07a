"""One Ray session for all tests of this folder that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """Hold a local Ray session with two CPUs; `drive` finds it initialised and uses it."""
    import ray

    from joulegrid.cluster.session import ray_session

    with ray_session():
        assert ray.is_initialized()
        yield
