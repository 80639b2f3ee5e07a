"""Where a feed's readings arrive: the devices of a node with what they keep, and who waits for them."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from joulegrid.cluster.power.sampler.frames import Hello
from joulegrid.cluster.power.sensors.model import CpuClocks
from joulegrid.cluster.power.sensors.sources import PowerConfig, Sources, sources_from

if TYPE_CHECKING:
    from joulegrid.cluster.power.sensors.nvml import Condition
    from joulegrid.cluster.power.sensors.readings import Reading
    from joulegrid.cluster.power.sensors.series import Device


class Intake:
    """Receives what a feed reads (`joulegrid.cluster.power.sampler.feed.Receiver`)."""

    def __init__(self, config: PowerConfig) -> None:
        self._config = config
        self.hello = Hello()
        self.sources = Sources()
        self.devices: dict[str, Device] = {}
        self.clocks = CpuClocks()
        self.sampled = threading.Condition()
        """Notified after each round of readings."""
        self.is_open = False
        """Whether every device was read once."""
        self.refusal: str | None = None
        self.rounds = 0
        self.missed_deadlines = 0
        self._missed: deque[tuple[int, int]] = deque(maxlen=10_000)
        self._greeted = False

    def opened(self, hello: Hello) -> None:
        """Take what was opened; after a restart only what is missing is new."""
        with self.sampled:
            if not self._greeted:
                self.hello, self.sources = hello, sources_from(self._config, hello)
                self.devices = self.sources.devices()
                self.is_open, self._greeted = not self.devices, True
            else:
                self.sources.missing |= hello.missing
            self.sampled.notify_all()

    def refused(self, why: str) -> None:
        """Take that nothing can be read."""
        with self.sampled:
            self.refusal = why
            self.sampled.notify_all()

    def take(self, device: str, reading: Reading) -> None:
        """Take a reading."""
        if device in self.devices:
            self.devices[device].append(reading)

    def explain(self, device: str, condition: Condition) -> None:
        """Take what explains a board's power."""
        if device in self.sources.boards:
            self.sources.boards[device].conditions.append(condition)

    def round_done(self, began_ns: int, missed: int) -> None:
        """Take that every device was read."""
        self.rounds += 1
        if missed:
            self.missed_deadlines += missed
            self._missed.append((began_ns, missed))
        with self.sampled:
            self.is_open = True
            self.sampled.notify_all()

    def turn(self) -> None:
        """Read the CPU clocks that are followed."""
        self.clocks.sample()

    def missed_between(self, t0_ns: int, t1_ns: int) -> int:
        """Deadlines that went by without a reading between two instants."""
        return sum(number for t_ns, number in list(self._missed) if t0_ns <= t_ns <= t1_ns)
