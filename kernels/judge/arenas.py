"""The two arenas of a session, that of weights and that of inputs, and where the child says that it has them."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from joulegrid.kernels.judge.exchange import Exchange
from joulegrid.kernels.judge.memory import Arena
from joulegrid.kernels.judge.outcome import counts
from joulegrid.kernels.judge.returned import Spans

WEIGHTS, INPUTS = 0, 1
LEAST_BYTES = 1 << 20


class Arenas:
    """Memory that the judge made and the child has mapped; made anew where it is too small."""

    def __init__(self, exchange: Exchange, device: str) -> None:
        self._exchange, self._device = exchange, device
        self._arenas: dict[int, Arena] = {}
        self._addresses: dict[int, int] = {}

    def empty(self, number: int, byte_count: int) -> Arena:
        """Return an arena without regions that has room for so many bytes."""
        known = self._arenas.get(number)
        if known is None or known.size < byte_count:
            if known is not None:
                self._exchange.build({"do": "release", "name": number}, "arena")
                self._arenas.pop(number).close()
            self._map(number, max(LEAST_BYTES, 2 * byte_count))
        arena = self._arenas[number]
        arena.reset()
        return arena

    def given(self) -> list[str]:
        """Paths of all regions that the child may not write."""
        return [path for arena in self._arenas.values() for path in arena.given()]

    def digests(self, paths: Container[str]) -> dict[str, bytes]:
        """Hash the regions of these paths, with their bands, by path."""
        found: dict[str, bytes] = {}
        for arena in self._arenas.values():
            found |= arena.digests(paths)
        return found

    def spans(self) -> Spans:
        """Where they lie in the child."""
        return [(self._addresses[name], arena.size) for name, arena in self._arenas.items()]

    def close(self) -> None:
        """Give all memory back."""
        for arena in self._arenas.values():
            arena.close()

    def _map(self, number: int, size: int) -> None:
        arena = self._arenas[number] = Arena(number, size, self._device)
        message: dict[str, Any] = {"do": "arena", "name": number, "size": size}
        if arena.handle is not None:
            message |= {"do": "cuda_arena", "handle": arena.handle}
        descriptors = [] if arena.handle is not None else [arena.descriptor]
        said = self._exchange.build(message, "arena", descriptors)
        self._addresses[number] = counts(said).get("address", 0)
