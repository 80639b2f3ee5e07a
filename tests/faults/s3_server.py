"""An S3 server that can be killed and started again on the same port with the same objects (rclone, from a folder)."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tests.cluster.s3_servers import ACCESS_KEY, BUCKET, HOST, SECRET_KEY, free_port
from tests.faults.processes import wait_until


class RestartableS3:
    """A context manager; it ignores conditional writes, so runs on it are unfenced."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = f"http://{HOST}:{self._port}"
        (folder / "served" / BUCKET).mkdir(parents=True)

    def __enter__(self) -> RestartableS3:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.kill()

    def start(self) -> None:
        """Serve."""
        beside = Path(sys.executable).parent / "rclone"
        rclone = [str(beside) if beside.exists() else "rclone", "serve", "s3", "--addr", f"{HOST}:{self._port}"]
        place = ["--config", str(self._folder / "rclone.conf"), "--cache-dir", str(self._folder / "cache")]
        command = [*rclone, "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", *place, str(self._folder / "served")]
        if setpriv := shutil.which("setpriv"):
            command = [setpriv, "--pdeathsig", "KILL", "--", *command]  # even when the tests themselves are killed
        with (self._folder / "server.log").open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        wait_until(self._answers, why=lambda: (self._folder / "server.log").read_text()[-2000:])

    def kill(self) -> None:
        """SIGKILL the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            socket.create_connection((HOST, self._port), timeout=1).close()
        except OSError:
            return False
        return True
