"""GPU boards through NVML: the energy counter, the instant power, and once a second what explains them.

Boards are found by UUID; NVML does not know `CUDA_VISIBLE_DEVICES` and so neither does this. The library is loaded
when boards are opened, never at import. Not here: limits, versions and other facts of a GPU that do not change
(`joulegrid.cluster.environment`), and any power cap or clock that is *set*.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joulegrid.cluster.power.readings import Reading
from joulegrid.errors import PreFlightError

if TYPE_CHECKING:
    from collections.abc import Callable

TOTAL_ENERGY_FIELD = 83  # NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, mJ since the driver was loaded, Volta and later
INSTANT_POWER_FIELD = 186  # NVML_FI_DEV_POWER_INSTANT, mW; nvmlDeviceGetPowerUsage is a 1 s mean since Ampere
VALUE_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")  # by nvmlValueType_t


@dataclass(frozen=True, slots=True)
class Condition:
    """What explains a board's power, once a second; `None` where NVML gives nothing."""

    t_ns: int
    temperature_c: int | None
    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    throttle_reasons: int | None
    """Bits of nvmlClocksEventReasons."""


class BoardSensor:
    """One GPU board as NVML shows it. It keeps nothing: `joulegrid.cluster.power.board` does."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self.device: str = nvml.nvmlDeviceGetUUID(handle)
        self.name: str = nvml.nvmlDeviceGetName(handle)

    def read(self) -> Reading:
        """Read both fields in one call, dated at its middle."""
        before_ns = time.monotonic_ns()
        try:
            counter, power = self._nvml.nvmlDeviceGetFieldValues(
                self._handle, [TOTAL_ENERGY_FIELD, INSTANT_POWER_FIELD]
            )
        except self._nvml.NVMLError as error:
            return Reading(time.monotonic_ns(), trouble=f"NVML: {error}")
        return Reading(
            (before_ns + time.monotonic_ns()) // 2,
            _thousandth(counter),
            _thousandth(power),
            trouble=self._trouble(counter) or self._trouble(power),
        )

    def condition(self, t_ns: int) -> Condition:
        """Read what explains the board's power."""
        nvml, handle = self._nvml, self._handle
        return Condition(
            t_ns,
            self._fact(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            self._fact(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            self._fact(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
            self._fact(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
        )

    def _trouble(self, value: Any) -> str | None:
        if value.nvmlReturn == self._nvml.NVML_SUCCESS:
            return None
        return f"NVML field {value.fieldId}: {self._nvml.NVMLError(value.nvmlReturn)}"

    def _fact(self, read: Callable[[], Any]) -> int | None:
        try:
            return int(read())
        except self._nvml.NVMLError:  # a board may lack any of these, and energy does not depend on them
            return None


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


def versions_of(uuid: str) -> tuple[str | None, str | None]:
    """Driver and VBIOS of an opened board; `None` where NVML does not say."""
    import pynvml

    found: list[str | None] = []
    for read in (
        pynvml.nvmlSystemGetDriverVersion,
        lambda: pynvml.nvmlDeviceGetVbiosVersion(pynvml.nvmlDeviceGetHandleByUUID(uuid)),
    ):
        try:
            found.append(str(read()))
        except pynvml.NVMLError:
            found.append(None)
    return found[0], found[1]


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


def _thousandth(value: Any) -> float | None:
    """A field's value from mJ to J or mW to W; `None` where NVML answers with an error."""
    if value.nvmlReturn != 0 or not 0 <= value.valueType < len(VALUE_MEMBERS):
        return None
    return float(getattr(value.value, VALUE_MEMBERS[value.valueType])) / 1000
