"""The arena: memory that judge and child share, for inputs and weights. The judge owns it; the child cannot resize it.

Each tensor lies in a region of its own, in its own strides and at its own offset, between two guard bands. Bands and
gaps hold random bits that are NaN in the tensor's dtype: a read beyond the edge shows in the result, a write in the
region's hash.
Outputs are not here: they stay where the candidate put them and are read there (`foreign_memory`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from joulegrid.errors import UsageError
from joulegrid.kernels.judge import cuda_memory
from joulegrid.kernels.problem import Arguments

GUARD_BYTES = 512
OUTPUTS = "outputs"
"""Paths of regions that the child may write begin so."""
_ALIGNMENT = 64
_ADD_SEALS, _SEAL, _SHRINK, _GROW = 1033, 1, 2, 4


@dataclass(frozen=True, slots=True)
class Region:
    """One tensor's place: bytes of the arena, guard bands included, and the judge's view of the tensor."""

    path: str
    start: int
    end: int
    tensor: Any


@dataclass(slots=True)
class Arena:
    """Shared memory of a fixed size; regions are handed out in order and given back all at once.

    The same requests in the same order get the same places, so that other numbers come to lie at addresses that a
    candidate has seen before.
    """

    name: int
    size: int
    device: str = "cpu"
    regions: list[Region] = field(default_factory=list)
    _next: int = 0
    _memory: Any = None
    _bytes: Any = None
    descriptor: int = -1
    handle: str | None = None
    """Of memory on a GPU: what the child opens it with."""

    def __post_init__(self) -> None:
        import torch

        if self.device == "cuda":
            self._memory = cuda_memory.allocate(self.size)
            self.handle = cuda_memory.handle_of(self._memory)
            self._bytes = cuda_memory.as_bytes(self._memory, self.size)
            return
        self.descriptor = os.memfd_create("arena", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.descriptor, self.size)
        fcntl.fcntl(self.descriptor, _ADD_SEALS, _SEAL | _SHRINK | _GROW)  # a smaller file would be the judge's SIGBUS
        self._memory = mmap.mmap(self.descriptor, self.size)
        self._bytes = torch.frombuffer(self._memory, dtype=torch.uint8)

    def close(self) -> None:
        """Give the descriptor, or a GPU's memory, back; other memory goes with the last tensor that lies in it."""
        if self.device == "cuda":
            self.regions, self._bytes = [], None
            cuda_memory.release(self._memory)
            return
        with contextlib.suppress(OSError):
            os.close(self.descriptor)

    def reset(self) -> None:
        """Give all regions back; their content stays until it is written over."""
        self.regions, self._next = [], 0

    def fits(self, byte_count: int) -> bool:
        """Tell whether so many bytes are left."""
        return self._next + byte_count <= self.size

    def reserve(self, path: str, tensor: Any) -> tuple[Region, dict[str, Any]]:
        """Make a region for a tensor like this one, canaries all over, and its description for the child."""
        first = tensor.storage_offset()
        span = first + _span(tensor)
        start, body = self._next, self._next + GUARD_BYTES
        end = body + span * tensor.element_size() + GUARD_BYTES
        if end > self.size:
            raise UsageError(f"the arena of {self.size} bytes is too small for {path}")
        self._next = -(-end // _ALIGNMENT) * _ALIGNMENT
        self._bytes[start:end] = _canaries(end - start, tensor.dtype).to(self.device)
        flat = self._bytes[body : end - GUARD_BYTES].view(tensor.dtype)
        view = flat.as_strided(tensor.shape, tensor.stride(), flat.storage_offset() + first) if span else flat
        region = Region(path, start, end, view)
        self.regions.append(region)
        layout = {"arena": self.name, "start": body, "span": span if tensor.numel() else 0, "first": first}
        layout |= {"shape": list(tensor.shape), "strides": list(tensor.stride())}
        return region, {"tensor": layout | {"dtype": str(tensor.dtype).removeprefix("torch.")}}

    def given(self) -> list[str]:
        """Paths of all regions that the child may not write."""
        return [one.path for one in self.regions if not one.path.startswith(OUTPUTS)]

    def digests(self, paths: Container[str]) -> dict[str, bytes]:
        """Hash those regions of these paths, with their bands, by path."""
        return {one.path: self._digest(one.start, one.end) for one in self.regions if one.path in paths}

    def _digest(self, start: int, end: int) -> bytes:
        found = self._bytes[start:end].cpu().numpy() if self.device == "cuda" else memoryview(self._memory)[start:end]
        return hashlib.blake2b(found, digest_size=16).digest()


@dataclass(slots=True)
class Placement:
    """Arguments that have places in an arena, and the values that are to come there."""

    described: dict[str, Any]
    pending: list[tuple[Region, Any]]

    def fill(self) -> None:
        """Write the values: until now the places held canaries."""
        for region, tensor in self.pending:
            if tensor.numel():
                region.tensor.copy_(tensor)

    def refill(self, arguments: Arguments) -> None:
        """Write other values, of the same shapes, into the same places."""
        from joulegrid.kernels.module import flat_tensors

        tensors = flat_tensors([list(arguments.args), dict(arguments.kwargs)])
        for (region, _), tensor in zip(self.pending, tensors, strict=True):
            region.tensor.copy_(tensor)


def place(arena: Arena, arguments: Arguments, prefix: str = "inputs") -> Placement:
    """Find places for all tensors of the arguments, without writing their values."""
    pending: list[tuple[Region, Any]] = []

    def described(node: Any, path: str) -> Any:
        import torch

        if isinstance(node, torch.Tensor):
            region, layout = arena.reserve(path, node)
            pending.append((region, node))
            return layout
        if isinstance(node, list | tuple):
            kind = "list" if isinstance(node, list) else "tuple"
            return {kind: [described(item, f"{path}.{index}") for index, item in enumerate(node)]}
        if isinstance(node, Mapping):
            return {"dict": {name: described(item, f"{path}.{name}") for name, item in node.items()}}
        return {"value": node}

    both = {"args": described(list(arguments.args), f"{prefix}.args")}
    both["kwargs"] = described(dict(arguments.kwargs), f"{prefix}.kwargs")
    return Placement(both, pending)


def plain_tree(node: Any) -> dict[str, Any]:
    """Describe a tree of plain values as the child reads it."""
    if isinstance(node, list):
        return {"list": [plain_tree(item) for item in node]}
    if isinstance(node, dict):
        return {"dict": {name: plain_tree(item) for name, item in node.items()}}
    return {"value": node}


def needed_bytes(tree: Any) -> int:
    """Return how much of an arena the tensors of a tree take at most."""
    from joulegrid.kernels.module import flat_tensors

    if isinstance(tree, Arguments):
        tree = [list(tree.args), dict(tree.kwargs)]
    each = (
        (tensor.storage_offset() + _span(tensor)) * tensor.element_size() + 2 * GUARD_BYTES + _ALIGNMENT
        for tensor in flat_tensors(tree)
    )
    return sum(each)


def _span(tensor: Any) -> int:
    if not tensor.numel():
        return 0
    return 1 + sum(int(size - 1) * int(stride) for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _canaries(count: int, dtype: Any) -> Any:
    """Random bytes; for a float dtype with all bits of the exponent set, so that each element is NaN."""
    import torch

    noise = torch.frombuffer(bytearray(os.urandom(min(count, 4096))), dtype=torch.uint8)
    noise = noise.repeat(-(-count // len(noise)))[:count].clone()
    exponents: dict[Any, tuple[tuple[int, int], ...]] = {
        torch.float32: ((2, 0xC0), (3, 0x7F)),
        torch.bfloat16: ((0, 0xC0), (1, 0x7F)),
    }
    exponents |= {torch.float16: ((1, 0x7E),), torch.float64: ((6, 0xF8), (7, 0x7F))}
    for byte, mask in exponents.get(dtype, ()):
        noise[byte :: dtype.itemsize] |= mask
    return noise
