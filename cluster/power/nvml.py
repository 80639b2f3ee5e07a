"""GPU boards through NVML: the energy counter, the instant power, and once a second what explains them.

Boards are found by UUID; NVML does not know `CUDA_VISIBLE_DEVICES` and so neither does this. The library is loaded
when boards are opened, never at import. Not here: limits, versions and other facts of a GPU that do not change
(`joulegrid.cluster.environment`), and any power cap or clock that is *set*.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from joulegrid.cluster.power.energy import Energy, Scope, Source, unknown
from joulegrid.cluster.power.series import (
    MARGIN_NS,
    STALL_S,
    Bounds,
    Reading,
    Ring,
    Sample,
    UnreadError,
    counted_energy,
    integrated_energy,
    ring_size,
    ticks_seen,
)
from joulegrid.errors import PreFlightError

if TYPE_CHECKING:
    from collections.abc import Callable

TOTAL_ENERGY_FIELD = 83  # NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, mJ since the driver was loaded, Volta and later
INSTANT_POWER_FIELD = 186  # NVML_FI_DEV_POWER_INSTANT, mW; nvmlDeviceGetPowerUsage is a 1 s mean since Ampere
USUAL_TICK_S = 0.1  # both are published about every 100 ms on data-centre boards
SLOWEST_TICK_S = 1.0
CONDITION_PERIOD_NS = 1_000_000_000
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


class Board:
    """One GPU board: reads it, keeps ten minutes of readings, and answers for windows inside them."""

    scope: Scope = "gpu_board"

    def __init__(self, nvml: Any, handle: Any, period_s: float) -> None:
        self._nvml = nvml
        self._handle = handle
        self._readings: Ring[Reading] = Ring(ring_size(period_s))
        self.conditions: Ring[Condition] = Ring(ring_size(CONDITION_PERIOD_NS / 1e9))
        self.device: str = nvml.nvmlDeviceGetUUID(handle)
        self.name: str = nvml.nvmlDeviceGetName(handle)

    def sample(self) -> None:
        """Read both fields in one call, dated at its middle; once a second temperature, clocks and throttling too."""
        before_ns = time.monotonic_ns()
        try:
            counter, power = self._nvml.nvmlDeviceGetFieldValues(
                self._handle, [TOTAL_ENERGY_FIELD, INSTANT_POWER_FIELD]
            )
        except self._nvml.NVMLError as error:
            self._readings.append(Reading(time.monotonic_ns(), trouble=f"NVML: {error}"))
            return
        t_ns = (before_ns + time.monotonic_ns()) // 2
        self._readings.append(
            Reading(t_ns, _thousandth(counter), _thousandth(power), self._trouble(counter) or self._trouble(power))
        )
        last = self.conditions.last()
        if last is None or t_ns - last.t_ns >= CONDITION_PERIOD_NS:
            self.conditions.append(self._condition(t_ns))

    def sources(self) -> list[Source]:
        """What the newest reading could give: `counter`, `instant_integral`, both or neither."""
        last = self._readings.last()
        if last is None:
            return []
        found: list[Source] = ["counter"] if last.counter_j else []  # a counter at zero is no counter
        return [*found, "instant_integral"] if last.power_w else found

    def covers(self, t_ns: int) -> bool:
        """Whether the counter ticked at or after `t_ns`, or cannot tick any more."""
        last = self._readings.last()
        if last is None or last.t_ns < t_ns:
            return False
        recent = self._readings.between(t_ns - CONDITION_PERIOD_NS, last.t_ns)
        return not last.counter_j or any(tick.t_ns >= t_ns for tick in ticks_seen(recent))

    def patience_s(self, period_s: float) -> float:
        """Three periods and two ticks: 0.35 s at the usual 100 ms tick and 50 ms period."""
        return 3 * period_s + 2 * self._tick_s()

    def energy(self, t0_ns: int, t1_ns: int) -> Energy:
        """Joules between two instants from the counter, else from instant power, else null with both reasons."""
        try:
            return self._energy("counter", self._counted(t0_ns, t1_ns), "edges between two ticks of the counter")
        except UnreadError as error:
            return self.integral(t0_ns, t1_ns, str(error))

    def integral(self, t0_ns: int, t1_ns: int, why: str) -> Energy:
        """Joules from instant power alone; `why` says why not from the counter."""
        readings = self._near(t0_ns, t1_ns)
        try:
            bounds = integrated_energy(readings, t0_ns, t1_ns, self._tick_s())
        except UnreadError as error:
            trouble = next((reading.trouble for reading in reversed(readings) if reading.trouble), None)
            reasons = [f"counter: {why}", f"power: {error}", *([trouble] if trouble else [])]
            return unknown("; ".join(reasons), device=self.device, scope=self.scope)
        return self._energy(
            "instant_integral",
            bounds,
            f"integral of instant power because {why}; edges as old as one publication; a board that averages only a "
            "part of each publication interval can be off by more",
        )

    def series(self, t0_ns: int, t1_ns: int) -> list[Sample]:
        """Instant power as read; where the board gives none, mean power between ticks of the counter."""
        readings = self._near(t0_ns, t1_ns)
        points: list[tuple[int, float]] = [(r.t_ns, r.power_w) for r in readings if r.power_w is not None]
        source: Source = "instant_integral"
        if not points:
            source = "counter"
            points = [
                (now.t_ns, (now.counter_j - then.counter_j) / ((now.t_ns - then.t_ns) / 1e9))
                for then, now in pairwise(ticks_seen(readings))
                if now.counter_j > then.counter_j
            ]
        return [
            Sample(t_ns, self.device, power_w, source, "measured", self.scope)
            for t_ns, power_w in points
            if t0_ns <= t_ns <= t1_ns
        ]

    def _counted(self, t0_ns: int, t1_ns: int) -> Bounds:
        readings = self._near(t0_ns, t1_ns)
        values = [reading.counter_j for reading in readings if reading.counter_j is not None]
        if not values:
            raise UnreadError("the energy counter is not readable")
        if not any(values):
            raise UnreadError("the energy counter stays at zero")
        return counted_energy(ticks_seen(readings), t0_ns, t1_ns, STALL_S)

    def _energy(self, source: Source, bounds: Bounds, words: str) -> Energy:
        return Energy(
            energy_j=bounds.energy_j,
            low_j=bounds.low_j,
            high_j=bounds.high_j,
            source=source,
            provenance="measured",
            scope=self.scope,
            device=self.device,
            interval=f"{words}; sensor accuracy (±5 % in NVIDIA's documentation) not included",
        )

    def _near(self, t0_ns: int, t1_ns: int) -> list[Reading]:
        return self._readings.between(t0_ns - MARGIN_NS, t1_ns + MARGIN_NS)

    def _tick_s(self) -> float:
        last = self._readings.last()
        recent = self._readings.between(last.t_ns - MARGIN_NS, last.t_ns) if last else []
        steps_s = [(now.t_ns - then.t_ns) / 1e9 for then, now in pairwise(ticks_seen(recent))]
        return min(median(steps_s), SLOWEST_TICK_S) if steps_s else USUAL_TICK_S

    def _trouble(self, value: Any) -> str | None:
        if value.nvmlReturn == self._nvml.NVML_SUCCESS:
            return None
        return f"NVML field {value.fieldId}: {self._nvml.NVMLError(value.nvmlReturn)}"

    def _condition(self, t_ns: int) -> Condition:
        nvml, handle = self._nvml, self._handle
        return Condition(
            t_ns,
            self._fact(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            self._fact(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            self._fact(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
            self._fact(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
        )

    def _fact(self, read: Callable[[], Any]) -> int | None:
        try:
            return int(read())
        except self._nvml.NVMLError:  # a board may lack any of these, and energy does not depend on them
            return None


def open_boards(period_s: float) -> list[Board]:
    """Open NVML and every GPU of the node; call `close_boards` afterwards.

    Raises `PreFlightError` with the remedy where the Python binding, the library, the driver or a GPU is missing.
    """
    nvml = _library()
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        boards = [Board(nvml, handle, period_s) for handle in handles]
    except nvml.NVMLError as error:
        nvml.nvmlShutdown()
        raise PreFlightError(f"power source nvml: a GPU cannot be opened ({error}). {REMEDY}") from error
    if not boards:
        nvml.nvmlShutdown()
        raise PreFlightError(f"power source nvml: NVML sees no GPU. {REMEDY}")
    return boards


def close_boards() -> None:
    """Shut NVML down once for each `open_boards` that succeeded; NVML counts."""
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


def _thousandth(value: Any) -> float | None:
    """A field's value from mJ to J or mW to W; `None` where NVML answers with an error."""
    if value.nvmlReturn != 0 or not 0 <= value.valueType < len(VALUE_MEMBERS):
        return None
    return float(getattr(value.value, VALUE_MEMBERS[value.valueType])) / 1000
