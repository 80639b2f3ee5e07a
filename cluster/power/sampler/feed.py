"""The parent's end of the sampling process: starts it, takes what it sends, sees it end or hang, starts it again.

All of it happens in one thread, which also starts the process: the kernel's signal at a parent's death is bound to the
thread that forked. No call of a driver is made here, so none can hang here.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from joulegrid.cluster.power.sampler.frames import ROUND, Frame, Hello, Order, frames_in
from joulegrid.cluster.power.sensors.nvml import BoardFacts, Condition

if TYPE_CHECKING:
    from joulegrid.cluster.power.sensors.readings import Reading

START_LIMIT_S = 60.0  # NVML may need 20 s to start where the driver is not persistent
SILENCE_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 30.0
"""Between the end of a sampling process and the next one: doubled each time, begun anew after a minute of health."""
HEALTHY_S = 60.0
TURN_S = 0.1
ORDERLY_S = 1.0
UNREAD = ("model", "none")
"""Sources without a sensor: no process is started for them."""
PIPE_BYTES = 2**20
F_SETPIPE_SZ = 1031


@dataclass(frozen=True, slots=True)
class Outage:
    """A time without readings, because the sampling process was gone or did not answer."""

    from_ns: int
    until_ns: int | None
    """`None` while it lasts."""
    why: str
    hung: bool

    def touches(self, t0_ns: int, t1_ns: int) -> bool:
        """Whether it lies at least in part between the two instants."""
        return self.from_ns <= t1_ns and (self.until_ns is None or self.until_ns >= t0_ns)


class Receiver(Protocol):
    """Whoever wants what is read. Called from the feed's thread."""

    def opened(self, hello: Hello) -> None:
        """Learn what there is; again after each restart."""
        ...

    def refused(self, why: str) -> None:
        """Learn that nothing can be read; no more comes."""
        ...

    def take(self, device: str, reading: Reading) -> None:
        """Take a reading."""
        ...

    def explain(self, device: str, condition: Condition) -> None:
        """Take what explains a board's power."""
        ...

    def round_done(self, began_ns: int, missed: int) -> None:
        """Learn that every device was read once, and how many deadlines went by before it."""
        ...

    def turn(self) -> None:
        """Do what is due ten times a second."""
        ...


class Feed:
    """A sampling process and its successors, from `start` to `stop`."""

    def __init__(self, order: Order, receiver: Receiver, silence_s: float = SILENCE_S) -> None:
        self.order = order
        self.pid: int | None = None
        self.outages: deque[Outage] = deque(maxlen=1_000)
        self._receiver = receiver
        self._silence_s = silence_s
        self._names: list[str] = []
        self._counters: dict[str, Continued] = {}
        self._ending = threading.Event()
        self._heard_ns = 0
        self._told = self._ever_read = False
        self._thread = threading.Thread(target=self._run, name="power-feed", daemon=True)

    def start(self) -> None:
        """Start the process and the thread that listens to it."""
        self._thread.start()

    def stop(self) -> None:
        """End the process; returns when it is gone, at the latest after a few seconds."""
        self._ending.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(5.0)

    @property
    def alive(self) -> bool:
        """Whether the listening thread runs."""
        return self._thread.is_alive()

    def outage(self, t0_ns: int, t1_ns: int) -> Outage | None:
        """The last time without readings between two instants, the present one included."""
        silent_s = (time.monotonic_ns() - self._heard_ns) / 1e9
        present = list(self.outages)
        if self._told and silent_s > max(1.0, 4 * self.order.period_s) and all(one.until_ns for one in present):
            why = f"the sampling process has not answered for {silent_s:.1f} s; a call of the driver may hang"
            present.append(Outage(self._heard_ns, None, why, hung=True))
        return next((one for one in reversed(present) if one.touches(t0_ns, t1_ns)), None)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        if self.order.source in UNREAD:
            self._receiver.opened(Hello())
            self._idle()
        while not self._ending.is_set():
            began_s = time.monotonic()
            try:
                why, hung = self._follow(self._spawned())
            except OSError as error:
                why, hung = f"the sampling process cannot be started: {error}", False
            if self._ending.is_set():
                return
            if not self._told:
                self._receiver.refused(why)
                self._idle()  # what needs no sensor, the model, is still asked for
                return
            if not self._ever_read:
                self._idle()
                return
            if not self.outages or self.outages[-1].until_ns is not None:  # else its first cause stands
                self.outages.append(Outage(self._heard_ns, None, why, hung))
            pause_s = FIRST_PAUSE_S if time.monotonic() - began_s > HEALTHY_S else min(2 * pause_s, LONGEST_PAUSE_S)
            self._idle(pause_s)

    def _idle(self, seconds: float = float("inf")) -> None:
        """Wait without a process; what is due ten times a second is still done."""
        until_s = time.monotonic() + seconds
        while not self._ending.wait(min(TURN_S, max(0.0, until_s - time.monotonic()))) and time.monotonic() < until_s:
            self._receiver.turn()

    def _spawned(self) -> subprocess.Popen[bytes]:
        order = json.dumps(asdict(self.order))
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "joulegrid.cluster.power.sampler.sampling", order],
            stdin=subprocess.PIPE,  # it closes with us
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the command, whose last joules are still to be read
        )
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            import fcntl

            fcntl.fcntl(process.stdout, F_SETPIPE_SZ, PIPE_BYTES)
        self.pid = process.pid
        return process

    def _follow(self, process: subprocess.Popen[bytes]) -> tuple[str, bool]:
        """Take what the process sends until it ends or hangs; give why, and whether it hung."""
        assert process.stdout is not None and process.stdin is not None
        buffer, heard_s, greeted = bytearray(), time.monotonic(), False
        silence = False
        with process.stdout as pipe, process.stdin:
            while not self._ending.is_set() and not silence:
                ready, _, _ = select.select([pipe], [], [], TURN_S)
                if ready:
                    data = os.read(pipe.fileno(), 65_536)
                    if not data:
                        break
                    buffer += data
                    for frame in frames_in(buffer):
                        self._deliver(frame)
                        greeted = True
                    heard_s = time.monotonic()
                self._receiver.turn()
                silence = time.monotonic() - heard_s > (self._silence_s if greeted else START_LIMIT_S)
        if silence:
            process.kill()
        self.pid = None
        return _ending_words(process, heard_s if silence else None), silence

    def _deliver(self, frame: Frame) -> None:
        receiver = self._receiver
        if frame.kind == "reading":
            name, reading = self._names[frame.device], frame.reading()
            receiver.take(name, self._counters[name].joined(reading) if name in self._counters else reading)
        elif frame.kind == "condition":
            receiver.explain(self._names[frame.device], Condition(**frame.json()))
        elif frame.kind == "round":
            self._heard_ns = time.monotonic_ns()
            _, began_ns, missed = ROUND.unpack(frame.body)
            self._end_outage(began_ns)
            receiver.round_done(began_ns, missed)
        elif frame.kind == "hello":
            self._greet(hello_from(frame))
        elif not self._told:
            self._told = True
            receiver.refused(str(frame.json()))
        elif self.outages:
            first, _, _ = self.outages[-1].why.partition("; ")
            self.outages[-1] = replace(self.outages[-1], why=f"{first}; its successor: {frame.json()}")

    def _greet(self, hello: Hello) -> None:
        self._names = hello.devices
        self._told, self._ever_read = True, self._ever_read or bool(self._names)
        for name, (_, range_j) in hello.domains.items():
            self._counters.setdefault(name, Continued(range_j)).restart()
        self._receiver.opened(hello)

    def _end_outage(self, t_ns: int) -> None:
        if self.outages and self.outages[-1].until_ns is None:
            self.outages[-1] = replace(self.outages[-1], until_ns=t_ns)


@dataclass
class Continued:
    """The counter of a RAPL domain, continuous over restarts of the process that reads it."""

    range_j: float
    last_j: float | None = None
    added_j: float = 0.0
    fresh: bool = True

    def restart(self) -> None:
        """Learn that the next reading comes from a new process, which knows of no wrap before it."""
        self.fresh = True

    def joined(self, reading: Reading) -> Reading:
        """Return the reading with a counter that goes on where the last one was; one wrap at most is supposed."""
        if reading.counter_j is None:
            return reading
        if self.fresh and self.last_j is not None:
            self.added_j = max(0, ceil((self.last_j - reading.counter_j) / self.range_j)) * self.range_j
        self.fresh = False
        self.last_j = reading.counter_j + self.added_j
        return replace(reading, counter_j=self.last_j)


def order_for(source: str, period_s: float, powercap: Path) -> Order:
    """Make the order of a sampling process of this one, with an address for marks that nobody else has."""
    marks = f"joulegrid-power-{os.getpid()}-{secrets.token_hex(4)}"
    return Order(source, period_s, str(powercap), marks, os.getpid())


def hello_from(frame: Frame) -> Hello:
    """Read a hello."""
    told = frame.json()
    boards = {uuid: BoardFacts(**facts) for uuid, facts in told["boards"].items()}
    domains = {name: (scope, range_j) for name, (scope, range_j) in told["domains"].items()}
    tools = {uuid: (tool, name) for uuid, (tool, name) in told["tools"].items()}
    return Hello(boards, domains, tools, told["missing"], told["pid"])


def _ending_words(process: subprocess.Popen[bytes], silent_since_s: float | None) -> str:
    for _ in range(2):  # a call that hangs in the kernel outlives even SIGKILL, until it returns
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ORDERLY_S)
            break
        process.kill()
    if silent_since_s is not None:
        since_s = time.monotonic() - silent_since_s
        return f"the sampling process did not answer for {since_s:.0f} s (a call of the driver hung?) and was ended"
    code = process.returncode
    if code is not None and code < 0:
        return f"the sampling process was ended by {signal.Signals(-code).name}"
    return f"the sampling process ended with exit code {code}"
