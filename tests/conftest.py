"""What holds for every test: no influence of the person's own settings, the environment put back, quick tests first."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.processes import SESSION

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a background job of a shell: what it starts would ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

OWN_PREFIXES = ("JOULEGRID_", "RAY_", "SLURM_")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide the user's configuration, cluster and batch job; `CUDA_VISIBLE_DEVICES` stays as it is."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(OWN_PREFIXES)]:
        del os.environ[name]
    os.environ["JOULEGRID_CONFIG"] = str(tmp_path_factory.mktemp("nobody") / "config.yaml")
    os.environ["JOULEGRID_ENV_FILE"] = ""
    yield
    _restore(before)


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """Hold a local Ray session with two CPUs; `drive` finds it initialised and uses it."""
    import ray

    from joulegrid.cluster.session import ray_session

    os.environ[SESSION] = str(os.getpid())  # what its workers start inherits it
    with ray_session():
        assert ray.is_initialized()
        yield


@pytest.fixture(autouse=True)
def _environment_put_back() -> Iterator[None]:
    """Undo what a test, or the code under test, did to `os.environ`."""
    before = dict(os.environ)
    yield
    _restore(before)


def _restore(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        if name != "PYTEST_CURRENT_TEST":
            del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if name != "PYTEST_CURRENT_TEST"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what starts clusters last, or first where files run side by side; leave out what a missing GPU would do."""
    side_by_side = os.environ.get("PYTEST_XDIST_WORKER") is not None  # the long files first, so that all end together
    items.sort(key=lambda item: _is_long(item) != side_by_side)  # a stable sort
    if not Path("/dev/nvidiactl").exists():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))


def _is_long(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(mark) for mark in ("cluster", "slow"))
