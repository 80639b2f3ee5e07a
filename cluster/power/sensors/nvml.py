"""GPU boards through NVML: energy counter, instant and averaged power, and once a second what explains them.

Boards are found by UUID; NVML does not know `CUDA_VISIBLE_DEVICES` and so neither does this. The library is loaded
when boards are opened, never at import. Not here: any power cap or clock that is *set*.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from joulegrid.cluster.power.sensors.fields import FieldBatch
from joulegrid.cluster.power.sensors.readings import Reading
from joulegrid.errors import PreFlightError

if TYPE_CHECKING:
    from collections.abc import Callable

TOTAL_ENERGY_FIELD = 83  # NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, mJ since the driver was loaded, Volta and later
INSTANT_POWER_FIELD = 186  # NVML_FI_DEV_POWER_INSTANT, mW; nvmlDeviceGetPowerUsage is a 1 s mean since Ampere
AVERAGE_POWER_FIELD = 185  # NVML_FI_DEV_POWER_AVERAGE, mW
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


@dataclass(frozen=True, slots=True)
class BoardFacts:
    """What does not change while a board is open; `None` where NVML does not say."""

    name: str
    driver: str | None = None
    persistence: bool | None = None
    ecc: bool | None = None
    mig: bool | None = None
    vbios: str | None = None


class BoardSensor:
    """One GPU board as NVML shows it. It keeps nothing: `joulegrid.cluster.power.sensors.board` does."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self._power = FieldBatch(nvml, handle, (TOTAL_ENERGY_FIELD, INSTANT_POWER_FIELD, AVERAGE_POWER_FIELD))
        self._others = FieldBatch(nvml, handle, (*SLOWED_FIELDS.values(), *LIMIT_FIELDS.values()))
        self._words: dict[tuple[int, int], str] = {}
        self.device: str = nvml.nvmlDeviceGetUUID(handle)
        self.name: str = nvml.nvmlDeviceGetName(handle)

    def read(self) -> Reading:
        """Read the fields in one call, dated at its middle."""
        before_ns = time.monotonic_ns()
        code = self._power.read()
        t_ns = (before_ns + time.monotonic_ns()) // 2
        if code != 0:
            return Reading(t_ns, trouble=f"NVML: {self._nvml.NVMLError(code)}")
        answer = self._power.answer
        counter, counter_us, counter_code = answer(0)
        power, power_us, power_code = answer(1)
        average, _, _ = answer(2)  # boards before Ampere have none, and that is no trouble
        code = counter_code or power_code
        return Reading(
            t_ns,
            None if counter is None else counter / 1000,
            None if power is None else power / 1000,
            None if average is None else average / 1000,
            counter_us * 1000 if counter_us > 0 and counter_code == 0 else None,
            power_us * 1000 if power_us > 0 and power_code == 0 else None,
            self._trouble(TOTAL_ENERGY_FIELD if counter_code else INSTANT_POWER_FIELD, code) if code else None,
        )

    def condition(self, t_ns: int) -> Condition:
        """Read what explains the board's power."""
        nvml, handle = self._nvml, self._handle
        enforced_mw = self._fact(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
        slowed_ns, limits_w = self._slowed_and_limits()
        return Condition(
            t_ns,
            self._fact(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            self._fact(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            self._fact(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
            self._fact(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
            self._fact(lambda: nvml.nvmlDeviceGetPerformanceState(handle)),
            self._fact(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
            None if enforced_mw is None else enforced_mw / 1000,
            slowed_ns,
            limits_w,
        )

    def facts(self) -> BoardFacts:
        """Read what does not change."""
        nvml, handle = self._nvml, self._handle
        return BoardFacts(
            self.name,
            self._text(nvml.nvmlSystemGetDriverVersion),
            self._whether(lambda: nvml.nvmlDeviceGetPersistenceMode(handle)),
            self._whether(lambda: nvml.nvmlDeviceGetEccMode(handle)[0]),
            self._whether(lambda: nvml.nvmlDeviceGetMigMode(handle)[0]),
            self._text(lambda: nvml.nvmlDeviceGetVbiosVersion(handle)),
        )

    def _slowed_and_limits(self) -> tuple[dict[str, int], dict[str, float]]:
        if self._others.read() != 0:
            return {}, {}
        found = [self._others.answer(place)[0] for place in range(len(self._others.fields))]
        slowed = zip(SLOWED_FIELDS, found, strict=False)
        limits = zip(LIMIT_FIELDS, found[len(SLOWED_FIELDS) :], strict=True)
        return (
            {name: int(value) for name, value in slowed if value is not None},
            {name: value / 1000 for name, value in limits if value is not None},
        )

    def _trouble(self, field_id: int, code: int) -> str:
        """NVML's words for a field's code; kept, because a field that is missing is missing at each reading."""
        key = (field_id, code)
        if key not in self._words:
            self._words[key] = f"NVML field {field_id}: {self._nvml.NVMLError(code)}"
        return self._words[key]

    def _fact(self, read: Callable[[], Any]) -> int | None:
        try:
            return int(read())
        except self._nvml.NVMLError:  # a board may lack any of these, and energy does not depend on them
            return None

    def _text(self, read: Callable[[], Any]) -> str | None:
        try:
            return str(read())
        except self._nvml.NVMLError:
            return None

    def _whether(self, read: Callable[[], Any]) -> bool | None:
        found = self._fact(read)
        return None if found is None else found == 1


def open_sensors() -> list[BoardSensor]:
    """Open NVML and every GPU of the node; call `close_sensors` afterwards.

    Raises `PreFlightError` with the remedy where the Python binding, the library, the driver or a GPU is missing.
    """
    nvml = _library()
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        sensors = [BoardSensor(nvml, handle) for handle in handles]
    except nvml.NVMLError as error:
        nvml.nvmlShutdown()
        raise PreFlightError(f"power source nvml: a GPU cannot be opened ({error}). {REMEDY}") from error
    if not sensors:
        nvml.nvmlShutdown()
        raise PreFlightError(f"power source nvml: NVML sees no GPU. {REMEDY}")
    return sensors


def close_sensors() -> None:
    """Shut NVML down once for each `open_sensors` that succeeded; NVML counts."""
    import pynvml

    pynvml.nvmlShutdown()


REMEDY = (
    "Check `nvidia-smi`; install NVIDIA's driver; give a container its GPUs and the driver capability `utility`; or "
    "choose the source auto, rapl, model or none"
)


def _library() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise PreFlightError("power source nvml: the package nvidia-ml-py is not installed; pip install it") from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise PreFlightError(f"power source nvml: NVML does not start ({error}). {REMEDY}") from error
    return pynvml
