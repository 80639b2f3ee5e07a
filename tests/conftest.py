"""What holds for every test: no influence of the person's own settings, the environment put back, quick tests first."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.checkout import ROOT
from tests.jobs.processes import SESSION

if TYPE_CHECKING:
    from joulegrid.kernels.judge.zygote import Zygote

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a background job of a shell: what it starts would ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

OWN_PREFIXES = ("JOULEGRID_", "RAY_", "SLURM_")
STANDING = {"head", "ray_here"}
"""Fixtures that hold a cluster for many tests."""


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


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """The judge's process that forks each candidate's child: torch and triton are imported once for all tests."""
    from joulegrid.kernels.judge.zygote import Zygote

    with Zygote() as process:
        yield process


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
    items.sort(key=_effort, reverse=side_by_side)  # a stable sort
    if not Path("/dev/nvidiactl").exists():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))


class BySharedCluster(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
    """Files side by side, but those that share a standing cluster behind each other: so it is started once."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if path.startswith("tests/faults/"):
            return "tests/faults"
        text = (ROOT / path).read_text(encoding="utf-8")
        return next((name for name in ("RayHead", "ray_here") if name in text), path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySharedCluster | None:
    """Take the place of `--dist loadfile`."""
    return BySharedCluster(config, log) if config.getoption("dist") == "loadfile" else None


def _effort(item: pytest.Item) -> int:
    """Tell what starts a cluster, what works on a standing one, and all others apart."""
    if any(item.get_closest_marker(mark) for mark in ("cluster", "slow")):
        return 2
    return int(not STANDING.isdisjoint(getattr(item, "fixturenames", ())))
