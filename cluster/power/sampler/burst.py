"""When the sampling process reads faster than its period: for a moment after a mark."""

from __future__ import annotations

FAST_NS = 5_000_000
TICKS = 2
"""Ticks of each counter that are watched after a mark: the one that closes the edge, and one for the power after it."""
LONGEST_NS = 1_200_000_000  # a board that publishes each 500 ms shows two ticks in it
BLIND_NS = 250_000_000  # how long without any counter: two updates at 100 ms
SHARE = 0.2
"""Fast readings may go on for this share of all time, so that many short windows do not load the driver."""
SAVED_NS = 2_400_000_000


class Burst:
    """Fast reading from a mark until every counter has ticked twice."""

    def __init__(self, fast_ns: int) -> None:
        self._fast_ns = fast_ns
        self._ends_ns = 0
        self._ticks: dict[str, int] = {}
        self._values: dict[str, float] = {}
        self._saved_ns = SAVED_NS
        self._seen_ns = 0

    def begin(self, now_ns: int) -> None:
        """Take a mark."""
        self._ends_ns = now_ns + (LONGEST_NS if self._values else BLIND_NS)
        self._ticks = dict.fromkeys(self._values, 0)

    def saw(self, device: str, counter_j: float | None) -> None:
        """Take a counter's newest value."""
        if counter_j is None:
            return
        if self._values.get(device, counter_j) != counter_j and device in self._ticks:
            self._ticks[device] += 1
        self._values[device] = counter_j

    def is_on(self, now_ns: int) -> bool:
        """Whether the next reading should be a fast one; a reading that is granted is counted."""
        self._saved_ns = min(SAVED_NS, self._saved_ns + int((now_ns - self._seen_ns) * SHARE))
        self._seen_ns = now_ns
        if now_ns >= self._ends_ns or self._saved_ns < self._fast_ns:
            return False
        if self._ticks and min(self._ticks.values()) >= TICKS:
            self._ends_ns = 0
            return False
        self._saved_ns -= self._fast_ns
        return True
