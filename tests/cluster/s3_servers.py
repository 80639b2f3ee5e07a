"""Two real S3 servers on free loopback ports, and a line between them and a client that can be disturbed."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACCESS_KEY = "joulegrid-test"
SECRET_KEY = "joulegrid-test-secret"
BUCKET = "studies"
HOST = "127.0.0.1"


def environment(endpoint: str) -> dict[str, str]:
    """Variables under which boto3 talks to the endpoint and to nothing else."""
    return {
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextlib.contextmanager
def moto_server(folder: Path, host: str = HOST) -> Iterator[str]:
    """Serve S3 from memory; honours `If-None-Match`. Yields the endpoint, with an empty bucket."""
    with serve(lambda port: [_beside_python("moto_server"), "-H", host, "-p", str(port)], folder, host) as port:
        connection = http.client.HTTPConnection(host, port, timeout=30)
        connection.request("PUT", f"/{BUCKET}", headers={"Authorization": _unchecked_signature()})
        assert connection.getresponse().status == 200
        connection.close()
        yield f"http://{host}:{port}"


@contextlib.contextmanager
def rclone_server(folder: Path) -> Iterator[str]:
    """Serve S3 from a folder; ignores `If-None-Match` without a word. Yields the endpoint, with an empty bucket."""
    served = folder / "served"
    (served / BUCKET).mkdir(parents=True)
    key = f"{ACCESS_KEY},{SECRET_KEY}"

    def command(port: int) -> list[str]:
        place = ["--config", str(folder / "rclone.conf"), "--cache-dir", str(folder / "cache")]
        return [
            _beside_python("rclone"),
            "serve",
            "s3",
            "--addr",
            f"{HOST}:{port}",
            "--auth-key",
            key,
            *place,
            str(served),
        ]

    with serve(command, folder) as port:
        yield f"http://{HOST}:{port}"


def free_port(host: str = HOST) -> int:
    """A port on which nothing listens now."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        return int(listener.getsockname()[1])


def _beside_python(name: str) -> str:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def _unchecked_signature() -> str:
    return (
        f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    )


@contextlib.contextmanager
def serve(command: Callable[[int], list[str]], folder: Path, host: str = HOST) -> Iterator[int]:
    """Run a server that the command starts on a port; yields the port when somebody listens there."""
    # Another process may take the free port first: then the server leaves at once and the next port is tried.
    for _ in range(3):
        port = free_port(host)
        with _process(command(port), folder / "server.log") as process:
            if _listens(process, port, host):
                yield port
                return
    raise AssertionError(f"the server did not start: {(folder / 'server.log').read_text()[-2000:]}")


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    if setpriv := shutil.which("setpriv"):
        command = [setpriv, "--pdeathsig", "KILL", "--", *command]  # even when the tests themselves are killed
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)


def _listens(process: subprocess.Popen[bytes], port: int, host: str) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return True
        time.sleep(0.05)
    return False


class Line(ThreadingHTTPServer):
    """Pass requests on to a server. Each entry of `faults` disturbs one PUT:

    `conflict` answers 409 and passes nothing on; `lost` passes the write on, then answers 500 as if it had failed.
    """

    daemon_threads = True

    def __init__(self, endpoint: str) -> None:
        super().__init__((HOST, 0), _Passing)
        self.upstream = endpoint.removeprefix("http://")
        self.faults: list[str] = []
        self.writes = 0

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.server_port}"

    @contextlib.contextmanager
    def open(self) -> Iterator[Line]:
        """Serve in a thread until the end of the block."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Line

    def do_GET(self) -> None:
        self._answer(*self._pass_on())

    def do_PUT(self) -> None:
        self.server.writes += 1
        fault = self.server.faults.pop(0) if self.server.faults else None
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault == "conflict":
            self._answer(409, b"<Error><Code>ConditionalRequestConflict</Code><Message>in flight</Message></Error>")
            return
        answer = self._pass_on(body)
        self._answer(*((500, b"<Error><Code>InternalError</Code></Error>") if fault == "lost" else answer))

    def _pass_on(self, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=30)
        try:
            connection.request(self.command, self.path, body=body, headers=dict(self.headers))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
