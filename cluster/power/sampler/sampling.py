"""The sampling process: reads a node's sensors at fixed deadlines and writes what they gave into a pipe.

`python -m joulegrid.cluster.power.sampler.sampling ORDER`, started by `joulegrid.cluster.power.sampler.feed`. It shares
no interpreter with Ray or the load and imports the standard library and pynvml alone: about 20 MB. It ends with its
parent, whether by the pipe that closes or by the kernel's signal.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulegrid.cluster.power.sampler import frames
from joulegrid.cluster.power.sampler.burst import FAST_NS, Burst
from joulegrid.cluster.power.sampler.marks import mark_receiver, marks_arrived
from joulegrid.cluster.power.sensors.codecarbon import CodeCarbonSensor, open_codecarbon
from joulegrid.cluster.power.sensors.nvml import BoardSensor, open_sensors
from joulegrid.cluster.power.sensors.rapl import DomainSensor, open_domains
from joulegrid.cluster.power.sensors.zeus import ZeusSensor, open_zeus
from joulegrid.errors import PreFlightError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from joulegrid.cluster.power.sensors.readings import Sensor

PR_SET_PDEATHSIG, PR_SET_TIMERSLACK = 1, 29
CONDITION_NS = 1_000_000_000
ToolSensor = ZeusSensor | CodeCarbonSensor
OPEN_TOOL: dict[str, Callable[[], Sequence[ToolSensor]]] = {"zeus": open_zeus, "codecarbon": open_codecarbon}
"""Other tools that can be the source, for comparison: they import what they need when they are opened."""
UNSENT_LIMIT = 4 * 2**20
"""Bytes that wait for a parent that does not read; what is read while they wait is a gap."""


class Opened:
    """The sensors that were asked for and are there."""

    def __init__(self, order: frames.Order) -> None:
        self.boards: list[BoardSensor] = []
        self.tools: dict[str, ToolSensor] = {}
        self.domains: list[DomainSensor] = []
        self.missing: dict[str, str] = {}
        for source in ("nvml", "rapl"):
            if order.source in ("auto", source):
                self._open(source, order)
        if order.source in OPEN_TOOL:
            self.tools = {sensor.device: sensor for sensor in OPEN_TOOL[order.source]()}
        self._tool = order.source

    def _open(self, source: str, order: frames.Order) -> None:
        try:
            if source == "nvml":
                self.boards = open_sensors()
            else:
                self.domains = open_domains(Path(order.powercap))
        except PreFlightError as error:
            if order.source == source:
                raise
            self.missing[source] = str(error)

    def hello(self) -> frames.Hello:
        """Say what was opened."""
        boards = {sensor.device: sensor.facts() for sensor in self.boards}
        domains = {sensor.device: (sensor.scope, sensor.range_j) for sensor in self.domains}
        tools: Any = {device: (self._tool, sensor.name) for device, sensor in self.tools.items()}
        return frames.Hello(boards, domains, tools, self.missing, os.getpid())


class Outbox:
    """The pipe to the parent. Never blocks: a parent that does not read costs readings, not deadlines."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._unsent = bytearray()

    def send(self, data: bytes) -> None:
        """Write, or keep for the next time, or lose. Raises `BrokenPipeError` where the parent has gone."""
        if len(self._unsent) < UNSENT_LIMIT:
            self._unsent += data
        with contextlib.suppress(BlockingIOError):
            del self._unsent[: os.write(self._descriptor, self._unsent)]


class Sampling:
    """The loop: deadlines are start + k × period, so lateness does not add up; a missed one is counted and left out."""

    def __init__(self, order: frames.Order, opened: Opened, outbox: Outbox, receiver: socket.socket | None) -> None:
        self._boards = opened.boards
        self._sensors: list[Sensor] = [*opened.boards, *opened.tools.values(), *opened.domains]
        self._outbox = outbox
        self._receiver = receiver
        self._fast_ns = round(order.period_s * 1e9) // -(-round(order.period_s * 1e9) // FAST_NS)
        self._period_ns = self._fast_ns * -(-round(order.period_s * 1e9) // FAST_NS)  # a whole number of fast ones
        self._burst = Burst(self._fast_ns)
        self._condition_due_ns = [0] * len(opened.boards)

    def run(self) -> None:
        """Read until the parent's pipe closes."""
        start_ns = deadline_ns = time.monotonic_ns()
        missed = 0
        while True:
            self._outbox.send(self._round(deadline_ns, missed))
            now_ns = time.monotonic_ns()
            step_ns = self._fast_ns if self._burst.is_on(now_ns) else self._period_ns
            following_ns = start_ns + ((now_ns - start_ns) // step_ns + 1) * step_ns
            following_ns, alive = self._wait(start_ns, following_ns)
            if not alive:
                return
            missed = (following_ns - 1 - start_ns) // self._period_ns - (deadline_ns - start_ns) // self._period_ns
            deadline_ns = following_ns

    def _round(self, deadline_ns: int, missed: int) -> bytes:
        began_ns = time.monotonic_ns()
        parts = []
        for number, sensor in enumerate(self._sensors):
            reading = sensor.read()
            self._burst.saw(sensor.device, reading.counter_j)
            parts.append(frames.packed_reading(number, reading))
        if self._boards:
            parts.append(self._condition(began_ns))
        parts.append(frames.packed_round(deadline_ns, began_ns, missed))
        return b"".join(parts)

    def _condition(self, now_ns: int) -> bytes:
        """Read the condition of one board at most, the one that is due longest: a round stays short."""
        due_ns = min(self._condition_due_ns)
        if due_ns > now_ns:
            return b""
        number = self._condition_due_ns.index(due_ns)
        self._condition_due_ns[number] = now_ns + CONDITION_NS
        return frames.packed_json("condition", number, asdict(self._boards[number].condition(now_ns)))

    def _wait(self, start_ns: int, deadline_ns: int) -> tuple[int, bool]:
        """Wait for the deadline, a mark making it earlier; the second is whether the parent lives."""
        watched: list[Any] = [0] if self._receiver is None else [0, self._receiver]
        while (left_ns := deadline_ns - time.monotonic_ns()) > 0:
            ready, _, _ = select.select(watched, [], [], left_ns / 1e9)
            if 0 in ready:
                return deadline_ns, False
            if ready and self._receiver is not None and marks_arrived(self._receiver):
                now_ns = time.monotonic_ns()
                self._burst.begin(now_ns)
                self._condition_due_ns = [min(due_ns, now_ns) for due_ns in self._condition_due_ns]
                if self._burst.is_on(now_ns):
                    soon_ns = start_ns + ((now_ns - start_ns) // self._fast_ns + 1) * self._fast_ns
                    deadline_ns = min(deadline_ns, soon_ns)
        return deadline_ns, True


def settle(parent: int) -> None:
    """End with the parent; wake in time; collect no garbage."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)
    libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)  # 50 µs by default
    with contextlib.suppress(OSError):  # a right of root: a busy machine then keeps its deadlines better
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    gc.collect()
    gc.freeze()
    gc.disable()


def main(order_json: str) -> None:
    """Open the sensors, say what was opened, read until the parent has gone."""
    order = frames.Order(**json.loads(order_json))
    settle(order.parent)
    outbox = Outbox(os.dup(1))
    os.dup2(2, 1)  # what a library prints must not come between the frames
    try:
        opened = Opened(order)
    except PreFlightError as error:
        outbox.send(frames.packed_json("refused", 0, str(error)))
        return
    hello = opened.hello()
    outbox.send(frames.packed_json("hello", 0, asdict(hello)))
    if not hello.devices:
        return
    receiver = None
    with contextlib.suppress(OSError):  # a predecessor that hangs still has the address: then no faster readings
        receiver = mark_receiver(order.marks)
    with contextlib.suppress(BrokenPipeError):
        Sampling(order, opened, outbox, receiver).run()


if __name__ == "__main__":
    main(sys.argv[1])
    os._exit(0)  # NVML's own teardown may hang with its driver
