"""Orders to one child and its answers, one at a time: it stands still whenever the judge is not waiting for it.

SIGSTOP goes to its whole tree: inputs are written and outputs are read while nothing in it can run, so that late
writers, threads and forks gain nothing.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Sequence
from typing import Any

from joulegrid.kernels.judge import faults, process_tree, protocol
from joulegrid.kernels.judge.limits import Limits
from joulegrid.kernels.judge.outcome import too_deep
from joulegrid.kernels.judge.zygote import Child, Zygote

_LOOK_S = 0.1


class Exchange:
    """The judge's side of a child's channel, with the judge's clock: what is not an answer raises `CandidateFault`."""

    def __init__(self, zygote: Zygote, child: Child, limits: Limits, *, freezes: bool) -> None:
        self.pid, self.limits = child.pid, limits
        self.elapsed_ns = 0
        """From the last order until its answer had come."""
        self._waited_s = 0.0
        self._zygote, self._child, self._freezes = zygote, child, freezes
        self._frozen = False

    def build(self, message: dict[str, Any] | None, phase: str, descriptors: Sequence[int] = ()) -> dict[str, Any]:
        """Order what may take as long as building a module."""
        return self.ask(message, self.limits.build_timeout_s, phase, descriptors)

    def ask(
        self, message: dict[str, Any] | None, patience_s: float, phase: str, descriptors: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Let the child go on, order, wait for its answer, stop it; return what it says is done."""
        patience_s = min(patience_s, max(self.limits.total_timeout_s - self._waited_s, 0.0))
        ticket = None if message is None else os.urandom(8).hex()
        order = None if message is None else message | {"ticket": ticket}
        answer = self._answer(order, patience_s, phase, descriptors)
        self.freeze()
        if answer.get("ticket") != ticket or protocol.has_more(self._child.channel):
            raise faults.garbled(phase, "an answer to an order that was not given")
        if too_deep(answer):
            raise faults.garbled(phase, "an answer that is nested too deeply")
        if "failed" in answer:
            raise faults.raised(answer["failed"], phase)
        if not isinstance(answer.get("done"), dict):
            raise faults.garbled(phase, "an answer that is neither done nor failed")
        return dict(answer["done"])

    def freeze(self) -> None:
        """Stop the child's whole tree; `CandidateFault` where something does not stand still."""
        if self._freezes and not self._frozen:
            if not process_tree.stop(self.pid):
                raise faults.unstoppable()
            self._frozen = True

    def thaw(self) -> None:
        """Let the child's tree go on."""
        if self._frozen:
            self._frozen = False
            process_tree.resume(self.pid)

    def close(self) -> None:
        """End the child with everything below it."""
        self._zygote.end(self._child)

    def _answer(
        self, message: dict[str, Any] | None, patience_s: float, phase: str, descriptors: Sequence[int]
    ) -> dict[str, Any]:
        channel = self._child.channel
        self.thaw()
        try:
            asked_ns = time.perf_counter_ns()
            if message is not None:
                protocol.send(channel, message, descriptors)
            self._wait(channel, time.monotonic() + patience_s)
            answer, _ = protocol.receive(channel, time.monotonic() + patience_s)
        except protocol.Gone:
            raise faults.left(self._zygote.status(self.pid, 2.0), phase) from None
        except protocol.Silent:
            raise faults.silent(phase, patience_s) from None
        except protocol.Garbled as error:
            raise faults.garbled(phase, str(error)) from None
        self.elapsed_ns = time.perf_counter_ns() - asked_ns
        self._waited_s += self.elapsed_ns / 1e9
        return answer

    def _wait(self, channel: socket.socket, deadline: float) -> None:
        """Wait until something can be read, and look after the tree meanwhile."""
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        while not poll.poll(_LOOK_S * 1000):
            if time.monotonic() > deadline:
                raise protocol.Silent
            below = len(process_tree.below(self.pid))
            if below > self.limits.processes:
                raise faults.too_many_processes(below, self.limits.processes)
            if not self._scratch_is_limited and faults.folder_bytes(self._child.scratch) > self.limits.scratch_bytes:
                raise faults.scratch_full(self.limits.scratch_bytes)

    @property
    def _scratch_is_limited(self) -> bool:
        """Whether the kernel limits the scratch folder; otherwise the judge looks at it."""
        return bool(self._child.facts.get("scratch_limited"))
