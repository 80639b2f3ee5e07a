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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from joulegrid.kernels.judge import faults, process_tree, protocol
from joulegrid.kernels.judge.candidate import Code
from joulegrid.kernels.judge.foreign_memory import Layout, Unreadable, read_tensor
from joulegrid.kernels.judge.limits import Limits
from joulegrid.kernels.judge.memory import OUTPUTS, Arena, Placement, needed_bytes, place
from joulegrid.kernels.judge.sandbox import Facts
from joulegrid.kernels.judge.zygote import Child, Zygote
from joulegrid.kernels.problem import Arguments

REHASH_DISTANCE = 5
"""Outputs of a call are looked at again so many calls later."""
LEAST_ARENA_BYTES = 1 << 20
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Observe:
    """What is looked at inside the child during a call."""

    operators: bool = False
    poison: bool = False
    guards: bool = False
    suppress_launches: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """One call, as the judge saw it; `operators`, `launches`, `torn` and `unknown_memory` are what the child said."""

    outputs: list[Any]
    """Copies that the judge made; of another shape or dtype than expected: without content (device `meta`)."""
    structure: Any
    """Nested lists and dicts with `*` for each tensor; anything else is the name of a type."""
    elapsed_ns: int
    changed_inputs: tuple[str, ...]
    """Inputs and weights of the arena whose memory, bands included, is no longer as the judge wrote it."""
    aliases: tuple[str, ...]
    """What outputs share memory with: `inputs`, `weights`, `earlier outputs`."""
    changed_outputs: int | None
    """The call, counted from the build, whose outputs are no longer what they were; `None` if none."""
    operators: Mapping[str, int] = field(default_factory=dict)
    launches: Mapping[str, int] = field(default_factory=dict)
    torn: int = 0
    unknown_memory: Mapping[str, int] = field(default_factory=dict)
    """Kernels, operators or `the output` that were given memory which no operator that was seen had made."""


@dataclass(frozen=True, slots=True)
class _Kept:
    call: int
    layouts: list[Layout]
    copies: list[Any]


@contextmanager
def open_session(zygote: Zygote, code: Code, limits: Limits | None = None, *, freeze: bool = True) -> Iterator[Session]:
    """Open a session in a fresh child, run the code's file in it, and leave nothing of it behind.

    Raises:
        CandidateFault: the file does not run, or does not define its class.
        PreFlightError: no child can be had on this machine.
    """
    limits = limits or Limits()
    child = zygote.fork(limits)
    session = Session(zygote, child, limits, freeze=freeze)
    try:
        session.begin()
        session.run_code(code)
        yield session
    finally:
        session.close()


class Session:
    """A child with one module. Made by `open_session`."""

    def __init__(self, zygote: Zygote, child: Child, limits: Limits, *, freeze: bool) -> None:
        self.limits, self.device = limits, zygote.device
        self._zygote, self._child, self._freezes = zygote, child, freeze
        self._frozen = False
        self._closed = False
        self._answered_ns = 0
        self._compile_mode: str | None = None
        self._arenas: list[Arena] = []
        self._addresses: dict[int, int] = {}
        self._weights: list[tuple[str, int, int]] = []
        self._kept: list[_Kept] = []
        self._calls = 0
        self._described: list[Any] = []
        self._sinks: list[list[Any]] = []
        self.facts: Facts = dict(child.facts)

    @property
    def pid(self) -> int:
        """The child's process id, in the judge's namespace."""
        return self._child.pid

    def begin(self) -> None:
        """Wait until the child has confined itself, and note how."""
        self.facts |= self._ask(None, self.limits.build_timeout_s, "start")["facts"]

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

        described = {"args": _plain(list(init.args)), "kwargs": _plain(dict(init.kwargs))}
        message: dict[str, Any] = {"do": "build", "init": described, "compile_mode": self._compile_mode}
        message |= {"precision": PINNED, "dtype": str(torch_dtype(dtype)).removeprefix("torch.")}
        said = self._ask(message, self.limits.build_timeout_s, "constructor")
        self._kept, self._calls = [], 0
        self._note_weights(said["state"])
        return [(name, shape, kind) for name, shape, kind, _, _ in said["state"]]

    def load(self, state: Mapping[str, Any], *, mutate: bool = False) -> None:
        """Load weights by `load_state_dict(strict=True)`, or `mutate` the module's tensors in place."""
        arena = self._arena(0, needed_bytes(dict(state)))
        arena.reset()
        placed = place(arena, Arguments(kwargs=dict(state)), "weights")
        placed.fill()
        message = {"do": "load", "state": placed.described["kwargs"]["dict"], "mutate": mutate}
        self._note_weights(self._ask(message, self.limits.build_timeout_s, "load_state_dict")["state"])

    def prepare(self, inputs: Sequence[Arguments], like: Sequence[Any] = ()) -> None:
        """Give the child views of memory for all these inputs, and write their content once it stands still.

        `like` are tensors as the outputs should be; on a GPU they become the places that outputs are copied to.
        """
        sinks = list(like) if self.device == "cuda" else []
        arena = self._arena(1, sum(needed_bytes(one) for one in inputs) + len(inputs) * needed_bytes(sinks))
        arena.reset()
        self._sinks, placements = [], []
        for number, arguments in enumerate(inputs):
            placed = place(arena, arguments, f"inputs.{number}")
            outputs = [arena.reserve(f"{OUTPUTS}.{number}.{at}", tensor) for at, tensor in enumerate(sinks)]
            self._sinks.append([region.tensor for region, _ in outputs])
            message = {"do": "prepare", "inputs": placed.described, "first": number == 0}
            self._ask(message | {"sinks": [layout for _, layout in outputs]}, self.limits.build_timeout_s, "prepare")
            placements.append(placed)
        self._fill(placements)

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
        self._note_weights(said["state"])
        layouts, outputs = self._read(said, like, number)
        aliases = self._aliases(layouts)
        late = self._rehashed()
        self._keep(layouts, outputs)
        return Outcome(
            outputs, said["structure"], elapsed_ns, changed, aliases, late,
            _counts(said.get("operators")), _counts(said.get("launches")), int(said.get("torn") or 0),
            _counts(said.get("unknown_memory")),
        )  # fmt: skip

    def run_series(self, count: int) -> int:
        """Call the module on the first `count` prepared inputs in a row; return nanoseconds by the judge's clock.

        From the order to go until the child says `done`; then its whole tree stands still and `outputs` can be read.
        """
        started = time.perf_counter_ns()
        said = self._ask({"do": "series", "count": count}, self.limits.call_timeout_s * count, "series")
        elapsed_ns = self._answered_ns - started
        self._described = said["calls"]
        return elapsed_ns

    def outputs(self, number: int, like: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Return structure and outputs of one call of the last series, as they lie in memory now."""
        said = self._described[number]
        return said["structure"], self._read(said, like, number)[1]

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
        self._answered_ns = time.perf_counter_ns()
        self.freeze()
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
            self._map_arena(number, 2 * byte_count)
        return self._arenas[number]

    def _map_arena(self, number: int, size: int) -> None:
        arena = Arena(number, size, self.device)
        self._arenas.insert(number, arena)
        message: dict[str, Any] = {"do": "arena", "name": number, "size": size}
        if arena.handle is not None:
            message |= {"do": "cuda_arena", "handle": arena.handle}
        descriptors = [] if arena.handle is not None else [arena.descriptor]
        self._addresses[number] = self._ask(message, self.limits.build_timeout_s, "arena", descriptors)["address"]

    def _fill(self, placements: Sequence[Placement]) -> None:
        for placed in placements:
            placed.fill()
        if self.device == "cuda":
            from joulegrid.kernels.device import synchronize

            synchronize("cuda")

    def _digests(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for arena in self._arenas:
            found |= arena.digests()
        return found

    def _read(self, said: Mapping[str, Any], like: Sequence[Any], number: int) -> tuple[list[Layout], list[Any]]:
        """The outputs' layouts, and what lies there; another shape or dtype than expected is not read."""
        import torch

        try:
            layouts = [Layout.read(one) for one in said["outputs"]]
            outputs = []
            for at, layout in enumerate(layouts):
                if at >= len(like) or not _fits(layout, like[at], self.device):
                    outputs.append(torch.empty(layout.shape, dtype=getattr(torch, layout.dtype), device="meta"))
                elif self.device == "cuda":
                    outputs.append(self._sinks[number][at].clone())
                else:
                    outputs.append(read_tensor(self.pid, layout))
        except Unreadable as error:
            raise faults.unreadable(str(error)) from None
        except (KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise faults.garbled("forward", f"outputs that cannot be: {error}") from None
        return layouts, outputs

    def _note_weights(self, state: Any) -> None:
        with suppress(TypeError, ValueError):
            self._weights = [(str(name), int(address), int(size)) for name, _, _, address, size in state]

    def _aliases(self, layouts: Sequence[Layout]) -> tuple[str, ...]:
        arenas = [(self._addresses[arena.name], arena.size) for arena in self._arenas]
        known = {"inputs": arenas, "weights": [(address, size) for _, address, size in self._weights]}
        known["earlier outputs"] = [_extent(layout) for kept in self._kept for layout in kept.layouts]
        spans = [_extent(layout) for layout in layouts]
        return tuple(name for name, others in known.items() if any(_overlap(a, b) for a in spans for b in others))

    def _rehashed(self) -> int | None:
        """Look again at the outputs of a call some calls ago; return its number where they have changed."""
        if self.device == "cuda" or len(self._kept) < REHASH_DISTANCE:
            return None
        kept = self._kept[0]
        with suppress(Unreadable):
            again = [read_tensor(self.pid, layout) for layout in kept.layouts]
            if all(_same_bits(old, new) for old, new in zip(kept.copies, again, strict=True)):
                return None
        return kept.call

    def _keep(self, layouts: list[Layout], outputs: list[Any]) -> None:
        self._calls += 1
        if any(output.device.type == "meta" for output in outputs):
            return
        self._kept = [*self._kept, _Kept(self._calls, layouts, outputs)][-REHASH_DISTANCE:]


def _fits(layout: Layout, like: Any, device: str) -> bool:
    wanted = str(like.dtype).removeprefix("torch.")
    return layout.shape == tuple(like.shape) and layout.dtype == wanted and layout.device == device


def _extent(layout: Layout) -> tuple[int, int]:
    import torch

    return layout.address, layout.span * int(getattr(torch, layout.dtype).itemsize)


def _overlap(left: tuple[int, int], right: tuple[int, int]) -> bool:
    return left[0] < right[0] + right[1] and right[0] < left[0] + left[1] and min(left[1], right[1]) > 0


def _same_bits(left: Any, right: Any) -> bool:
    import torch

    return bool(torch.equal(left.reshape(-1).view(torch.uint8), right.reshape(-1).view(torch.uint8)))


def _counts(said: Any) -> dict[str, int]:
    """What a child said it counted, as far as it is a table of numbers."""
    if not isinstance(said, dict):
        return {}
    return {str(name)[:200]: int(count) for name, count in said.items() if isinstance(count, int)}


def _plain(node: Any) -> dict[str, Any]:
    """Describe a tree of plain values as `child` reads it."""
    if isinstance(node, list):
        return {"list": [_plain(item) for item in node]}
    if isinstance(node, dict):
        return {"dict": {name: _plain(item) for name, item in node.items()}}
    return {"value": node}
