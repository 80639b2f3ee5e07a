"""A local server that speaks the documented parts of Electricity Maps v3 and WattTime v3, with faults on order."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN, USER, PASSWORD, BEARER = "em-token-4711", "ada", "wt-password-0815", "bearer-1234"
NOW = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)


@dataclass
class Grid:
    """What the server knows, and what it is to do wrong."""

    hours: dict[datetime, float] = field(default_factory=dict)
    """Hour → g/kWh."""
    estimated: set[datetime] = field(default_factory=set)
    faults: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers of the next answers; then it behaves."""
    malformed: Any = None
    """A document that is sent instead of the documented one."""
    raw: bytes | None = None
    hang_s: float = 0.0
    has_past: bool = True
    """Whether the account may ask for more than the last 24 hours."""
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    """Path, query and headers of every request."""
    url: str = ""

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and document."""
        self.asked.append((path, query, headers))
        if self.hang_s:
            threading.Event().wait(self.hang_s)
        if self.faults:
            status, extra = self.faults.pop(0)
            return status, extra, {"error": "ordered"}
        status, document = (
            self._watttime(path, query, headers) if "carbon-intensity" not in path else self._maps(path, query, headers)
        )
        if status == 200 and self.malformed is not None:
            document = self.malformed
        return status, {}, document

    def paths(self) -> list[str]:
        """The last part of every path asked for."""
        return [path.rpartition("/")[2] for path, _, _ in self.asked]

    def _maps(self, path: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, Any]:
        if headers.get("auth-token") != TOKEN:
            return 401, {"error": "Invalid auth-token"}
        if query.get("zone", "DE") not in ("DE", "US-CAL-CISO"):
            return 404, {"error": "Zone not found"}
        what, current = path.rpartition("/")[2], NOW.replace(minute=0)
        if what == "latest":
            return 200, self._entry(current, query) if current in self.hours else {}
        if what == "history":
            shown = [hour for hour in sorted(self.hours) if current - timedelta(hours=24) < hour < current]
            return 200, {"zone": "DE", "history": [self._entry(hour, query) for hour in shown]}
        if not self.has_past:
            return 403, {"error": "Not in your plan"}
        start, end = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
        return 200, {"data": [self._entry(hour, query) for hour in sorted(self.hours) if start <= hour < end]}

    def _entry(self, hour: datetime, query: dict[str, str]) -> dict[str, Any]:
        return {
            "zone": query.get("zone", "DE"),
            "carbonIntensity": self.hours[hour],
            "datetime": hour.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "updatedAt": "2026-03-02T12:00:00.000Z",
            "emissionFactorType": query["emissionFactorType"],
            "isEstimated": hour in self.estimated,
            "estimationMethod": "TIME_SLICER_AVERAGE" if hour in self.estimated else None,
        }

    def _watttime(self, path: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, Any]:
        told = headers.get("authorization", "")
        if path.endswith("/login"):
            pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            return (200, {"token": BEARER}) if told == f"Basic {pair}" else (401, {"error": "bad login"})
        if told != f"Bearer {BEARER}":
            return 401, {"error": "bad token"}
        if path.endswith("/region-from-loc"):
            return 200, {"region": "CAISO_NORTH", "signal_type": query["signal_type"]}
        if query["region"] != "CAISO_NORTH" or query["signal_type"] == "co2_aoer":
            return 403, {"error": "not in your plan"}
        start, end = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
        points = []
        for hour, value in sorted(self.hours.items()):
            for minutes in range(0, 60, 5):
                at = hour + timedelta(minutes=minutes)
                if start <= at <= end:
                    points.append({"point_time": at.isoformat(), "value": value / 0.45359237 + minutes - 27.5})
        meta = {"region": query["region"], "units": "lbs_co2_per_mwh", "signal_type": query["signal_type"]}
        return 200, {"data": points, "meta": meta}


@contextmanager
def grid_server(grid: Grid) -> Iterator[Grid]:
    """Serve a grid on a free port of this machine, and end it."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, extra, document = grid.answer(
                parts.path, query, {name.lower(): value for name, value in self.headers.items()}
            )
            body = grid.raw if grid.raw is not None and status == 200 else json.dumps(document).encode()
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    grid.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield grid
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
