"""A GPU's own clock beside the judge's: whether they agree, whether work was put off, when the cache is flushed. Pure.

Time by the judge's clock is the claim. What a child says of its device's clock is hearsay, taken by code that was there
before the candidate: it may speak against a candidate, never for it. Members are held against the trusted ones of the
same comparison, so that what is peculiar to a GPU or a driver condemns nobody.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence

from joulegrid.kernels.judge.verdict import Evidence
from joulegrid.kernels.timing.pairs import FLUSHES, Sample
from joulegrid.kernels.timing.result import LAUNCH_BOUND_S

AGREEMENT_SHARE = 0.1
"""Of a series, by which the two clocks may differ more than those of trusted members do."""
AGREEMENT_S = 100e-6
"""And so long besides: what waking a process up takes now and then."""
COPY_SHARE = 0.2
"""Of a series, by which copying a member's outputs may take longer than copying the same of trusted ones."""
COPY_S = 500e-6
LONGEST_LEAD_S = 2.0
_LEAD_FACTOR = 1.5
DEVICE_CALLS = 32
"""Calls that device time is taken of, in each fresh process."""


def needs_flush(call_s: float, set_bytes: int, calls: int, cache_bytes: int | None) -> bool:
    """Tell whether the cache is flushed before each call of a series of 2N.

    Where its inputs are not more than the cache. Never for a call that is mostly launching: launching would hide behind
    the flush, and what was left would be no time per call.
    """
    return cache_bytes is not None and 2 * calls * set_bytes <= cache_bytes and call_s >= LAUNCH_BOUND_S


def lead_s(call_s: float, calls: int) -> float:
    """Return how long a device must pause so that these calls are queued before the first of them begins."""
    return min(_LEAD_FACTOR * call_s * calls + 1e-3, LONGEST_LEAD_S)


def device_call_s(times_ns: Sequence[int]) -> float | None:
    """Return the seconds of the middle call; `None` where the device has no clock."""
    return statistics.median(times_ns) / 1e9 if times_ns else None


def disagreement(samples: Sequence[Sample], candidate: str) -> Evidence | None:
    """Say where the candidate's device tells another time than the judge's clock; `None` where it agrees.

    Compared is the least that the judge's clock shows more, over the longest series: a busy machine only adds to it.
    The trusted members' is what the channel takes.
    """
    more = {name: _least([_more(one) for one in own]) for name, own in _longest(samples).items()}
    found = more.pop(candidate, None)
    usual = [value for value in more.values() if value is not None]
    if not usual:
        return None
    if found is None:
        return _evidence("a time of every series", "none")
    elapsed_s = (_least([one.elapsed_ns for one in _longest(samples)[candidate]]) or 0) / 1e9
    allowed_s = AGREEMENT_SHARE * elapsed_s + AGREEMENT_S
    apart_s = max(min(usual) - found, found - max(usual)) / 1e9
    if apart_s <= allowed_s:
        return None
    return _evidence(
        f"events of the device that agree with the judge's clock within {allowed_s * 1e6:.0f} µs a series",
        f"{apart_s * 1e6:.0f} µs apart, of {elapsed_s * 1e6:.0f} µs",
    )


def _evidence(expected: str, found: str) -> Evidence:
    advice = "compute on the current stream, and leave streams, events and clocks alone"
    return Evidence(check="device clock", where="timed series", expected=expected, found=found, advice=advice)


def postponement(samples: Sequence[Sample], candidate: str) -> Evidence | None:
    """Say where copying the candidate's outputs takes so long that it may have computed them then; `None` if not."""
    took = {name: _least([one.copied_ns for one in own]) for name, own in _longest(samples).items()}
    found = took.pop(candidate, None)
    usual = [value for value in took.values() if value is not None]
    if found is None or not usual:
        return None
    elapsed_ns = _least([one.elapsed_ns for one in _longest(samples)[candidate]]) or 0
    allowed_ns = max(usual) + COPY_SHARE * elapsed_ns + COPY_S * 1e9
    if found <= allowed_ns:
        return None
    return Evidence(
        check="copy of outputs",
        where="after timed series",
        expected=f"{allowed_ns / 1e3:.0f} µs at most",
        found=f"{found / 1e3:.0f} µs",
        advice="all work must be done when forward's results are ready; nothing may be left for later",
    )


def _longest(samples: Collection[Sample]) -> dict[str, list[Sample]]:
    """Each member's long series, one of each pair."""
    longest: dict[tuple[int, int], int] = {}
    for one in samples:
        longest[one.process, one.pair] = max(one.calls, longest.get((one.process, one.pair), 0))
    found: dict[str, list[Sample]] = {}
    for one in samples:
        if one.calls == longest[one.process, one.pair] and one.member != FLUSHES:
            found.setdefault(one.member, []).append(one)
    return found


def _more(sample: Sample) -> int | None:
    return None if sample.device_ns is None else sample.elapsed_ns - sample.device_ns


def _least(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return min(known) if known and len(known) == len(values) else None
