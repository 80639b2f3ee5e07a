"""A small model hub on a loopback port: one repository, the parts of its interface that a download uses."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Hub(ThreadingHTTPServer):
    daemon_threads = True
    repository: str
    folder: Path


@contextlib.contextmanager
def hub_server(repository: str, folder: Path) -> Iterator[str]:
    """Serve a folder as the newest commit of a repository; yield the endpoint."""
    server = _Hub(("127.0.0.1", 0), _Handler)
    server.repository, server.folder = repository, folder
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        if path.startswith(f"/api/models/{self.server.repository}"):
            body = self._tree() if "/tree/" in path else self._model()
            self._send(json.dumps(body).encode(), "application/json", with_body=with_body)
            return
        prefix = f"/{self.server.repository}/resolve/"
        file = self.server.folder / path.rpartition("/")[2]
        if path.startswith(prefix) and file.is_file():
            self._send(file.read_bytes(), "application/octet-stream", with_body=with_body)
            return
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _files(self) -> list[Path]:
        return sorted(file for file in self.server.folder.iterdir() if file.is_file())

    def _model(self) -> object:
        siblings = [{"rfilename": file.name} for file in self._files()]
        return {"_id": "1", "id": self.server.repository, "sha": COMMIT, "siblings": siblings}

    def _tree(self) -> object:
        return [{"type": "file", "path": one.name, "size": one.stat().st_size, "oid": "0"} for one in self._files()]

    def _send(self, content: bytes, kind: str, *, with_body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
