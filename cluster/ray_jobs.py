"""The job API of a standing Ray cluster (`http://HEAD:8265`): what it is, what it would be sent, and its jobs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from joulegrid.cluster.session import REACH_LIMIT_S, TOKEN_FILE, use_token
from joulegrid.errors import PreFlightError, UsageError

SURVEY_LIMIT_S = 120.0
_POLL_S = 0.25
_CHATTY = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private.runtime_env.packaging")
_STOPPED = 130
_NEEDED = ("pydantic", "yaml", "pyarrow", "boto3", "typer", "rich", "pynvml", "psutil")
_SURVEY = f"""
import importlib.util, json, platform, ray
found = importlib.util.find_spec("joulegrid")
version = None
if found:
    from joulegrid.version import __version__ as version
missing = [name for name in {_NEEDED!r} if importlib.util.find_spec(name) is None]
print("joulegrid-survey:" + json.dumps([platform.python_version(), ray.__version__, version, missing]))
"""


@dataclass(frozen=True, slots=True)
class ClusterSoftware:
    """What the cluster's `python` finds."""

    python: str
    ray: str
    joulegrid: str | None
    """`None` where Joulegrid is not installed."""
    missing: tuple[str, ...]
    """Modules that Joulegrid needs and that are not installed."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A command, and what travels with it."""

    entrypoint: str
    working_dir: Path
    modules: tuple[Path, ...] = ()
    """Packages that are uploaded beside the working folder and put on the path."""
    variables: Mapping[str, str] | None = None
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended."""

    status: str
    """`SUCCEEDED`, `FAILED` or `STOPPED`."""
    exit_code: int
    """The entry point's own where Ray knows it; 130 for a job that was stopped, else 1."""
    message: str


class RayJobs:
    """A client of one cluster's job API.

    Raises `UsageError` for an address of another kind, `PreFlightError` where nobody answers or the token is refused.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        _refuse_other_addresses(address)
        use_token()
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
            os.environ.pop(name, None)  # Ray prefers them to the address that was given
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient

        _quiet()
        try:
            self._client = JobSubmissionClient(self.address)
        except AuthenticationError as error:
            raise PreFlightError(f"Ray: {self.address} does not accept this client: {_token_advice(error)}") from error
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise PreFlightError(
                f"Ray: {self.address} is no job API: {_line(error)}; give the dashboard's address, e.g. http://HEAD:8265"
            ) from error

    def survey(self) -> ClusterSoftware:
        """Run a tiny job that says which Python, Ray and Joulegrid the cluster has; the API tells Ray's alone."""
        job = self._client.submit_job(entrypoint=f"python -c {shlex.quote(_SURVEY)}")
        deadline = time.monotonic() + SURVEY_LIMIT_S
        while (end := self.end(job)) is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        if end is None:
            self._client.stop_job(job)
            raise PreFlightError(f"Ray: {self.address} started no job within {SURVEY_LIMIT_S:g} s; are its CPUs free?")
        said = self._client.get_job_logs(job)
        self._client.delete_job(job)
        for line in said.splitlines():
            if line.startswith("joulegrid-survey:"):
                python, ray, version, missing = json.loads(line.partition(":")[2])
                return ClusterSoftware(python, ray, version, tuple(missing))
        raise PreFlightError(f"Ray: the cluster's python cannot be asked for its version: {end.message}")

    def submit(self, spec: JobSpec) -> str:
        """Upload what the job needs and submit it; return its submission id."""
        runtime: dict[str, Any] = {"working_dir": str(spec.working_dir), "env_vars": dict(spec.variables or {})}
        if spec.modules:
            runtime["py_modules"] = [str(module) for module in spec.modules]
        try:
            return str(
                self._client.submit_job(
                    entrypoint=spec.entrypoint, runtime_env=runtime, metadata=dict(spec.metadata or {})
                )
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise PreFlightError(f"Ray: {self.address} did not take the job: {_line(error)}") from error

    def end(self, job: str) -> JobEnd | None:
        """Return how a job ended, or `None` while it has not."""
        info = self._client.get_job_info(job)
        status = str(getattr(info.status, "value", info.status))
        if status in ("PENDING", "RUNNING"):
            return None
        known = info.driver_exit_code
        code = 0 if status == "SUCCEEDED" else _STOPPED if status == "STOPPED" else 1 if known is None else known
        return JobEnd(status, code if code >= 0 else 128 - code, info.message or "")

    def follow(self, job: str, write: Callable[[str], object]) -> JobEnd:
        """Hand every piece of a job's log to `write` until it has ended; a lost connection is taken up again."""
        import aiohttp

        told = 0
        while True:
            try:
                told = asyncio.run(self._tail(job, write, told))
            except (RuntimeError, aiohttp.ClientError, OSError):
                time.sleep(1)
            if end := self.end(job):
                return end
            time.sleep(_POLL_S)

    async def _tail(self, job: str, write: Callable[[str], object], told: int) -> int:
        """Write what comes behind the first `told` characters; return how many there were."""
        seen = 0
        async for text in self._client.tail_job_logs(job):
            new = text[max(0, told - seen) :]
            seen += len(text)
            if new:
                write(new)
        return max(told, seen)


def packed_files(folder: Path) -> dict[Path, int]:
    """Return the files that Ray would upload for a working folder, and their bytes.

    It is Ray's own walk: `.gitignore` and `.rayignore` of every folder, and Ray's own list (`.git`, `.venv`, …). The
    archive is not compressed, so the sum is what travels.
    """
    from ray._private import ray_constants
    from ray._private.runtime_env import packaging

    _quiet()
    found: dict[Path, int] = {}

    def handle(path: Path) -> None:
        if path.is_file():
            found[path] = path.stat().st_size

    top = folder.absolute()
    excludes = [packaging._get_excludes(top, ray_constants.get_runtime_env_default_excludes())]
    respect = os.environ.get(ray_constants.RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1"
    packaging._dir_travel(top, excludes, handle, include_gitignore=respect)
    return found


def _quiet() -> None:
    """Ray's clients set their loggers to INFO when they are imported."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _refuse_other_addresses(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"--address {address!r}: give the address of the cluster's dashboard, http://HEAD:8265;"
            " `joulegrid run --address HOST:6379` joins a cluster from here instead"
        )
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=REACH_LIMIT_S).close()
    except OSError as error:
        raise PreFlightError(
            f"Ray: nobody answers at {address}: {error}; the dashboard listens on port 8265 of the head, and for other"
            " machines only when it was started with --dashboard-host=0.0.0.0"
        ) from error


def _token_advice(error: BaseException) -> str:
    return (
        f"{_line(error).partition('. ')[0]}. Put the cluster's token (`ray get-auth-token` on its head) into"
        f" RAY_AUTH_TOKEN or {TOKEN_FILE} and set RAY_AUTH_MODE=token"
    )


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
