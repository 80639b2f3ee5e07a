"""A real Prometheus scrapes a real run, and answers every query of the dashboard."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from joulegrid.actors.outcome import Outcome
from joulegrid.jobs.loop.driver import Options, drive
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.status.metrics import Endpoint
from joulegrid.jobs.status.progress import Quiet
from joulegrid.jobs.study.load import make_study
from tests.cluster.prometheus_server import prometheus_server
from tests.cluster.s3_servers import HOST, free_port
from tests.jobs.status.test_metrics import expressions, page
from tests.jobs.studies import TWO_LANES, study_of

pytestmark = pytest.mark.usefixtures("ray_here")

SOURCE = """
import time
x = 0
def main():
    time.sleep(0.2)
    assert x % 5
    return {}
"""


def test_prometheus_scrapes_a_run_and_answers_every_query_of_the_dashboard(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, port) as process, prometheus_server(tmp_path, f"{HOST}:{port}") as prometheus:
        prometheus.wait_for('joulegrid_tasks{status="done"}', 6)
        prometheus.wait_for('joulegrid_task_failures_total{failure_class="app"}', 1)
        prometheus.wait_for("sum(rate(joulegrid_lane_busy_seconds_total[5s]))", 0.2)
        assert prometheus.value("sum(joulegrid_tasks)") == 200
        assert prometheus.value('joulegrid_energy_joules_total{provenance="modelled"}') > 0
        assert prometheus.value("joulegrid_time_left_seconds") > 0
        assert prometheus.value("sum(joulegrid_lanes)") == 2
        for expression, _ in expressions():
            asked = expression.replace("$__rate_interval", "5s").replace("$instance", ".*")
            assert prometheus.query(asked) or "retries" in expression, expression
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert f"metrics: http://{HOST}:{port}/metrics" in err


def test_a_taken_port_ends_a_run_before_it_has_begun(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken, running(tmp_path, taken.getsockname()[1]) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Address already in use; choose a free port with --metrics-port" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


@contextmanager
def running(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run 200 tasks, every fifth of which fails, with metrics on the port; killed at the end if it still lives."""
    import ray

    study = study_of(folder, SOURCE, list(range(200)), resources=TWO_LANES, execution={"circuit_breaker": None})
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-m", "joulegrid", "run", str(folder / "study.yaml"), "--yes", "--address", address]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"JOULEGRID_METRICS_PORT": str(port)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@dataclass
class Scraper(Quiet):
    """Reads the page each time that a task has ended, as Prometheus might."""

    endpoint: Endpoint
    joules: list[float] = field(default_factory=list)
    seen: list[tuple[float | None, float | None]] = field(default_factory=list)

    def ended(self, outcome: Outcome, label: str) -> None:
        self.joules.append(outcome.energy_j or 0.0)
        self.seen.append((self.value("joulegrid_energy_joules_total"), self.value("joulegrid_lane_busy_seconds_total")))

    def value(self, name: str) -> float | None:
        """Return the sum over the series of a metric; `None` where there is none."""
        found = [float(line.rpartition(" ")[2]) for line in page(self.endpoint).splitlines() if line.startswith(name)]
        return sum(found) if found else None


def test_after_each_task_the_page_holds_its_joules_and_lanes_are_never_busier_than_time_allows(tmp_path: Path) -> None:
    scraper = Scraper(Endpoint(free_port()))
    source = "import time\nx = 0\ndef main():\n    time.sleep(0.3)\n    return {}"
    study = make_study(study_of(tmp_path, source, resources=TWO_LANES))
    began_s = time.monotonic()
    drive(study, Plan(study), Options(display=scraper, report=False, metrics=scraper.endpoint))
    assert [joules for joules, _ in scraper.seen] == pytest.approx([sum(scraper.joules[:n]) for n in (1, 2, 3)])
    busy = [seconds or 0.0 for _, seconds in scraper.seen]
    assert busy == sorted(busy)
    assert 0.3 <= busy[-1] <= 2 * (time.monotonic() - began_s)
