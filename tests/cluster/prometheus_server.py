"""A real Prometheus on a free loopback port that scrapes one endpoint."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.s3_servers import HOST, serve

SCRAPE_S = 0.25


@dataclass(frozen=True, slots=True)
class Prometheus:
    """The server's HTTP interface."""

    port: int

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query; `AssertionError` with the server's words where it refuses."""
        answer = self.get(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def value(self, expression: str) -> float:
        """Return the sum over the series of a query; NaN where there is none."""
        found = self.query(expression)
        return sum(float(one["value"][1]) for one in found) if found else float("nan")

    def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        status, body = self._ask(path)
        assert status in (200, 400, 422), (status, body)  # the latter two explain themselves in JSON
        return json.loads(body)

    def wait_until_ready(self) -> None:
        """Wait until the server answers queries: it listens before it has read its storage."""
        limit = time.monotonic() + 60
        while (answer := self._ask("/-/ready"))[0] != 200:
            assert time.monotonic() < limit, answer
            time.sleep(0.05)

    def _ask(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def wait_for(self, expression: str, at_least: float) -> None:
        """Wait until a query has reached a value; a minute at most."""
        limit = time.monotonic() + 60
        while not self.value(expression) >= at_least:
            targets = self.get("/api/v1/targets?state=active")["data"]["activeTargets"]
            assert time.monotonic() < limit, f"{expression} stays at {self.value(expression)}; {targets}"
            time.sleep(SCRAPE_S)


@contextlib.contextmanager
def prometheus_server(folder: Path, target: str) -> Iterator[Prometheus]:
    """Scrape `target` (host:port) four times a second; data and configuration go below the folder."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("needs Debian's package prometheus")
    scrape = {"job_name": "joulegrid", "scrape_interval": f"{SCRAPE_S * 1000:.0f}ms", "scrape_timeout": "250ms"}
    configuration = {"scrape_configs": [{**scrape, "static_configs": [{"targets": [target]}]}]}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))

    def command(port: int) -> list[str]:
        return [
            binary,
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={HOST}:{port}",
            "--log.level=warn",
        ]

    with serve(command, folder) as port:
        server = Prometheus(port)
        server.wait_until_ready()
        yield server
