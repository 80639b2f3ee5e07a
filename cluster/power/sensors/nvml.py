"""GPU boards through NVML: energy counter, instant and averaged power, and once a second what explains them.

Boards are found by UUID; NVML does not know `CUDA_VISIBLE_DEVICES` and so neither does this. The library is loaded
when boards are opened, never at import. Not here: any power cap or clock that is *set*.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from joulegrid.cluster.power.sensors.condition import ConditionQuestions
from joulegrid.cluster.power.sensors.fields import FieldBatch
from joulegrid.cluster.power.sensors.raw import FIELDS, LOOK, WHOLE, reading_of
from joulegrid.cluster.power.sensors.readings import Reading
from joulegrid.errors import PreFlightError

if TYPE_CHECKING:
    from collections.abc import Callable

LAST_CODE = 30  # NVML_ERROR_RESET_TYPE_NOT_SUPPORTED and all before it


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
        self.memory = bytearray(WHOLE.size)
        """The newest look, as `joulegrid.cluster.power.sensors.raw` reads it."""
        self.look = looking(FieldBatch(nvml, handle, FIELDS, memoryview(self.memory)[LOOK.size :]), self.memory)
        """Have NVML fill the memory."""
        self.questions = ConditionQuestions(nvml, handle)
        self.device: str = nvml.nvmlDeviceGetUUID(handle)
        self.name: str = nvml.nvmlDeviceGetName(handle)

    def read(self) -> Reading:
        """Read the fields in one call."""
        self.look()
        return reading_of(self.memory, words_of(self._nvml))

    def counter_j(self) -> float | None:
        """Return the counter at the last look."""
        return reading_of(self.memory, {}).counter_j

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


def looking(batch: FieldBatch, memory: bytearray) -> Callable[[], None]:
    """Return what makes a look: one call, dated at its middle. It is made of names of its own: each costs after a rest.

    A process that has slept for 50 ms finds its caches cold; eight boards took 10 µs each by methods, 6 µs so.
    """
    call, (handle, count, place) = batch.call, batch.arguments
    pack, now_ns = LOOK.pack_into, time.monotonic_ns

    def look() -> None:
        before_ns = now_ns()
        code = call(handle, count, place)
        pack(memory, 0, (before_ns + now_ns()) // 2, code)

    return look


@cache
def words_of(nvml: Any) -> dict[int, str]:
    """Return NVML's words for its return codes (nvmlReturn_t); asks the library, never a driver."""
    return {code: str(nvml.NVMLError(code)) for code in (*range(1, LAST_CODE + 1), nvml.NVML_ERROR_UNKNOWN)}


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
