"""What explains a board's power, once a second: NVML's answers as bytes, and what they say.

The process that reads sensors asks into memory that is laid out once and sends it; the parent makes it into values.
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from joulegrid.cluster.power.sensors.fields import FieldBatch
from joulegrid.cluster.power.sensors.raw import FIELD, number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOWED_FIELDS = {
    "sw_power_cap": 74,
    "thermal_policy": 75,
    "sync_boost": 76,
    "sw_thermal_slowdown": 269,
    "hw_thermal_slowdown": 270,
    "hw_power_brake": 271,
}
"""Nanoseconds for which the clocks were lowered, since the driver was loaded (NVML_FI_DEV_PERF_POLICY_*,
NVML_FI_DEV_CLOCKS_EVENT_REASON_*)."""
LIMIT_FIELDS = {"min": 187, "max": 188, "default": 189, "current": 190, "requested": 192}
"""Power limits in mW (NVML_FI_DEV_POWER_*_LIMIT)."""
OTHERS = (*SLOWED_FIELDS.values(), *LIMIT_FIELDS.values())
HEAD = struct.Struct("=q8i")  # when it was asked; the return codes of seven calls and of that for the fields
ANSWERS = struct.Struct("=I4xI4xI4xI4xQI4xI4x")  # enforced limit, °C, SM and memory MHz, reasons, state, utilisation
FIELDS_AT = HEAD.size + ANSWERS.size
SIZE = FIELDS_AT + FIELD.size * len(OTHERS)


@dataclass(frozen=True, slots=True)
class Condition:
    """What explains a board's power, once a second; `None`, or no entry, where NVML gives nothing."""

    t_ns: int
    temperature_c: int | None
    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    throttle_reasons: int | None
    """Bits of nvmlClocksEventReasons."""
    p_state: int | None = None
    utilisation_percent: int | None = None
    enforced_limit_w: float | None = None
    slowed_ns: dict[str, int] = field(default_factory=dict)
    """Reason → nanoseconds since the driver was loaded."""
    limits_w: dict[str, float] = field(default_factory=dict)
    """`current`, `default`, `min`, `max`, `requested` → watts."""


class ConditionQuestions:
    """The calls about one board. For one thread."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self.memory = bytearray(SIZE)
        """The newest answers, as `condition_of` reads them."""
        clock = "nvmlDeviceGetClockInfo"
        asked: tuple[tuple[Any, ...], ...] = (
            ("nvmlDeviceGetEnforcedPowerLimit",),
            ("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            (clock, nvml.NVML_CLOCK_SM),
            (clock, nvml.NVML_CLOCK_MEM),
            ("nvmlDeviceGetCurrentClocksThrottleReasons",),
            ("nvmlDeviceGetPerformanceState",),
            ("nvmlDeviceGetUtilizationRates",),  # two unsigned numbers, the GPU's first
        )
        places = (ctypes.c_ulonglong * len(asked)).from_buffer(self.memory, HEAD.size)
        self._calls = [
            (_function(nvml, name), (handle, *more, ctypes.byref(places, number * ctypes.sizeof(ctypes.c_ulonglong))))
            for number, (name, *more) in enumerate(asked)
        ]
        self._fields = FieldBatch(nvml, handle, OTHERS, memoryview(self.memory)[FIELDS_AT:])

    def ask(self, t_ns: int) -> None:
        """Ask everything; `t_ns` is when."""
        codes = [call(*arguments) for call, arguments in self._calls]
        HEAD.pack_into(self.memory, 0, t_ns, *codes, self._fields.read())


def condition_of(raw: bytes) -> Condition:
    """Return what a board answered."""
    t_ns, *codes = HEAD.unpack_from(raw)
    told = [
        value if code == 0 else None for value, code in zip(ANSWERS.unpack_from(raw, HEAD.size), codes, strict=False)
    ]
    enforced_mw, celsius, sm_mhz, memory_mhz, reasons, state, utilisation = told
    found = [number_of(*FIELD.unpack_from(raw, at)[1:]) for at in range(FIELDS_AT, SIZE, FIELD.size)]
    values = found if codes[-1] == 0 else [None] * len(found)
    return Condition(
        t_ns,
        celsius,
        sm_mhz,
        memory_mhz,
        reasons,
        state,
        utilisation,
        None if enforced_mw is None else enforced_mw / 1000,
        {name: int(value) for name, value in _known(SLOWED_FIELDS, values)},
        {name: value / 1000 for name, value in _known(LIMIT_FIELDS, values[len(SLOWED_FIELDS) :])},
    )


def _known(names: dict[str, int], values: Sequence[float | None]) -> list[tuple[str, float]]:
    return [(name, value) for name, value in zip(names, values, strict=False) if value is not None]


def _function(nvml: Any, name: str) -> Any:
    try:
        return nvml._nvmlGetFunctionPointer(name)
    except nvml.NVMLError:  # an older library
        return lambda *_: nvml.NVML_ERROR_FUNCTION_NOT_FOUND
