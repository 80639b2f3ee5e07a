"""What was raised inside a task, as the fields of a `Failure`: its class, its message, its traceback."""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Iterator

from joulegrid.cases.contract import LaneCannotError
from joulegrid.errors import UsageError
from joulegrid.jsontypes import Json

TRACEBACK_LIMIT = 8_000
_NO_DEVICE_MEMORY = re.compile(
    r"(CUDA|HIP|cuda|hip|GPU)\b.*\bout of memory|CU(DA|BLAS|DNN)_(STATUS|ERROR)_(ALLOC_FAILED|OUT_OF_MEMORY)"
)
"""As torch, cuBLAS and the driver say it where the exception is a plain RuntimeError."""
_NO_HOST_MEMORY = re.compile(r"DefaultCPUAllocator|can't allocate memory|Cannot allocate memory|std::bad_alloc")


def describe(error: BaseException, phase: str) -> dict[str, Json]:
    """Turn what was raised into the fields of a `Failure`."""
    text = "".join(traceback.format_exception(error))[-TRACEBACK_LIMIT:]
    return {
        "failure_class": classify(error),
        "type": type(error).__name__,
        "message": _message(error),
        "traceback": text,
        "phase": phase,
    }


def classify(error: BaseException) -> str:
    """Name the class of a failure (`joulegrid.actors.result.FailureClass`).

    Lack of memory counts wherever it stands in the chain of causes: libraries wrap it in errors of their own.
    """
    if isinstance(error, LaneCannotError | UsageError):
        return "invalid"
    chain = list(_chain(error))
    if any(_is_device_memory(one) for one in chain):
        return "oom_device"
    if any(_is_host_memory(one) for one in chain):
        return "oom_host"
    return "import" if isinstance(error, ImportError) else "app"


def _chain(error: BaseException, limit: int = 50) -> Iterator[BaseException]:
    """Yield an exception, the members of a group, and what they were raised from or while handling."""
    front, seen = [error], set[int]()
    while front and len(seen) < limit:
        one = front.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        context = None if one.__suppress_context__ else one.__context__
        members = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        front += [cause for cause in (one.__cause__, context, *members) if cause is not None]


def _is_device_memory(error: BaseException) -> bool:
    kind = type(error)
    if kind.__name__ == "OutOfMemoryError" and kind.__module__.startswith("torch"):
        return True
    return isinstance(error, RuntimeError) and _NO_DEVICE_MEMORY.search(_message(error)) is not None


def _is_host_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError) and _NO_HOST_MEMORY.search(_message(error)) is not None


def _message(error: BaseException) -> str:
    try:
        return str(error)[:2_000]
    except Exception:  # noqa: BLE001 - a foreign __str__ may raise anything
        return f"(the message of this {type(error).__name__} cannot be printed)"
