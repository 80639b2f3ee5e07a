"""From raw series to times per call and ratios, each with its interval. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict

from joulegrid.kernels.timing.bootstrap import Bounds, Resampling, call_bounds, ratio_bounds
from joulegrid.kernels.timing.comparison import Comparison
from joulegrid.kernels.timing.flushes import without_flushes
from joulegrid.kernels.timing.pairs import Sample, durations
from joulegrid.kernels.timing.result import Interval, MemberTiming, SeriesSample
from joulegrid.kernels.timing.slope import channel_ns, slope_ns


class Estimates:
    """What a comparison's samples say; the channel's cost is taken from the trusted members."""

    def __init__(self, comparison: Comparison, trusted: Sequence[str], confidence: float) -> None:
        self._comparison = comparison
        self._how = Resampling(confidence)
        samples = without_flushes(comparison.samples)
        names = dict.fromkeys(sample.member for sample in samples)
        self._durations = {name: durations(samples, name) for name in names}
        self._trusted = [self._durations[name] for name in trusted]

    def member(self, name: str) -> MemberTiming:
        """Return a member's time per call and what its processes had beside it."""
        own = self._durations[name]
        return MemberTiming(
            member=name,
            call_s=self._interval(call_bounds(own, self._trusted, self._how), 1e-9),
            slope_s=float(slope_ns(own).mean()) / 1e9,
            first_call_s=self._comparison.first_call_s[name],
            waited_share=waited_share([sample for sample in self._comparison.samples if sample.member == name]),
            peak_memory_bytes=self._comparison.peak_memory_bytes.get(name),
            device_s=median_or_none(self._comparison.device_call_s.get(name, [])),
        )

    def members(self) -> list[MemberTiming]:
        """Return all members' times."""
        return [self.member(name) for name in self._durations]

    def mean_call_s(self, name: str) -> float:
        """Return the mean time of a call over all series, slow ones included: what a window of many is held against."""
        return (
            float(((self._durations[name].elapsed_ns - self.channel_ns()) / self._durations[name].calls).mean()) / 1e9
        )

    def channel_ns(self) -> float:
        """Return what a series costs beside its calls."""
        return channel_ns(self._trusted, list(self._durations.values()))

    def ratio(self, slower: str, faster: str) -> Interval:
        """Return how many times longer a call of one takes than of the other."""
        bounds = ratio_bounds(self._durations[slower], self._durations[faster], self._trusted, self._how)
        return self._interval(bounds)

    def _interval(self, bounds: Bounds, scale: float = 1.0) -> Interval:
        return Interval.of(bounds, self._how.confidence, scale)


def waited_share(samples: Sequence[Sample]) -> float | None:
    """Return the share of series that was spent waiting for a core; `None` where the kernel does not count it."""
    waited = [sample.waited_ns for sample in samples if sample.waited_ns is not None]
    return sum(waited) / sum(sample.elapsed_ns for sample in samples) if len(waited) == len(samples) else None


def median_or_none(values: Sequence[float]) -> float | None:
    """Return the middle value; `None` of no values."""
    return statistics.median(values) if values else None


def raw(comparison: Comparison) -> list[SeriesSample]:
    """Return samples as a result keeps them."""
    return [SeriesSample.model_validate(asdict(sample)) for sample in comparison.samples]


def fastest(members: Sequence[MemberTiming]) -> MemberTiming:
    """Return the member with the least time per call."""
    return min(members, key=lambda member: member.call_s.estimate)
