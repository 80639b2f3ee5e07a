"""Shapes of load for a simulated GPU: pieces of power, one after another. Times in seconds, powers in watts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple


class Hold(NamedTuple):
    """Power for a while, constant or on a straight line."""

    seconds: float
    power_w: float
    end_w: float | None = None


def flat(power_w: float) -> Iterator[Hold]:
    """One power, without end."""
    return repeat(Hold(3600.0, power_w))


def ramp(from_w: float, to_w: float, seconds: float) -> Iterator[Hold]:
    """A straight line."""
    yield Hold(seconds, from_w, to_w)


def square(high_w: float, low_w: float, period_s: float, duty: float = 0.25) -> Iterator[Hold]:
    """Pulses without end."""
    while True:
        yield Hold(period_s * duty, high_w)
        yield Hold(period_s * (1 - duty), low_w)


def llm(random: random.Random, peak_w: float, idle_w: float) -> Iterator[Hold]:
    """Requests one after another: a prefill near the peak, decode steps of some ms that pulse, a short pause."""
    while True:
        yield Hold(random.uniform(0.03, 0.3), peak_w * random.uniform(0.93, 1.0))
        step_s, busy, share = random.uniform(0.012, 0.04), random.uniform(0.6, 0.9), random.uniform(0.5, 0.75)
        for _ in range(int(random.uniform(0.3, 2.0) / step_s)):
            yield Hold(step_s * busy, peak_w * share)
            yield Hold(step_s * (1 - busy), idle_w + 0.55 * (peak_w * share - idle_w))
        yield Hold(random.uniform(0.005, 0.03), idle_w * 1.3)


def cut(holds: Iterator[Hold], seconds: float) -> Iterator[Hold]:
    """The first `seconds` of a shape."""
    left_s = seconds
    for hold in holds:
        if hold.seconds >= left_s:
            end_w = None if hold.end_w is None else hold.power_w + (hold.end_w - hold.power_w) * left_s / hold.seconds
            yield Hold(left_s, hold.power_w, end_w)
            return
        left_s -= hold.seconds
        yield hold
