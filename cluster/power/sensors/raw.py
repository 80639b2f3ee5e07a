"""One look at a GPU board as NVML writes it: kept and sent as bytes, decoded when a window is asked for.

The process that reads sensors fills the same memory at each look and sends it as it is; of two hours of readings the
few around a window are ever made into values. Needs the standard library alone; both ends import it.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

from joulegrid.cluster.power.sensors.fields import VALUES
from joulegrid.cluster.power.sensors.readings import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

TOTAL_ENERGY_FIELD = 83  # NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, mJ since the driver was loaded, Volta and later
INSTANT_POWER_FIELD = 186  # NVML_FI_DEV_POWER_INSTANT, mW; nvmlDeviceGetPowerUsage is a 1 s mean since Ampere
AVERAGE_POWER_FIELD = 185  # NVML_FI_DEV_POWER_AVERAGE, mW
FIELDS = (TOTAL_ENERGY_FIELD, INSTANT_POWER_FIELD, AVERAGE_POWER_FIELD)
LOOK = struct.Struct("=qi4x")  # middle of the call, NVML's code of the call itself; the fields follow
FIELD = struct.Struct("=8xq8xIIQ")  # nvmlFieldValue_t: time stamp (µs), type, code, value
WHOLE = struct.Struct(LOOK.format + len(FIELDS) * FIELD.format.removeprefix("="))
_UINT, _ULONG, _ULONGLONG = 1, 2, 3


def reading_of(raw: bytes | bytearray, words: Mapping[int, str]) -> Reading:
    """Return what a look gave; `words` has NVML's own for its return codes."""
    t_ns, call, *told = WHOLE.unpack(raw)
    if call != 0:
        return Reading(t_ns, trouble=f"NVML: {_worded(call, words)}")
    counter_us, counter_kind, counter_code, counter, power_us, power_kind, power_code, power, _, kind, code, mean = told
    trouble = None
    if counter_code or power_code:
        field = TOTAL_ENERGY_FIELD if counter_code else INSTANT_POWER_FIELD
        trouble = f"NVML field {field}: {_worded(counter_code or power_code, words)}"
    return Reading(
        t_ns,
        _thousandth(counter_kind, counter_code, counter),
        _thousandth(power_kind, power_code, power),
        _thousandth(kind, code, mean),  # boards before Ampere have none, and that is no trouble
        counter_us * 1000 if counter_us > 0 and counter_code == 0 else None,
        power_us * 1000 if power_us > 0 and power_code == 0 else None,
        trouble,
    )


def number_of(kind: int, code: int, bits: int) -> float | None:
    """Return a field's value by its nvmlValueType_t; `None` where it has none."""
    if code != 0 or kind >= len(VALUES):
        return None
    if kind == _UINT:
        return bits & 0xFFFFFFFF if sys.byteorder == "little" else bits >> 32
    if kind in (_ULONG, _ULONGLONG):
        return bits
    value: float = VALUES[kind].unpack_from(bits.to_bytes(8, sys.byteorder))[0]
    return value


def _thousandth(kind: int, code: int, bits: int) -> float | None:
    value = number_of(kind, code, bits)
    return None if value is None else value / 1000


def _worded(code: int, words: Mapping[int, str]) -> str:
    return words.get(code, f"error {code}")
