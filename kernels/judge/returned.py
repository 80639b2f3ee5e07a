"""What a child returned: read where it lies, compared with what it may not share, looked at again some calls later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from joulegrid.kernels.judge import faults
from joulegrid.kernels.judge.foreign_memory import Layout, Unreadable, read_tensor
from joulegrid.kernels.judge.outcome import plain_text

REHASH_DISTANCE = 5
"""Outputs of a call are looked at again so many calls later."""
Spans = Sequence[tuple[int, int]]
"""Addresses in the child with the bytes from there."""


@dataclass(frozen=True, slots=True)
class _Kept:
    call: int
    layouts: list[Layout]
    copies: list[Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the module's state, as the child says it is."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    extent: tuple[int, int]

    @classmethod
    def read(cls, name: Any, shape: Any, dtype: Any, address: Any, size: Any) -> Entry:
        """Check what was said; `TypeError` or `ValueError` for what no entry can be."""
        return cls(plain_text(name), tuple(map(int, shape)), plain_text(dtype), (int(address), int(size)))


class Returned:
    """The outputs of one child's last calls."""

    def __init__(self, pid: int, device: str) -> None:
        self._pid, self._device = pid, device
        self._kept: list[_Kept] = []
        self._calls = 0

    def forget(self) -> None:
        """Begin anew: the child holds none of the earlier outputs any more."""
        self._kept, self._calls = [], 0

    def read(
        self, said: Mapping[str, Any], like: Sequence[Any], sinks: Sequence[Any]
    ) -> tuple[list[Layout], list[Any]]:
        """Return the outputs' layouts, and copies of what lies there or, on a GPU, in the judge's `sinks`.

        What has another shape or dtype than `like` is not read: in its place stands a tensor without content.
        """
        import torch

        try:
            layouts = [Layout.read(one) for one in said["outputs"]]
            outputs = []
            for at, layout in enumerate(layouts):
                if at >= len(like) or not _fits(layout, like[at]):
                    outputs.append(torch.empty(layout.shape, dtype=getattr(torch, layout.dtype), device="meta"))
                elif layout.device != self._device:
                    raise faults.elsewhere(layout.device, self._device)
                elif self._device == "cuda":
                    outputs.append(sinks[at].clone())
                else:
                    outputs.append(read_tensor(self._pid, layout))
        except Unreadable as error:
            raise faults.unreadable(str(error)) from None
        except (KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise faults.garbled("forward", f"outputs that cannot be: {error}") from None
        return layouts, outputs

    def aliases(self, layouts: Sequence[Layout], known: Mapping[str, Spans]) -> tuple[str, ...]:
        """Return the names of what outputs share memory with: of the known spans, and `earlier outputs`."""
        earlier = [_extent(layout) for kept in self._kept for layout in kept.layouts]
        spans = [_extent(layout) for layout in layouts]
        every = {**known, "earlier outputs": earlier}
        return tuple(name for name, others in every.items() if any(_overlap(a, b) for a in spans for b in others))

    def shared(self, calls: Sequence[Mapping[str, Any]], known: Mapping[str, Spans]) -> tuple[str, ...]:
        """Return the names of what the outputs of a series share memory with: as `aliases`, `other calls` included."""
        try:
            spans = [
                (*_extent(Layout.read(one)), number) for number, said in enumerate(calls) for one in said["outputs"]
            ]
        except Unreadable as error:
            raise faults.unreadable(str(error)) from None
        except (KeyError, TypeError) as error:
            raise faults.garbled("series", f"outputs that cannot be: {error}") from None
        known_spans = [(*span, name) for name, others in known.items() for span in others if span[1] > 0]
        return tuple(dict.fromkeys(_overlapping([*spans, *known_spans])))

    def rehashed(self) -> int | None:
        """Look again at the outputs of a call some calls ago; return its number where they have changed."""
        if self._device == "cuda" or len(self._kept) < REHASH_DISTANCE:
            return None
        kept = self._kept[0]
        with suppress(Unreadable):
            again = [read_tensor(self._pid, layout) for layout in kept.layouts]
            if all(same_bits(old, new) for old, new in zip(kept.copies, again, strict=True)):
                return None
        return kept.call

    def keep(self, layouts: list[Layout], outputs: list[Any]) -> None:
        """Remember a call's outputs."""
        self._calls += 1
        if not any(output.device.type == "meta" for output in outputs):
            self._kept = [*self._kept, _Kept(self._calls, layouts, outputs)][-REHASH_DISTANCE:]


def described_calls(said: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return what a child said of each call of a series; the tampering it is where it did not."""
    calls = said.get("calls")
    if not isinstance(calls, list) or len(calls) != count or not all(isinstance(one, dict) for one in calls):
        raise faults.garbled("series", f"no description of {count} calls")
    return calls


def relocated(said: Mapping[str, Any], described: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return the same of a series of which addresses alone were said: the rest is as in the last described call."""
    like = described[0] if described else {"structure": None, "outputs": []}
    try:
        return [
            {**like, "outputs": [{**one, "address": at} for one, at in zip(like["outputs"], call, strict=True)]}
            for call, _ in zip(said["addresses"], range(count), strict=True)
        ]
    except (TypeError, ValueError, KeyError) as error:
        raise faults.garbled("series", f"outputs that cannot be: {error}") from None


def same_bits(left: Any, right: Any) -> bool:
    """Tell whether two tensors hold the same bits, NaN included."""
    import torch

    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    return bool(torch.equal(left.reshape(-1).view(torch.uint8), right.reshape(-1).view(torch.uint8)))


def _fits(layout: Layout, like: Any) -> bool:
    return layout.shape == tuple(like.shape) and layout.dtype == str(like.dtype).removeprefix("torch.")


def _extent(layout: Layout) -> tuple[int, int]:
    import torch

    return layout.address, layout.span * int(getattr(torch, layout.dtype).itemsize)


def _overlapping(spans: Sequence[tuple[int, int, int | str]]) -> Iterator[str]:
    """Names of what numbered spans lie in: `other calls` for a span of another number. Known ones may share theirs."""
    end, owner = 0, None
    for start, size, whose in sorted((span for span in spans if span[1] > 0), key=lambda span: span[:2]):
        names = [str(one) for one in (owner, whose) if isinstance(one, str)]
        if start < end and owner != whose and len(names) < 2:
            yield names[0] if names else "other calls"
        if start + size > end:
            end, owner = start + size, whose


def _overlap(left: tuple[int, int], right: tuple[int, int]) -> bool:
    return left[0] < right[0] + right[1] and right[0] < left[0] + left[1] and min(left[1], right[1]) > 0
