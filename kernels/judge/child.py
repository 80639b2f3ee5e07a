"""The code inside the child: builds the module, makes views of shared memory, calls, says where the outputs lie.

It serves one command after another, `{"do": name, …}`, and answers `{"done": …}` or `{"failed": …}`. Candidate and
reference are served alike. Everything here shares an interpreter with a candidate, so that nothing it says is evidence
in its favour; the judge reads inputs and outputs itself, from memory, while this process stands still.
"""

from __future__ import annotations

import ctypes
import gc
import os
import socket
import sys
import types
from collections import deque
from functools import partial, reduce
from pathlib import Path
from typing import Any

from joulegrid.kernels.judge import protocol
from joulegrid.kernels.judge.child_device import device_of
from joulegrid.kernels.judge.compiling import REPLAYED, compiled
from joulegrid.kernels.judge.descriptions import FILE, described_error, described_tensor, leaves, structure
from joulegrid.kernels.judge.held import changed, constants, held
from joulegrid.kernels.judge.observers import Launches, Observation

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_PERTURB = -1, -4, -6  # mallopt(3)
KEPT_OUTPUTS = 6
"""Outputs are held that long, so that the judge can look at those of call i after call i + 5."""


def serve(channel: socket.socket, facts: dict[str, Any], orders: Any) -> None:
    """Answer the judge's commands until it closes its end."""
    try:
        worker = _Worker(orders)
    except BaseException as error:  # noqa: BLE001 - a GPU that cannot be had from inside here, say
        protocol.send(channel, {"failed": described_error(error, "")})
        return
    protocol.send(channel, {"done": {"facts": facts}})
    while True:
        try:
            message, descriptors = protocol.receive(channel)
        except protocol.Gone:
            return
        ticket = message.pop("ticket", None)
        try:
            answer = {"done": getattr(worker, "do_" + message.pop("do"))(*descriptors, **message)}
        except BaseException as error:  # noqa: BLE001 - whatever a candidate raises, SystemExit included, is its result
            answer = {"failed": described_error(error, worker.module_name)}
        protocol.send(channel, answer | {"ticket": ticket})


class _Worker:
    """The state of a session: one file of code, one module, the arena, the last outputs."""

    def __init__(self, orders: Any) -> None:
        import torch

        _allocator(_M_PERTURB, 1 + os.urandom(1)[0] % 254)  # freed memory remembers nothing
        torch.set_num_threads(orders.threads)
        torch.set_flush_denormal(False)
        self.orders = orders
        self.device = device_of(orders)
        self.module_name = "candidate"
        self.launches = Launches()
        self.launches.install()
        self.arenas: dict[int, Any] = {}
        self.module: Any = None
        self.prepared: list[tuple[list[Any], dict[str, Any]]] = []
        self.sinks: list[list[Any]] = []
        self.outputs: deque[Any] = deque(maxlen=KEPT_OUTPUTS)
        self.series: list[list[Any]] = []
        """Tensors that each call of the last series returned."""
        self.places: list[int] = []
        self.overwrites = False

    def do_code(self, descriptor: int, *, class_name: str) -> dict[str, Any]:
        """Run the candidate's file, as a module without a place in `sys.path`."""
        with os.fdopen(descriptor, "rb") as stream:
            source = stream.read().decode()
        path = Path(self.orders.scratch) / FILE
        path.write_text(source, encoding="utf-8")  # Triton reads its kernels' source from a file
        module = types.ModuleType(self.module_name)
        module.__file__ = str(path)
        sys.modules[self.module_name] = module
        exec(compile(source, str(path), "exec"), vars(module))  # noqa: S102 - what the sandbox is for
        found = getattr(module, class_name, None)
        if not isinstance(found, type):
            raise AttributeError(f"the file defines no class {class_name}")
        self.cls, self.constants = found, constants(module)
        return {}

    def do_build(
        self, *, init: dict[str, Any], dtype: str, precision: dict[str, Any], compile_mode: str | None = None
    ) -> dict[str, Any]:
        """Construct the module with the judge's flags of precision, and say what its state is."""
        import torch

        for name, value in precision.items():
            *owners, flag = name.split(".")
            setattr(reduce(getattr, owners, torch.backends), flag, value)
        self.module = None
        self.outputs.clear()
        self.prepared.clear()
        gc.collect()
        torch.manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            module = self.cls(*self._tree(init["args"]), **self._tree(init["kwargs"]))
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"{type(module).__name__} is no torch.nn.Module")
        module = module.eval().requires_grad_(False).to(device=self.orders.device, dtype=getattr(torch, dtype))
        self.plain = module
        self.module = module if compile_mode is None else compiled(module, compile_mode)
        graphs = compile_mode in REPLAYED
        # A replayed graph's outputs are gone with its next replay.
        self.overwrites = self.orders.device == "cuda" and graphs
        self.device.synchronize()
        return {"state": self._state()}

    def do_load(self, *, state: dict[str, Any], mutate: bool) -> dict[str, Any]:
        """Load weights by name, or write them into the tensors that are already there."""
        import torch

        tensors = {name: self._tree(one) for name, one in state.items()}
        if not mutate:
            self.plain.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, strict=True)
        else:
            with torch.no_grad():
                for name, tensor in self.plain.state_dict(keep_vars=True).items():
                    tensor.copy_(tensors[name])
        self.device.synchronize()  # the judge writes the next weights into the same memory
        return {"state": self._state()}

    def do_arena(self, descriptor: int, *, name: int, size: int) -> dict[str, Any]:
        """Map memory that the judge made."""
        self.arenas[name], address = self.device.open(descriptor, size)
        return {"address": address}

    def do_release(self, *, name: int) -> dict[str, Any]:
        """Forget an arena with all views of it."""
        self.prepared, self.sinks, self.series = [], [], []
        if name in self.arenas:
            self.device.close(self.arenas.pop(name))
        return {}

    def do_prepare(self, *, inputs: dict[str, Any], first: bool, sinks: list[Any] | None = None) -> dict[str, Any]:
        """Make the views of one call's inputs; their content comes later. `first` forgets earlier ones."""
        if first:
            self.prepared, self.sinks, self.series = [], [], []
        self.prepared.append((self._tree(inputs["args"]), self._tree(inputs["kwargs"])))
        self.sinks.append([self._tree(one) for one in sinks or []])
        return {}

    def do_call(self, *, place: int, **observe: bool) -> dict[str, Any]:
        """Call the module once; `observe` is the judge's `Observe`, by the names of its fields."""
        import torch

        args, kwargs = self.prepared[place]
        self.launches.counts.clear()
        observation = Observation(self.launches, observe)
        before = held(self.plain, self.constants)
        # Operators show as such where gradients are merely off; unseen calls are made as timed ones are.
        with (
            torch.no_grad() if observe["operators"] else torch.inference_mode(),
            observation.of(self.plain, args, kwargs),
        ):
            result = self.module(*args, **kwargs)
        self.device.deliver(leaves(result), self.sinks[place])
        answer = self._described_outputs(result, self.outputs) | observation.found(result)
        answer["kept"] = changed(before, held(self.plain, self.constants))[:20]
        return answer | {"launches": dict(self.launches.counts.most_common(200)), "state": self._state()}

    def do_settle(self) -> dict[str, Any]:
        """Keep freed memory, so that later series find touched pages, and leave what exists out of collections."""
        _allocator(_M_PERTURB, 0)
        _allocator(_M_MMAP_MAX, 0)
        _allocator(_M_TRIM_THRESHOLD, 2**31 - 1)
        gc.collect()
        gc.freeze()
        return {}

    def do_forget(self) -> dict[str, Any]:
        """Give the last series' outputs back: never while the next one is timed."""
        self.series = []
        return {}

    def do_order(self, *, places: list[int]) -> dict[str, Any]:
        """Note which of the prepared inputs the next series is called on, one after another."""
        self.places = places
        return {}

    def do_series(self, *, describe: bool, flush: bool = False) -> dict[str, Any]:
        """Call the module with one set of inputs after another; all outputs are held until they are forgotten.

        Only addresses are told at once; `describe` says all of how outputs lie, which takes as long as a light call.
        """
        import torch

        calls = [self.prepared[place] for place in self.places]
        gc.disable()
        results = []
        with torch.inference_mode(), self.device.timing():
            if flush or self.overwrites:
                results = self._called_in_turn(calls, flush=flush)
            else:
                for args, kwargs in calls:
                    results.append(self.module(*args, **kwargs))
        gc.enable()
        self.outputs.clear()
        self.series = [leaves(result) for result in results]
        if describe:
            self.do_reveal()
            return {"calls": [self._described_outputs(result, []) for result in results]}
        return {"addresses": [[tensor.data_ptr() for tensor in tensors] for tensors in self.series]}

    def _called_in_turn(self, calls: list[tuple[list[Any], dict[str, Any]]], *, flush: bool) -> list[Any]:
        """As a series, with a flushed cache before each call; of graphs the last replay's outputs alone."""
        import torch

        results: list[Any] = []
        for args, kwargs in calls:
            if flush:
                self.device.flush()
            if self.overwrites:
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
                results.clear()
            results.append(self.module(*args, **kwargs))
        return results if not self.overwrites or len(calls) == 1 else []

    def do_flushes(self, *, count: int) -> dict[str, Any]:
        """Flush the cache as a series does, and call nothing."""
        gc.disable()
        with self.device.timing():
            for _ in range(count):
                self.device.flush()
        gc.enable()
        return {}

    def do_device_times(self, *, count: int, lead_s: float) -> dict[str, Any]:
        """Say how long calls take on the device alone, by its own clock, and how much memory was in use at most."""
        import torch

        def called(args: list[Any], kwargs: dict[str, Any]) -> None:
            if self.overwrites:
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            self.module(*args, **kwargs)

        calls = [partial(called, *one) for one in self.prepared[:count]]
        with torch.inference_mode():
            times_ns = self.device.call_times_ns(calls, lead_s)
        return {"times_ns": times_ns, "peak_bytes": self.device.peak_bytes()}

    def do_reveal(self) -> dict[str, Any]:
        """On a GPU, copy the last outputs to where the judge wants them; elsewhere they are read as they lie."""
        elapsed_ns = self.device.elapsed_ns()
        for tensors, place in zip(self.series, self.places, strict=False):
            self.device.deliver(tensors, self.sinks[place])
        return {"device_ns": elapsed_ns}

    def _described_outputs(self, result: Any, keep: Any) -> dict[str, Any]:
        """Say where the outputs lie, and keep them there."""
        tensors: list[Any] = []
        nested = structure(result, tensors)
        keep.append(tensors)
        return {"structure": nested, "outputs": [described_tensor(tensor) for tensor in tensors]}

    def _state(self) -> list[list[Any]]:
        """Name, shape, dtype, address and bytes of each entry of the state."""
        entries = []
        for name, tensor in self.plain.state_dict().items():
            described = described_tensor(tensor)
            entries.append([name, described["shape"], described["dtype"], described["address"], tensor.nbytes])
        return entries

    def _tree(self, node: Any) -> Any:
        """Turn a described argument into a value; `memory.place` describes it."""
        match node:
            case {"tensor": layout}:
                return self._view(layout)
            case {"list": items}:
                return [self._tree(item) for item in items]
            case {"tuple": items}:
                return tuple(self._tree(item) for item in items)
            case {"dict": items}:
                return {name: self._tree(item) for name, item in items.items()}
        return node["value"]

    def _view(self, layout: dict[str, Any]) -> Any:
        import torch

        dtype, start, span = getattr(torch, layout["dtype"]), layout["start"], layout["span"]
        if not span:
            return torch.empty(layout["shape"], dtype=dtype, device=self.orders.device)
        flat = self.device.view(self.arenas[layout["arena"]], dtype, start, span)
        return flat.as_strided(layout["shape"], layout["strides"], flat.storage_offset() + layout["first"])


def _allocator(option: int, value: int) -> None:
    """Set an option of the C library's allocator, if it is glibc's."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(option, value)
