"""A session: one fresh child with one module in it, candidate or reference, through the same channel for both.

The child stands still (SIGSTOP to its whole tree) whenever the judge is not waiting for it: inputs are written and
outputs are read while nothing in it can run, so that late writers, threads and forks gain nothing.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from joulegrid.errors import PreFlightError
from joulegrid.kernels.judge import faults, process_tree, protocol
from joulegrid.kernels.judge.candidate import Code
from joulegrid.kernels.judge.limits import Limits
from joulegrid.kernels.judge.memory import OUTPUTS, Arena, Placement, needed_bytes, place, plain_tree
from joulegrid.kernels.judge.outcome import Observe, Outcome, counts
from joulegrid.kernels.judge.returned import Entry, Returned, described_calls, relocated
from joulegrid.kernels.judge.sandbox import Facts
from joulegrid.kernels.judge.verdict import CandidateFault
from joulegrid.kernels.judge.zygote import Child, Zygote
from joulegrid.kernels.problem import Arguments

LEAST_ARENA_BYTES = 1 << 20
_LOOK_S = 0.1


@contextmanager
def open_session(zygote: Zygote, code: Code, limits: Limits | None = None, *, freeze: bool = True) -> Iterator[Session]:
    """Open a session in a fresh child, run the code's file in it, and leave nothing of it behind.

    Raises:
        CandidateFault: the file does not run, or does not define its class.
        PreFlightError: no child can be had on this machine.
    """
    limits = (limits or Limits()).on(zygote.device)
    child = zygote.fork(limits)
    session = Session(zygote, child, limits, freeze=freeze)
    try:
        session.begin()
        session.run_code(code)
        yield session
    except CandidateFault as fault:
        fault.isolation = dict(session.facts)
        raise
    finally:
        session.close()


class Session:
    """A child with one module. Made by `open_session`."""

    def __init__(self, zygote: Zygote, child: Child, limits: Limits, *, freeze: bool) -> None:
        self.limits, self.device = limits, zygote.device
        self._zygote, self._child, self._freezes = zygote, child, freeze
        self._frozen = False
        self._closed = False
        self._compile_mode: str | None = None
        self._arenas: list[Arena] = []
        self._addresses: dict[int, int] = {}
        self._weights: list[Entry] = []
        self.staged = zygote.staged
        """Outputs are copied to the judge's memory, as on a GPU."""
        self._returned = Returned(child.pid, zygote.device, staged=zygote.staged)
        self._described: list[Any] = []
        self._sinks: list[list[Any]] = []
        self._placements: list[Placement] = []
        self._asked_ns = self._answered_ns = 0
        self.revealed_ns: int | None = None
        """How long the outputs of the last series took to be copied on a GPU, after its time was taken."""
        self.device_ns: int | None = None
        """The last series by the device's clock, as the child says."""
        self.facts: Facts = dict(child.facts)

    @property
    def pid(self) -> int:
        """The child's process id, in the judge's namespace."""
        return self._child.pid

    def begin(self) -> None:
        """Wait until the child has confined itself, and note how; `PreFlightError` where it could not."""
        try:
            self.facts |= self._ask(None, self.limits.build_timeout_s, "start")["facts"]
        except CandidateFault as fault:  # no candidate was there yet
            raise PreFlightError(f"the judge's child could not be confined: {fault.evidence.found}") from fault

    def run_code(self, code: Code) -> None:
        """Run the file of a candidate or a reference; `CandidateFault` where it fails or lacks its class."""
        self._compile_mode = code.compile_mode
        descriptor = os.memfd_create("code", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(descriptor), "wb") as stream:
                stream.write(code.source.encode())
            os.lseek(descriptor, 0, os.SEEK_SET)
            message = {"do": "code", "class_name": code.class_name}
            self._ask(message, self.limits.build_timeout_s, "import", [descriptor])
        finally:
            os.close(descriptor)

    def build(self, init: Arguments, dtype: str) -> list[tuple[str, list[int], str]]:
        """Construct the module in `fp32`, `fp16` or `bf16`; return name, shape and dtype of its state's entries."""
        from joulegrid.kernels.device import PINNED, torch_dtype

        described = {"args": plain_tree(list(init.args)), "kwargs": plain_tree(dict(init.kwargs))}
        message: dict[str, Any] = {"do": "build", "init": described, "compile_mode": self._compile_mode}
        message |= {"precision": PINNED, "dtype": str(torch_dtype(dtype)).removeprefix("torch.")}
        said = self._ask(message, self.limits.build_timeout_s, "constructor")
        self._returned.forget()
        self._note_weights(said.get("state"))
        return [(entry.name, list(entry.shape), entry.dtype) for entry in self._weights]

    def load(self, state: Mapping[str, Any], *, mutate: bool = False) -> None:
        """Load weights by `load_state_dict(strict=True)`, or `mutate` the module's tensors in place."""
        arena = self._arena(0, needed_bytes(dict(state)))
        arena.reset()
        placed = place(arena, Arguments(kwargs=dict(state)), "weights")
        placed.fill()
        message = {"do": "load", "state": placed.described["kwargs"]["dict"], "mutate": mutate}
        self._synchronize()
        self._note_weights(self._ask(message, self.limits.build_timeout_s, "load_state_dict").get("state"))

    def prepare(self, inputs: Sequence[Arguments], like: Sequence[Any] = ()) -> None:
        """Give the child views of memory for all these inputs, and write their content once it stands still.

        `like` are tensors as the outputs should be; on a GPU they become the places that outputs are copied to.
        """
        sinks = list(like) if self.staged else []
        arena = self._arena(1, sum(needed_bytes(one) for one in inputs) + len(inputs) * needed_bytes(sinks))
        arena.reset()
        self._sinks, self._placements = [], []
        for number, arguments in enumerate(inputs):
            placed = place(arena, arguments, f"inputs.{number}")
            outputs = [arena.reserve(f"{OUTPUTS}.{number}.{at}", tensor) for at, tensor in enumerate(sinks)]
            self._sinks.append([region.tensor for region, _ in outputs])
            message = {"do": "prepare", "inputs": placed.described, "first": number == 0}
            self._ask(message | {"sinks": [layout for _, layout in outputs]}, self.limits.build_timeout_s, "prepare")
            self._placements.append(placed)
        for placed in self._placements:
            placed.fill()
        self._synchronize()

    def call(self, inputs: Arguments, like: Sequence[Any], observe: Observe | None = None) -> Outcome:
        """Call the module once on inputs that it has not seen; `like` are tensors as its outputs should be."""
        self.prepare([inputs], like)
        return self.call_prepared(0, like, observe)

    def call_prepared(self, number: int, like: Sequence[Any], observe: Observe | None = None) -> Outcome:
        """Call the module on inputs that were prepared."""
        observe = observe or Observe()
        before = self._digests()
        message: dict[str, Any] = {"do": "call", "place": number, "observe": observe.operators}
        message |= {"poison": observe.poison, "guards": observe.guards, "suppress": observe.suppress_launches}
        started = time.perf_counter_ns()
        said = self._ask(message, self.limits.call_timeout_s, "forward")
        elapsed_ns = self._answered_ns - started
        changed = tuple(path for path, digest in self._digests().items() if before[path] != digest)
        self._note_weights(said.get("state"))
        layouts, outputs = self._returned.read(said, like, self._sinks[number])
        aliases = self._returned.aliases(layouts, self._spans())
        late = self._returned.rehashed()
        self._returned.keep(layouts, outputs)
        return Outcome(
            outputs, said.get("structure"), elapsed_ns, changed, aliases, late,
            counts(said.get("operators")), counts(said.get("launches")), counts(said).get("torn", 0),
            counts(said.get("unknown_memory")),
        )  # fmt: skip

    def settle(self) -> None:
        """Prepare the child for timed series: freed memory stays its own, and collections look at new objects alone."""
        self._ask({"do": "settle"}, self.limits.build_timeout_s, "settle")

    def refill(self, inputs: Sequence[Arguments]) -> None:
        """Write other inputs into the first prepared places, shapes as before, once the last outputs are forgotten."""
        self._ask({"do": "forget"}, self.limits.build_timeout_s, "series")
        for placed, arguments in zip(self._placements, inputs, strict=False):
            placed.refill(arguments)
        self._synchronize()

    def run_series(self, count: int, *, describe: bool = True, flush: bool = False) -> int:
        """Call the module on the first `count` prepared inputs in a row; return nanoseconds by the judge's clock.

        From the order to go until the child says `done`; then its whole tree stands still and `outputs` can be read.
        Without `describe` the child tells addresses alone, which costs a call hardly anything, and outputs are taken to
        lie as those of the last described series did; on a GPU they are copied after `done`, in `revealed_ns`.
        """
        self._returned.forget()
        message = {"do": "series", "count": count, "describe": describe, "flush": flush}
        said = self._ask(message, self.limits.call_timeout_s * count, "series")
        elapsed_ns = self._answered_ns - self._asked_ns
        self._described = described_calls(said, count) if describe else relocated(said, self._described)
        if self.staged and not describe:
            found = counts(self._ask({"do": "reveal"}, self.limits.call_timeout_s, "series"))
            self.device_ns = found.get("device_ns")
            self.revealed_ns = self._answered_ns - self._asked_ns
        return elapsed_ns

    def run_flushes(self, count: int) -> int:
        """Flush the device's cache so many times and call nothing; return nanoseconds as of a series."""
        self._ask({"do": "flushes", "count": count}, self.limits.call_timeout_s, "series")
        return self._answered_ns - self._asked_ns

    def device_times(self, count: int, lead_s: float) -> tuple[list[int], int | None]:
        """Return nanoseconds of some calls by the device's clock, and its peak memory in bytes, as the child says."""
        message = {"do": "device_times", "count": count, "lead_s": lead_s}
        said = self._ask(message, self.limits.call_timeout_s * count, "series")
        times_ns = said.get("times_ns")
        found = [one for one in times_ns if type(one) is int and one >= 0] if isinstance(times_ns, list) else []
        return found, counts(said).get("peak_bytes")

    def outputs(self, number: int, like: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Return structure and outputs of one call of the last series, as they lie in memory now."""
        said = self._described[number]
        return said.get("structure"), self._returned.read(said, like, self._sinks[number])[1]

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
        """End the child with everything below it and give all memory back."""
        if not self._closed:
            self._closed = True
            self._zygote.end(self._child)
            for arena in self._arenas:
                arena.close()

    def _ask(
        self, message: dict[str, Any] | None, patience_s: float, phase: str, descriptors: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Let the child go on, order, wait for its answer, stop it; what it did instead raises `CandidateFault`."""
        channel = self._child.channel
        self.thaw()
        try:
            ticket = os.urandom(8).hex() if message is not None else None
            self._asked_ns = time.perf_counter_ns()
            if message is not None:
                protocol.send(channel, message | {"ticket": ticket}, descriptors)
            self._wait(channel, time.monotonic() + patience_s)
            answer, _ = protocol.receive(channel, time.monotonic() + patience_s)
        except protocol.Gone:
            raise faults.left(self._zygote.status(self.pid, 2.0), phase) from None
        except protocol.Silent:
            raise faults.silent(phase, patience_s) from None
        except protocol.Garbled as error:
            raise faults.garbled(phase, str(error)) from None
        self._answered_ns = time.perf_counter_ns()
        self.freeze()
        if answer.get("ticket") != ticket or protocol.has_more(channel):
            raise faults.garbled(phase, "an answer to an order that was not given")
        if "failed" in answer:
            raise faults.raised(answer["failed"], phase)
        if not isinstance(answer.get("done"), dict):
            raise faults.garbled(phase, "an answer that is neither done nor failed")
        return dict(answer["done"])

    def _wait(self, channel: socket.socket, deadline: float) -> None:
        """Wait until something can be read, and look after the tree meanwhile."""
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        while not poll.poll(_LOOK_S * 1000):
            if time.monotonic() > deadline:
                raise protocol.Silent
            below = len(process_tree.members(self.pid)) - 1
            if below > self.limits.processes:
                raise faults.too_many_processes(below, self.limits.processes)
            if not self._scratch_is_limited and faults.folder_bytes(self._child.scratch) > self.limits.scratch_bytes:
                raise faults.scratch_full(self.limits.scratch_bytes)

    @property
    def _scratch_is_limited(self) -> bool:
        """Whether the kernel limits the scratch folder; otherwise the judge looks at it."""
        return bool(self._child.facts.get("scratch_limited"))

    def _arena(self, number: int, byte_count: int) -> Arena:
        """The arena of weights (0) or of inputs (1), made anew where the old one is too small."""
        while len(self._arenas) <= number:
            self._map_arena(len(self._arenas), LEAST_ARENA_BYTES)
        if self._arenas[number].size < byte_count:
            self._ask({"do": "release", "name": number}, self.limits.build_timeout_s, "arena")
            self._arenas.pop(number).close()
            self._map_arena(number, byte_count if self.device == "cuda" else 2 * byte_count)  # a GPU's is real at once
        return self._arenas[number]

    def _map_arena(self, number: int, size: int) -> None:
        arena = Arena(number, size, self.device)
        self._arenas.insert(number, arena)
        message: dict[str, Any] = {"do": "arena", "name": number, "size": size}
        said = self._ask(message, self.limits.build_timeout_s, "arena", [arena.descriptor])
        self._addresses[number] = counts(said).get("address", 0)

    def _synchronize(self) -> None:
        if self.device == "cuda":
            from joulegrid.kernels.device import synchronize

            synchronize("cuda")

    def _digests(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for arena in self._arenas:
            found |= arena.digests()
        return found

    def _spans(self) -> dict[str, list[tuple[int, int]]]:
        """Memory in the child that outputs may not share, as far as it says where that lies."""
        arenas = [(self._addresses[arena.name], arena.size) for arena in self._arenas]
        return {"inputs": arenas, "weights": [entry.extent for entry in self._weights]}

    def _note_weights(self, state: Any) -> None:
        try:
            self._weights = [Entry.read(*one) for one in state]
        except (TypeError, ValueError) as error:
            raise faults.garbled("state_dict", f"a state that cannot be: {error}") from None
