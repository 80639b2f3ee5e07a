"""One zygote for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from joulegrid.kernels.judge.zygote import Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """The judge's process that forks each candidate's child."""
    with Zygote("cpu") as process:
        yield process
