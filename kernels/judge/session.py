"""A session: one fresh child with one module in it, candidate or reference, through the same channel for both.

The child stands still (SIGSTOP to its whole tree) whenever the judge is not waiting for it: inputs are written and
outputs are read while nothing in it can run, so that late writers, threads and forks gain nothing.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from joulegrid.errors import PreFlightError
from joulegrid.kernels.judge import faults
from joulegrid.kernels.judge.arenas import INPUTS, WEIGHTS, Arenas
from joulegrid.kernels.judge.candidate import Code
from joulegrid.kernels.judge.exchange import Exchange
from joulegrid.kernels.judge.limits import Limits
from joulegrid.kernels.judge.memory import OUTPUTS, Placement, needed_bytes, place, plain_tree
from joulegrid.kernels.judge.outcome import Observe, Outcome, counts, names
from joulegrid.kernels.judge.returned import Entry, Returned, Spans, described_calls, relocated
from joulegrid.kernels.judge.sandbox import Facts
from joulegrid.kernels.judge.verdict import CandidateFault
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.problem import Arguments

PATIENT_CALLS = 10
"""A series may take so many times as long as one call."""
SAMPLED_REGIONS = 4
"""Of a series's inputs so many are hashed before and after it."""
_RANDOM = random.SystemRandom()


@contextmanager
def open_session(zygote: Zygote, code: Code, limits: Limits | None = None, *, freeze: bool = True) -> Iterator[Session]:
    """Open a session in a fresh child, run the code's file in it, and leave nothing of it behind.

    Raises:
        CandidateFault: the file does not run, or does not define its class.
        PreFlightError: no child can be had on this machine.
    """
    limits = limits or Limits()
    child = zygote.fork(limits)
    session = Session(Exchange(zygote, child, limits, freezes=freeze), zygote.device, child.facts)
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

    def __init__(self, exchange: Exchange, device: str, facts: Facts) -> None:
        self.device = device
        self.revealed_ns = 0
        self.facts: Facts = dict(facts)
        self._exchange = exchange
        self._arenas = Arenas(exchange, device)
        self._closed = False
        self._compile_mode: str | None = None
        self._weights: list[Entry] = []
        self._returned = Returned(exchange.pid, device)
        self._described: list[Any] = []
        self._turns: dict[int, int] = {}
        """Place of prepared inputs → when in the last series they had their turn."""
        self._series_changed: tuple[str, ...] = ()
        self._sinks: list[list[Any]] = []
        self._placements: list[Placement] = []

    @property
    def pid(self) -> int:
        """The child's process id, in the judge's namespace."""
        return self._exchange.pid

    def begin(self) -> None:
        """Wait until the child has confined itself, and note how; `PreFlightError` where it could not."""
        try:
            self.facts |= self._exchange.build(None, "start")["facts"]
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
            self._exchange.build({"do": "code", "class_name": code.class_name}, "import", [descriptor])
        finally:
            os.close(descriptor)

    def build(self, init: Arguments, dtype: str) -> list[tuple[str, list[int], str]]:
        """Construct the module in `fp32`, `fp16` or `bf16`; return name, shape and dtype of its state's entries."""
        from joulegrid.kernels.device import PINNED, torch_dtype

        described = {"args": plain_tree(list(init.args)), "kwargs": plain_tree(dict(init.kwargs))}
        message: dict[str, Any] = {"do": "build", "init": described, "compile_mode": self._compile_mode}
        message |= {"precision": PINNED, "dtype": str(torch_dtype(dtype)).removeprefix("torch.")}
        said = self._exchange.build(message, "constructor")
        self._returned.forget()
        self._note_weights(said.get("state"))
        return [(entry.name, list(entry.shape), entry.dtype) for entry in self._weights]

    def load(self, state: Mapping[str, Any], *, mutate: bool = False) -> None:
        """Load weights by `load_state_dict(strict=True)`, or `mutate` the module's tensors in place."""
        placed = place(self._arenas.empty(WEIGHTS, needed_bytes(dict(state))), Arguments(kwargs=dict(state)), "weights")
        placed.fill()
        message = {"do": "load", "state": placed.described["kwargs"]["dict"], "mutate": mutate}
        self._note_weights(self._exchange.build(message, "load_state_dict").get("state"))

    def prepare(self, inputs: Sequence[Arguments], like: Sequence[Any] = ()) -> None:
        """Give the child views of memory for all these inputs, and write their content once it stands still.

        `like` are tensors as the outputs should be; on a GPU they become the places that outputs are copied to.
        """
        sinks = list(like) if self.device == "cuda" else []
        needed = sum(needed_bytes(one) for one in inputs) + len(inputs) * needed_bytes(sinks)
        arena = self._arenas.empty(INPUTS, needed)
        self._sinks, self._placements = [], []
        for number, arguments in enumerate(inputs):
            placed = place(arena, arguments, f"inputs.{number}")
            outputs = [arena.reserve(f"{OUTPUTS}.{number}.{at}", tensor) for at, tensor in enumerate(sinks)]
            self._sinks.append([region.tensor for region, _ in outputs])
            message = {"do": "prepare", "inputs": placed.described, "first": number == 0}
            self._exchange.build(message | {"sinks": [layout for _, layout in outputs]}, "prepare")
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
        before = self._arenas.digests(self._arenas.given())
        message = {"do": "call", "place": number, **asdict(observe)}
        said = self._exchange.ask(message, self._exchange.limits.call_timeout_s, "forward")
        changed = self._changed_since(before)
        self._note_weights(said.get("state"))
        layouts, outputs = self._returned.read(said, like, self._sinks[number])
        aliases = self._returned.aliases(layouts, self._spans())
        late = self._returned.rehashed()
        self._returned.keep(layouts, outputs)
        return Outcome(
            outputs, said.get("structure"), self._exchange.elapsed_ns, changed, aliases, late,
            counts(said.get("operators")), counts(said.get("launches")), counts(said).get("torn", 0),
            counts(said.get("unknown_memory")), names(said.get("kept")),
        )  # fmt: skip

    def repeat(self, count: int, like: Sequence[Any]) -> Iterator[Outcome]:
        """Call the module so often in a row on the first prepared inputs, nobody looking; yield each call's outcome."""
        elapsed_ns = self._run([0] * count, describe=True)
        for said in self._described:
            _, outputs = self._returned.read(said, like, self._sinks[0])
            yield Outcome(outputs, said.get("structure"), elapsed_ns // count, self._series_changed, (), None)

    def settle(self) -> None:
        """Prepare the child for timed series: freed memory stays its own, and collections look at new objects alone."""
        self._exchange.build({"do": "settle"}, "settle")

    def refill(self, inputs: Sequence[Arguments]) -> None:
        """Write other inputs into the first prepared places, shapes as before, once the last outputs are forgotten."""
        self._exchange.build({"do": "forget"}, "series")
        for placed, arguments in zip(self._placements, inputs, strict=False):
            placed.refill(arguments)
        self._synchronize()

    def run_series(self, count: int, *, describe: bool = True) -> int:
        """Call the module on the first `count` prepared inputs, in an order drawn for this series; return nanoseconds.

        By the judge's clock, from the order to go until the child says `done`; then its whole tree stands still and
        `outputs` can be read. Without `describe` the child tells addresses alone, which costs a call hardly anything,
        and outputs are taken to lie as those of the last described series did; on a GPU they are copied after `done`,
        in `revealed_ns`.
        """
        return self._run(_RANDOM.sample(range(count), count), describe=describe)

    def _run(self, places: Sequence[int], *, describe: bool) -> int:
        exchange, patience_s, count = self._exchange, self._exchange.limits.call_timeout_s, len(places)
        self._returned.forget()
        given = self._arenas.given()
        before = self._arenas.digests(_RANDOM.sample(given, min(len(given), SAMPLED_REGIONS)))
        exchange.build({"do": "order", "places": list(places)}, "series")
        said = exchange.ask({"do": "series", "describe": describe}, patience_s * min(count, PATIENT_CALLS), "series")
        elapsed_ns = exchange.elapsed_ns
        self._described = described_calls(said, count) if describe else relocated(said, self._described, count)
        self._turns = {place: turn for turn, place in enumerate(places)}
        self._series_changed = self._changed_since(before)
        if self.device == "cuda" and not describe:
            exchange.ask({"do": "reveal"}, patience_s, "series")
            self.revealed_ns = exchange.elapsed_ns
        return elapsed_ns

    def require_own_outputs(self) -> None:
        """Raise `CandidateFault` where the last series wrote into what it was given, or returned memory twice.

        Of inputs a few are looked at, and nobody knew which while it ran.
        """
        if self._series_changed:
            raise faults.changed_inputs(self._series_changed)
        if shared := self._returned.shared(self._described, self._spans()):
            raise faults.shared_outputs(shared)

    def outputs(self, place: int, like: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Return structure and outputs of the last series's call on prepared inputs, as they lie in memory now."""
        said = self._described[self._turns[place]]
        return said.get("structure"), self._returned.read(said, like, self._sinks[place])[1]

    def close(self) -> None:
        """End the child with everything below it and give all memory back."""
        if not self._closed:
            self._closed = True
            self._exchange.close()
            self._arenas.close()

    def _synchronize(self) -> None:
        if self.device == "cuda":
            from joulegrid.kernels.device import synchronize

            synchronize("cuda")

    def _changed_since(self, before: Mapping[str, bytes]) -> tuple[str, ...]:
        """Paths of what the child was given and has changed."""
        return tuple(path for path, digest in self._arenas.digests(before).items() if before[path] != digest)

    def _spans(self) -> dict[str, Spans]:
        """Memory in the child that outputs may not share, as far as it says where that lies."""
        return {"inputs": self._arenas.spans(), "weights": [entry.extent for entry in self._weights]}

    def _note_weights(self, state: Any) -> None:
        try:
            self._weights = [Entry.read(*one) for one in state]
        except (TypeError, ValueError, OverflowError) as error:
            raise faults.garbled("state_dict", f"a state that cannot be: {error}") from None
