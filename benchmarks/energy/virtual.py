"""Simulated boards on a virtual clock: the same C code as behind NVML, asked for any instant, not for the present one.

A round of `accuracy` takes three minutes of real time on a quiet machine; here it takes seconds on a busy one. What is
not in it: how late a real machine reads. Lateness is drawn instead.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from joulegrid.cluster.power.sampler.burst import FAST_NS, Burst
from joulegrid.cluster.power.sensors.readings import Reading
from tests.cluster.nvml_simulated.build import COUNTER_UNSUPPORTED, POWER_UNSUPPORTED, Board, Control, simulated_nvml
from tests.cluster.nvml_simulated.layout import (
    AVERAGE_UNSUPPORTED,
    INSTANT_UNSUPPORTED,
    STAMP_CALL,
    STAMP_CONSTANT,
    STAMP_MOVES,
    Gpu,
)

PERIOD_NS = 50_000_000
LATE_NS = 200_000
"""Standard deviation of how late a round of readings begins."""
APART_NS = 60_000
"""Between the readings of two boards in one round."""
NONE_BEFORE_NS = 20_000_000_000
"""Virtual time begins so long after the boards do: their sensors look back."""


class Node:
    """Simulated boards that can be read at any instant, in any order."""

    def __init__(self, folder: Path, boards: Sequence[Board]) -> None:
        folder.mkdir(exist_ok=True)
        env = simulated_nvml(folder, boards=boards)
        self.control = Control(env)
        self.gpus: list[Gpu] = [self.control.gpu(number) for number in range(len(boards))]
        self._library = ctypes.CDLL(str(folder / "nvml_simulated" / "libnvidia-ml.so.1"))
        mapped = ctypes.addressof(self.gpus[0]) - type(self.control._layout).gpus.offset
        ctypes.c_void_p.in_dll(self._library, "control").value = mapped
        self._pointers = [ctypes.c_void_p(ctypes.addressof(gpu)) for gpu in self.gpus]
        for name, kind in (
            ("counter_mj", ctypes.c_ulonglong),
            ("instant_mw", ctypes.c_uint),
            ("average_mw", ctypes.c_uint),
            ("counter_published_ns", ctypes.c_int64),
            ("power_published_ns", ctypes.c_int64),
        ):
            function = getattr(self._library, name)
            function.restype, function.argtypes = kind, (ctypes.c_void_p, ctypes.c_int64)
        self.start_ns = self.control._layout.origin_ns + NONE_BEFORE_NS

    def counter_j(self, gpu: int, t_ns: int) -> float:
        """The counter as it is published at an instant."""
        return float(self._library.counter_mj(self._pointers[gpu], t_ns)) / 1000

    def read(self, gpu: int, t_ns: int) -> Reading:
        """Read a board as its NVML sensor would."""
        state, library, pointer = self.gpus[gpu], self._library, self._pointers[gpu]
        if state.lost_ns and t_ns >= state.lost_ns:
            return Reading(t_ns, trouble="NVML: GPU is lost")
        missing = state.faults
        counter = not missing & COUNTER_UNSUPPORTED
        instant = not missing & (POWER_UNSUPPORTED | INSTANT_UNSUPPORTED)
        average = not missing & (POWER_UNSUPPORTED | AVERAGE_UNSUPPORTED)
        return Reading(
            t_ns,
            library.counter_mj(pointer, t_ns) / 1000 if counter else None,
            library.instant_mw(pointer, t_ns) / 1000 if instant else None,
            library.average_mw(pointer, t_ns) / 1000 if average else None,
            self._stamp(state, t_ns, library.counter_published_ns(pointer, t_ns)) if counter else None,
            self._stamp(state, t_ns, library.power_published_ns(pointer, t_ns)) if instant else None,
        )

    def _stamp(self, state: Gpu, t_ns: int, published_ns: int) -> int | None:
        """The driver's clock is another one: it has microseconds, and began at another time."""
        mode = state.sensor.stamp_mode
        stamps = {STAMP_MOVES: published_ns, STAMP_CONSTANT: self.start_ns, STAMP_CALL: t_ns}
        return None if mode not in stamps else (stamps[mode] + 10**18) // 1000 * 1000


def recorded(
    node: Node, until_ns: int, marks: Sequence[int], random: Random, start_ns: int
) -> Iterator[tuple[int, Reading]]:
    """Read all boards as the sampling process does: each 50 ms, and each 5 ms behind marks. Gives (board, reading)."""
    burst, coming = Burst(FAST_NS), sorted(marks, reverse=True)
    t_ns = start_ns
    while t_ns < until_ns:
        began_ns = t_ns + round(abs(random.gauss(0, LATE_NS)))
        for gpu in range(len(node.gpus)):
            reading = node.read(gpu, began_ns + gpu * APART_NS)
            burst.saw(str(gpu), reading.counter_j)
            yield gpu, reading
        while coming and coming[-1] <= began_ns:
            burst.begin(coming.pop())
        t_ns = _following(t_ns, start_ns, burst, began_ns)
        while coming and coming[-1] < t_ns:
            mark_ns = coming.pop()
            burst.begin(mark_ns)
            t_ns = min(t_ns, _following(mark_ns, start_ns, burst, mark_ns))


def _following(t_ns: int, start_ns: int, burst: Burst, now_ns: int) -> int:
    step_ns = FAST_NS if burst.is_on(now_ns) else PERIOD_NS
    return start_ns + ((t_ns - start_ns) // step_ns + 1) * step_ns
