"""A circuit breaker: failures in a row, a time to cool, one probe, then either all is well or it is given up. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass
class Breaker:
    """Watches one thing that may have broken. Times are seconds of the caller's clock."""

    limit: int
    """Failures in a row that open it."""
    cooldown_s: float
    in_a_row: int = 0
    given_up: bool = False
    """Whether the probe failed too: nothing more is to be tried."""
    _opened_s: float | None = None
    _probe: Hashable = None
    """What is out to decide; others that began before and end now decide nothing."""

    @property
    def is_open(self) -> bool:
        """Whether it is cooling or being probed."""
        return self._opened_s is not None

    def wait_until(self, now_s: float) -> float | None:
        """Return until when nothing may be begun; `None` when something may: anything, or the one probe."""
        if self._opened_s is None:
            return None
        cooled_s = self._opened_s + self.cooldown_s
        if self._probe is not None:
            return max(cooled_s, now_s + 1.0)  # the probe's outcome decides, whenever it comes
        return cooled_s if now_s < cooled_s else None

    def begin(self, what: Hashable) -> None:
        """Note that something is begun; while open, it is the probe."""
        if self.is_open:
            self._probe = what

    def forget_probe(self, what: Hashable) -> None:
        """Note that what was begun said nothing, as when it was cancelled."""
        if self._probe == what:
            self._probe = None

    def record(self, what: Hashable, *, failed: bool, now_s: float) -> bool:
        """Take an outcome; return whether this one opened the breaker or made it give up."""
        probed = self._probe is not None and self._probe == what
        if probed or not failed:
            self._probe = None
        if not failed:
            self.in_a_row, self._opened_s = 0, None
            return False
        self.in_a_row += 1
        if probed:
            self.given_up = True
            return True
        if self._opened_s is None and self.in_a_row >= self.limit:
            self._opened_s = now_s
            return True
        return False
