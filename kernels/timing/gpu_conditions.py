"""The conditions that a GPU held while members were timed: clocks, what held them back, heat, power, other programs.

Read from NVML, never set: clocks, power limit and persistence are left as they are. What a board or driver does not
tell is null. Clocks are read right before and after; a board that has nothing to do has lowered them by then.
Source: NVML API Reference, 5.16 (device queries) and 5.27 (field values).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

REASONS: Mapping[int, str] = {
    0x1: "idle",
    0x2: "applications_clocks",
    0x4: "software_power_cap",
    0x8: "hardware_slowdown",
    0x10: "sync_boost",
    0x20: "software_thermal",
    0x40: "hardware_thermal",
    0x80: "hardware_power_brake",
    0x100: "display_clock",
}
"""Bits of nvmlDeviceGetCurrentClocksEventReasons (nvml.h, nvmlClocksEventReason*)."""
_POWER, _THERMAL = 0, 1
"""nvmlPerfPolicyType_t."""


class GpuConditions(BaseModel):
    """What a GPU was like before and after members were timed, and what held it back meanwhile."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    uuid: str
    """Of the board."""
    driver: str | None
    """Version of its driver."""
    sm_mhz_before: int | None
    """Clock of its multiprocessors."""
    sm_mhz_after: int | None
    """The same at the end."""
    sm_mhz_most: int | None
    """The highest that the board has."""
    memory_mhz_after: int | None
    """Clock of its memory at the end."""
    celsius_before: int | None
    """Temperature."""
    celsius_after: int | None
    """The same at the end."""
    power_w_after: float | None
    """Power at the end, as the board averages it."""
    power_limit_w: float | None
    """What it may draw."""
    held_back_after: tuple[str, ...] | None
    """Why clocks were lower than they could be, at the end."""
    power_held_s: float | None
    """Seconds in which the power limit held clocks back, meanwhile."""
    heat_held_s: float | None
    """Seconds in which heat did."""
    persistence: bool | None
    """Whether the driver keeps the board ready; left as it was."""
    others: int | None
    """Other programs with memory on the board, judge and members not counted; null where NVML does not tell."""


@dataclass(frozen=True, slots=True)
class GpuSnapshot:
    """What NVML says at one moment; unknown is `None`."""

    uuid: str
    driver: str | None = None
    sm_mhz: int | None = None
    sm_mhz_most: int | None = None
    memory_mhz: int | None = None
    celsius: int | None = None
    power_mw: int | None = None
    power_limit_mw: int | None = None
    reasons: int | None = None
    power_held_ns: int | None = None
    heat_held_ns: int | None = None
    persistence: int | None = None
    programs: frozenset[int] | None = None


def gpu_snapshot(uuid: str) -> GpuSnapshot | None:
    """Read a board now, by its UUID with or without `GPU-`; `None` where NVML is missing or does not know it."""
    try:
        import pynvml
    except ImportError:
        return None
    with suppress(pynvml.NVMLError), _initialised(pynvml):
        named = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
        return _read(pynvml, pynvml.nvmlDeviceGetHandleByUUID(named), named)
    return None


def gpu_conditions(before: GpuSnapshot | None, after: GpuSnapshot | None, own: frozenset[int]) -> GpuConditions | None:
    """Return what held between two snapshots; `own` are processes that belong to the timing. `None` without any."""
    if before is None or after is None:
        return None
    seen = None if before.programs is None or after.programs is None else before.programs | after.programs
    return GpuConditions(
        uuid=after.uuid,
        driver=after.driver,
        sm_mhz_before=before.sm_mhz,
        sm_mhz_after=after.sm_mhz,
        sm_mhz_most=after.sm_mhz_most,
        memory_mhz_after=after.memory_mhz,
        celsius_before=before.celsius,
        celsius_after=after.celsius,
        power_w_after=_scaled(after.power_mw, 1e-3),
        power_limit_w=_scaled(after.power_limit_mw, 1e-3),
        held_back_after=None if after.reasons is None else reason_names(after.reasons),
        power_held_s=_passed_s(before.power_held_ns, after.power_held_ns),
        heat_held_s=_passed_s(before.heat_held_ns, after.heat_held_ns),
        persistence=None if after.persistence is None else bool(after.persistence),
        others=None if seen is None else len(seen - own),
    )


def reason_names(bits: int) -> tuple[str, ...]:
    """Return the names of what holds clocks back; idleness is no such thing, unknown bits are numbers."""
    known = [name for bit, name in REASONS.items() if bits & bit and name != "idle"]
    rest = bits & ~sum(REASONS)
    return tuple(known + ([hex(rest)] if rest else []))


def _read(nvml: Any, board: Any, uuid: str) -> GpuSnapshot:
    def told(function: str, *arguments: Any) -> Any:
        with suppress(nvml.NVMLError, AttributeError):  # not supported by this board, or by this pynvml
            return getattr(nvml, function)(*arguments)
        return None

    reasons = told("nvmlDeviceGetCurrentClocksEventReasons", board)
    if reasons is None:
        reasons = told("nvmlDeviceGetCurrentClocksThrottleReasons", board)
    programs = told("nvmlDeviceGetComputeRunningProcesses", board)
    return GpuSnapshot(
        uuid=uuid,
        driver=_text(told("nvmlSystemGetDriverVersion")),
        sm_mhz=told("nvmlDeviceGetClockInfo", board, nvml.NVML_CLOCK_SM),
        sm_mhz_most=told("nvmlDeviceGetMaxClockInfo", board, nvml.NVML_CLOCK_SM),
        memory_mhz=told("nvmlDeviceGetClockInfo", board, nvml.NVML_CLOCK_MEM),
        celsius=told("nvmlDeviceGetTemperature", board, nvml.NVML_TEMPERATURE_GPU),
        power_mw=told("nvmlDeviceGetPowerUsage", board),
        power_limit_mw=told("nvmlDeviceGetEnforcedPowerLimit", board),
        reasons=reasons,
        power_held_ns=_held_ns(lambda: told("nvmlDeviceGetViolationStatus", board, _POWER)),
        heat_held_ns=_held_ns(lambda: told("nvmlDeviceGetViolationStatus", board, _THERMAL)),
        persistence=told("nvmlDeviceGetPersistenceMode", board),
        programs=None if programs is None else frozenset(int(one.pid) for one in programs),
    )


@contextmanager
def _initialised(nvml: Any) -> Iterator[None]:
    nvml.nvmlInit()
    try:
        yield
    finally:
        nvml.nvmlShutdown()


def _held_ns(read: Callable[[], Any]) -> int | None:
    found = read()
    return None if found is None else int(found.violationTime)


def _passed_s(before_ns: int | None, after_ns: int | None) -> float | None:
    return None if before_ns is None or after_ns is None else max(0, after_ns - before_ns) / 1e9


def _scaled(value: int | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
