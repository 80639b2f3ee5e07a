"""A study over two hosts with nothing in common but the network: who measures, who is refused, what a fault costs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from joulegrid.actors.result import ExperimentResult
from joulegrid.cluster.storage import Store, open_store
from tests.cluster.hosts import Host, missing, network, part, rejoin
from tests.cluster.nvml_simulated.build import simulated_nvml, uuid_of
from tests.cluster.ray_hosts import RayHosts, is_running, kill_ray, ray_environment
from tests.cluster.s3_servers import BUCKET, environment, moto_server

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None and "CI" not in os.environ, reason=f"no hosts here: {missing()}"),
]

RESCHEDULED_S = 30.0
"""How long after a fault the lost task must be at work again."""
WATTS = (100.0, 200.0)
"""What the simulated GPU of each host draws."""


@dataclass(frozen=True, slots=True)
class Place:
    """The standing cluster and the S3 server beside it."""

    cluster: RayHosts
    s3: dict[str, str]

    @property
    def head(self) -> Host:
        return self.cluster.head

    @property
    def other(self) -> Host:
        return self.cluster.other

    def command(self, study: dict[str, Any]) -> list[str]:
        """Return what runs a study inside the head; it is written where both hosts see it."""
        path = self.cluster.network.shared / f"{study['study_name']}.yaml"
        path.write_text(yaml.safe_dump(study))
        run = [sys.executable, "-m", "joulegrid", "run", str(path), "--address", self.cluster.address, "--json"]
        return self.head.command(run)

    def store(self, monkeypatch: pytest.MonkeyPatch, output: str) -> Store:
        """Open the one run that lies in an output."""
        for name, value in self.s3.items():
            monkeypatch.setenv(name, value)
        root = open_store(output)
        [run] = root.folders("")
        return root.child(run)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("hosts")
    with network(2) as hosts, moto_server(folder, hosts.outside) as endpoint:
        cluster, s3, common = RayHosts(hosts, gpus=1), environment(endpoint), ray_environment()
        for host, watts in zip(hosts.hosts, WATTS, strict=True):
            (hosts.shared / host.name).mkdir()
            nvml = simulated_nvml(hosts.shared / host.name, gpus=1, idle_w=watts)
            host.environment |= s3 | common | {n: nvml[n] for n in ("LD_LIBRARY_PATH", "SIMULATED_NVML_FILE")}
            cluster.start(host)
        yield Place(cluster, s3)


@pytest.fixture
def both(place: Place) -> Iterator[Place]:
    """The cluster with Ray on both hosts, whatever the last test did to them."""
    if not is_running(place.other):
        place.cluster.start(place.other)
    yield place
    with contextlib.suppress(AssertionError):
        rejoin(place.head, place.other)


def study_of(place: Place, name: str, source: str, xs: int, output: str | None = None) -> dict[str, Any]:
    """A study of a script that both hosts see; its lanes have a GPU each."""
    script = place.cluster.network.shared / f"{name}.py"
    script.write_text(textwrap.dedent(source).replace("SHARED", repr(str(place.cluster.network.shared))))
    return {
        "study_name": name,
        "workload": "script",
        "script": {"path": str(script)},
        "sweep": {"script.globals.x": list(range(xs))},
        "execution": {"baseline": None},
        "output": output or f"s3://{BUCKET}/{name}",
    }


def test_a_cut_host_reaches_nobody_and_a_parted_one_everybody_else(place: Place) -> None:
    here, there, gateway = place.head, place.other, place.cluster.network.outside
    s3_port = int(place.s3["AWS_ENDPOINT_URL_S3"].rpartition(":")[2])
    assert reaches(here, there.address, 6379) is False  # nobody listens there
    assert reaches(there, here.address, 6379) and reaches(there, gateway, s3_port)
    part(here, there)
    assert not reaches(there, here.address, 6379) and reaches(there, gateway, s3_port)
    rejoin(here, there)
    there.cut()
    assert not reaches(there, gateway, s3_port) and reaches(here, gateway, s3_port)
    there.restore()
    assert reaches(there, here.address, 6379)


def test_hosts_have_names_processes_and_temporary_folders_of_their_own(place: Place) -> None:
    names = [host.run(["hostname"]).stdout.strip() for host in place.cluster.network.hosts]
    assert names == [host.name for host in place.cluster.network.hosts]
    (place.head.root / "tmp" / names[0]).touch()
    assert not (place.other.root / "tmp" / names[0]).exists() and not Path("/tmp", names[0]).exists()
    assert not place.head.processes().keys() & place.other.processes().keys()


def test_each_host_runs_its_share_and_its_own_sampler_answers_for_it(
    both: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
    import socket, time
    x = 0
    def main():
        time.sleep(1.5)
        return {"host": socket.gethostname()}
    """
    study = study_of(both, "share", source, 4)
    done = subprocess.run(both.command(study), env=both.head.environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    results = results_in(both.store(monkeypatch, study["output"]))
    watts = dict(zip((host.name for host in both.cluster.network.hosts), WATTS, strict=True))
    assert {result.lane.node for result in results} == set(watts)
    assert {tuple(result.lane.gpu_uuids) for result in results} == {(uuid_of(0),)}  # the lock of a GPU is its node's
    for result in results:
        assert (result.metrics or {})["host"] == result.environment.hostname == result.lane.node
        [window] = result.windows or []
        assert window.energy.source == "counter" and window.energy.low_j is not None
        assert window.energy.low_j <= watts[result.lane.node] * window.seconds <= (window.energy.high_j or 0.0)


def test_a_folder_that_the_hosts_do_not_share_is_refused_and_a_shared_one_is_not(both: Place) -> None:
    source = "x = 0\ndef main():\n    return {'double': 2 * x}"
    refused = both.command(study_of(both, "unshared", source, 4, "/tmp/runs"))
    done = subprocess.run(refused, env=both.head.environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert f"{both.other.name} does not see the driver's files" in done.stderr and "Traceback" not in done.stderr
    shared = str(both.cluster.network.shared / "runs")
    done = subprocess.run(
        both.command(study_of(both, "shared", source, 4, shared)),
        env=both.head.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["done"] == 4


def test_when_a_nodes_ray_is_killed_its_task_goes_elsewhere_and_the_node_may_come_back(
    both: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks are slow until the killed host has had one again: so the run lasts until it has joined."""
    source = f"""
    import socket, time
    from pathlib import Path
    x = 0
    def main():
        here, shared = socket.gethostname(), Path(SHARED) / "killed"
        struck = (shared / "struck").exists()
        (shared / f"{{x}} {{here}} {{'back' if struck else 'first'}}").write_text(str(time.monotonic()))
        if here == {both.other.name!r} and not struck:
            time.sleep(60)
        limit = time.monotonic() + 1.5
        while not list(shared.glob("* {both.other.name} back")) and time.monotonic() < limit:
            time.sleep(0.05)
        return {{}}
    """
    folder = both.cluster.network.shared / "killed"
    folder.mkdir()
    study = study_of(both, "killed", source, 24)
    with driving(both, study) as driver:
        [begun] = wait_for(lambda: list(folder.glob(f"* {both.other.name} first")))
        lost = begun.name.split()[0]
        struck_s = time.monotonic()
        (folder / "struck").touch()
        kill_ray(both.other)
        wait_for(lambda: not both.other.carrying("JOULEGRID_NONCE"), 5.0)
        both.cluster.start(both.other)
        retried = wait_for(lambda: [file for file in folder.glob(f"{lost} * back") if file.stat().st_size])
        wait_for(lambda: list(folder.glob(f"* {both.other.name} back")), 60.0)
        told = finished(driver)
    assert float(retried[0].read_text()) - struck_s < RESCHEDULED_S
    assert told["counts"] == {**told["counts"], "n_tasks": 24, "done": 24, "failed": 0}
    results = results_in(both.store(monkeypatch, study["output"]))
    assert Counter(result.attempt for result in results) == {0: 23, 1: 1}


def test_when_a_host_is_cut_off_its_task_goes_elsewhere_and_its_late_result_does_not_count(
    both: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host loses the cluster but not the store, and ends its task after another has committed it."""
    source = f"""
    import socket, time
    from pathlib import Path
    x = 0
    def main():
        here, shared = socket.gethostname(), Path(SHARED) / "parted"
        (shared / f"{{x}} {{here}}").write_text(str(time.monotonic()))
        while here == {both.other.name!r} and not (shared / "go on").exists():
            time.sleep(0.05)
        return {{"host": here}}
    """
    folder = both.cluster.network.shared / "parted"
    folder.mkdir()
    study = study_of(both, "parted", source, 5)
    with driving(both, study) as driver:
        [begun] = wait_for(lambda: list(folder.glob(f"* {both.other.name}")))
        lost = begun.name.split()[0]
        parted_s = time.monotonic()
        part(both.head, both.other)
        told = finished(driver)
    retried = folder / f"{lost} {both.head.name}"
    assert float(retried.read_text()) - parted_s < RESCHEDULED_S
    assert told["counts"] == {**told["counts"], "n_tasks": 5, "done": 5, "failed": 0}
    store = both.store(monkeypatch, study["output"])
    assert len(all_results(store)) == 5
    (folder / "go on").touch()
    late = wait_for(lambda: [one for one in all_results(store) if one.lane.node == both.other.name])
    assert [(one.axes["script.globals.x"], one.attempt, one.status) for one in late] == [(int(lost), 0, "done")]
    assert len(list(store.list("commit/"))) == 5
    assert {one.lane.node for one in results_in(store)} == {both.head.name}
    rejoin(both.head, both.other)
    wait_for(lambda: not both.other.carrying("JOULEGRID_NONCE"), 60.0)


def reaches(host: Host, address: str, port: int) -> bool:
    code = f"import socket; socket.create_connection(({address!r}, {port}), timeout=1).close()"
    return host.run([sys.executable, "-S", "-c", code]).returncode == 0


@contextlib.contextmanager
def driving(place: Place, study: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Run a study in the background; it does not outlive the block."""
    driver = subprocess.Popen(
        place.command(study),
        env=place.head.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield driver
    finally:
        driver.kill()
        driver.communicate(timeout=10)


def finished(driver: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the end of a run that must succeed, and return what it says."""
    stdout, stderr = driver.communicate(timeout=90)
    assert driver.returncode == 0, stderr
    told: dict[str, Any] = json.loads(stdout)
    return told


def wait_for(found: Callable[[], Any], limit_s: float = 45.0) -> Any:
    limit = time.monotonic() + limit_s
    while not (value := found()):
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.05)
    return value


def results_in(store: Store) -> list[ExperimentResult]:
    """The results that count: one for each marker."""
    markers = [json.loads(store.get(path)) for path in store.list("commit/")]
    return [ExperimentResult.model_validate_json(store.get(f"{one['path']}/result.json")) for one in markers]


def all_results(store: Store) -> list[ExperimentResult]:
    """Every attempt's result, those that came too late included."""
    paths = [path for path in store.list("results/") if path.endswith("result.json")]
    return [ExperimentResult.model_validate_json(store.get(path)) for path in paths]
