"""A trace in the place of sensors: its readings come again and again, at the present time. Simulated, and named so."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from joulegrid.cluster.power.sampler.frames import Order
from joulegrid.cluster.power.sampler.trace import Trace, read_trace, shifted

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Energy
    from joulegrid.cluster.power.sampler.feed import Outage, Receiver
    from joulegrid.cluster.power.sensors.readings import Reading

TURN_S = 0.05
UNHEARD = "joulegrid-power-replay"


class Replay:
    """Takes the place of `joulegrid.cluster.power.sampler.feed.Feed`. Raises `UsageError` for what is no trace."""

    pid: int | None = None

    def __init__(self, path: Path, receiver: Receiver) -> None:
        self.trace: Trace = read_trace(path)
        self.order = Order("replay", self.trace.period_s, "", f"{UNHEARD}-{secrets.token_hex(4)}", 0)
        self.outages: deque[Outage] = deque(maxlen=1)
        self._receiver = receiver
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="power-replay", daemon=True)

    def start(self) -> None:
        """Begin at the beginning of the trace."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    @property
    def alive(self) -> bool:
        """Whether readings come."""
        return self._thread.is_alive()

    def outage(self, t0_ns: int, t1_ns: int) -> Outage | None:
        """A replay has none."""
        return None

    def _run(self) -> None:
        self._receiver.opened(self.trace.hello)
        began_ns, loops = time.monotonic_ns(), 0
        step_ns = round(self.trace.period_s * 1e9)
        while not self._ending.is_set():
            self._once(began_ns + loops * (self.trace.length_ns + step_ns), loops)
            loops += 1

    def _once(self, start_ns: int, loops: int) -> None:
        """Give the whole trace once, each reading at its own time of the trace, however late this thread wakes."""
        wall_ns = time.time_ns() - time.monotonic_ns() + start_ns
        found = [(one.t_ns, device, one) for device, readings in self.trace.readings.items() for one in readings]
        events = deque(sorted(found, key=lambda one: one[:2]))
        told = [(one.t_ns, device, one) for device, ones in self.trace.conditions.items() for one in ones]
        conditions = deque(sorted(told, key=lambda one: one[:2]))
        step_ns = round(self.trace.period_s * 1e9)
        gone_j = {device: loops * _gain(readings, step_ns) for device, readings in self.trace.readings.items()}
        while (events or conditions) and not self._ending.is_set():
            now_ns = time.monotonic_ns() - start_ns
            while events and events[0][0] <= now_ns:
                _, device, reading = events.popleft()
                self._receiver.take(device, shifted(reading, start_ns, wall_ns, gone_j[device]))
            while conditions and conditions[0][0] <= now_ns:
                t_ns, device, condition = conditions.popleft()
                self._receiver.explain(device, replace(condition, t_ns=start_ns + t_ns))
            if now_ns >= 0:
                self._receiver.round_done(time.monotonic_ns(), 0)
            self._receiver.turn()
            self._ending.wait(TURN_S)


def simulated(energy: Energy) -> Energy:
    """Return the energy with the words of a replay on it and on its parts."""
    told = {
        "provenance": None if energy.provenance is None else "simulated",
        "interval": None if energy.interval is None else f"replayed from a trace, not measured here; {energy.interval}",
        "parts": tuple(simulated(part) for part in energy.parts),
    }
    return energy.model_copy(update=told)


def _gain(readings: list[Reading], step_ns: int) -> float:
    """Joules that a counter rises by from one round to the next; a reset inside the trace counts for nothing.

    In the step between the last reading and the first of the next round the board draws its mean: without these joules
    the counter would contradict the power.
    """
    counted = [(one.t_ns, one.counter_j) for one in readings if one.counter_j is not None]
    if len(counted) < 2:
        return 0.0
    (first_ns, first_j), (last_ns, last_j) = counted[0], counted[-1]
    return max(0.0, last_j - first_j) * (1.0 + step_ns / (last_ns - first_ns))
