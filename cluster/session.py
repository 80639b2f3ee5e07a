"""Joining or starting Ray. The only module outside `actors/` that knows how a Ray session begins and ends."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from joulegrid.errors import PreFlightError

REACH_LIMIT_S = 5.0
TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105 - a path


def in_ray_job() -> bool:
    """Whether this process is the entry point of a `ray job submit`."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def refuse_vanishing(what: str, url: str) -> None:
    """Raise `PreFlightError` for a relative folder inside a Ray job: its working folder is a copy that vanishes."""
    if in_ray_job() and not url.startswith("s3://") and not Path(url).is_absolute():
        raise PreFlightError(
            f"{what}: {url!r} is relative, but in a Ray job the working folder is a copy that vanishes; "
            f"give {what} s3://bucket/prefix or an absolute folder that every node sees"
        )


def begins_here(address: str | None = None) -> bool:
    """Whether `ray_session` would start a session of its own on this machine; Ray is not imported for the answer."""
    ray = sys.modules.get("ray")
    return _address(address) is None and not (ray is not None and ray.is_initialized())


@contextmanager
def ray_session(address: str | None = None) -> Iterator[None]:
    """Hold a Ray session: join the given (or `RAY_ADDRESS`'s, or the surrounding job's) cluster, else start one here.

    Raises:
        PreFlightError: when the cluster cannot be reached or does not accept this client.
    """
    address = _address(address)
    if address and "ray" not in sys.modules:
        use_token()  # Ray reads its settings when it is imported; set later, they would only half hold
    import ray

    if ray.is_initialized():
        yield
        return
    _start(ray, address)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # there Ray tells of lost nodes; stdout is for results
            yield
    finally:
        with contextlib.suppress(KeyboardInterrupt):
            ray.shutdown()


def _address(given: str | None) -> str | None:
    return given or os.environ.get("RAY_ADDRESS") or ("auto" if in_ray_job() else None)


def _refuse_unreachable(address: str) -> None:
    """Ray tries an address where nobody answers for many minutes: ask once first."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # `auto` and the like: Ray itself knows where to look
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_LIMIT_S).close()
    except OSError as error:
        raise PreFlightError(
            f"Ray: nobody answers at {address}: {error}; give the address that `ray start --head` printed "
            "(host:port, usually port 6379), or leave --address out to start Ray here"
        ) from error


def _start(ray: Any, address: str | None) -> None:
    if address:
        _refuse_unreachable(address)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True}
    local: dict[str, Any] = {} if address else {"include_dashboard": False, "object_store_memory": 200 * 2**20}
    # A task whose driver leaves before it asks how the task ended is told of by a traceback of the worker's, else.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    if not address:
        # Ray's own 15 would let every other program on the machine go before what is measured.
        os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        ray.init(address=address or "local", **quiet, **local)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise PreFlightError(f"Ray: {_advice(address, _first_line(error))}") from error
    except Exception as error:
        if type(error) is not Exception:
            raise
        # Ray has no type of its own for a node that did not come up in time, as on a machine that is overloaded.
        raise PreFlightError(f"Ray: {_advice(address, _first_line(error))}") from error


def use_token() -> None:
    """Use the token where there is one: Ray 2.60's `ray start` switches token authentication on, its clients do not.

    Has no effect once Ray is imported.
    """
    has_token = (
        "RAY_AUTH_TOKEN" in os.environ or Path(os.environ.get("RAY_AUTH_TOKEN_PATH", TOKEN_FILE)).expanduser().is_file()
    )
    if has_token:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _advice(address: str | None, reason: str) -> str:
    if address:
        return (
            f"cannot join {address}: {reason}; check the address with `joulegrid doctor --address …`, and that "
            f"RAY_AUTH_MODE=token is set with the cluster's token in {TOKEN_FILE}"
        )
    if "AF_UNIX" in reason:
        return f"cannot start here: {reason}; its sockets lie below TMPDIR: set TMPDIR to a shorter path"
    return f"cannot start here: {reason}; look into the newest session below the temporary folder's ray/"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
