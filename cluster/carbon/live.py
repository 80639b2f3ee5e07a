"""A service behind a cache: past hours are asked for once, errors back off, and an old copy says how old it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from joulegrid.cluster.carbon.cache import Cache, Kept, Key
from joulegrid.cluster.carbon.http import FetchError
from joulegrid.cluster.carbon.intensity import Intensity, Signal, now_text, unknown
from joulegrid.cluster.carbon.services import Service

FRESH_S = 900.0
"""How long a value that may still change (the current hour, an estimate) is not asked for again."""
_RECENT_S = 86_400.0
LONGEST_WAIT_S = 10.0
"""A service that asks for a longer rest gets it, but nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a service is waited for."""

    tries: int = 3
    """Attempts at one question."""
    first_wait_s: float = 0.5
    """Before the second attempt; each further wait is twice as long."""
    timeout_s: float = 10.0
    """For one answer."""
    rest_s: float = 30.0
    """After a question without an answer nobody is asked for so long; twice as long after each further one."""
    longest_rest_s: float = 1_800.0


@dataclass(slots=True)
class Live:
    """A provider that asks a service and keeps its answers."""

    service: Service
    cache: Cache = field(default_factory=Cache)
    offline: bool = False
    """Take what is kept and ask nobody."""
    patience: Patience = Patience()
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    _asked_s: dict[tuple[datetime, Signal], float] = field(default_factory=dict, init=False)
    """When an hour that the service did not know was asked for."""
    _seen: dict[tuple[datetime, Signal], Kept] = field(default_factory=dict, init=False)
    """What this process has read or fetched: the folder is looked at once for each hour, and may be read-only."""
    _rests: dict[object, tuple[float, str]] = field(default_factory=dict, init=False)
    """Of which questions there is nothing to be had until when, and why; `None` is any question."""
    _failures: int = field(default=0, init=False)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name

    def complaint(self) -> str | None:
        """Say that credentials are missing; a wrong one, or an unknown zone, only the service can tell."""
        return None if self.offline else self.service.missing()

    def intensity(self, hour: datetime, signal: Signal) -> Intensity:
        """Return the hour's intensity: kept, fetched, or an old copy with its age; else null with the reason."""
        refused = self.service.refuses(signal)
        if refused is not None:
            return unknown(self.name, signal, refused, self.service.zone)
        with self._one_at_a_time:
            kept = self._kept(hour, signal)
            if kept is not None and self._is_fresh(kept):
                return self._told(kept, signal)
            reason = self._renew(hour, signal)
            renewed = self._kept(hour, signal)
            if renewed is not None and renewed is not kept:
                return self._told(renewed, signal)
            reason = reason or f"{self.name} has no value for {hour:%Y-%m-%d %H}:00 UTC"
            if kept is None:
                return unknown(self.name, signal, reason, self.service.zone)
            return self._told(kept, signal).model_copy(
                update={"age_s": round(self.clock() - kept.fetched_s), "reason": reason}
            )

    def _kept(self, hour: datetime, signal: Signal) -> Kept | None:
        seen = self._seen.get((hour, signal))
        if seen is None or not self._is_fresh(seen):  # another process may know more
            found = self.cache.get(self._key(signal), hour)
            if found is not None and (seen is None or found.fetched_s > seen.fetched_s):
                seen = self._seen[hour, signal] = found
        return seen

    def _is_fresh(self, kept: Kept) -> bool:
        return kept.hourly.is_final or 0 <= self.clock() - kept.fetched_s < FRESH_S

    def _renew(self, hour: datetime, signal: Signal) -> str | None:
        """Ask for an hour and keep what comes; return why nothing could be asked."""
        now_s = self.clock()
        missing = "offline: nothing was asked" if self.offline else self.service.missing()
        if missing is not None:
            return missing
        question = (signal, self._is_past(hour))
        for until_s, why in (self._rests.get(None, (0.0, "")), self._rests.get(question, (0.0, ""))):
            if now_s < until_s:
                return why
        if now_s - self._asked_s.get((hour, signal), -FRESH_S) < FRESH_S:
            return None
        try:
            self._ask(hour, signal)
        except FetchError as error:
            return self._rest(error, question)
        self._asked_s[hour, signal], self._failures = now_s, 0
        return None

    def _ask(self, hour: datetime, signal: Signal) -> None:
        wait_s = self.patience.first_wait_s
        for left in reversed(range(self.patience.tries)):
            try:
                now = datetime.fromtimestamp(self.clock(), UTC)
                found = self.service.fetch(hour, now, signal, self.patience.timeout_s)
                break
            except FetchError as error:
                rest_s = max(wait_s, error.retry_after_s or 0.0)
                if not error.is_passing or not left or rest_s > LONGEST_WAIT_S:
                    raise
                self.sleep(rest_s)
                wait_s *= 2
        for one, hourly in found.items():
            kept = self._seen[one, signal] = Kept(hourly, self.clock())
            self.cache.put(self._key(signal), one, kept)

    def _is_past(self, hour: datetime) -> bool:
        """Whether an hour is out of reach of what a free account may ask."""
        return self.clock() - hour.timestamp() >= _RECENT_S

    def _rest(self, error: FetchError, question: object) -> str:
        """Leave the service alone for a while that grows; a refusal holds for questions of its kind alone."""
        self._failures += 1
        rest_s = min(self.patience.rest_s * 2 ** (self._failures - 1), self.patience.longest_rest_s)
        rest_s = rest_s if error.is_passing else self.patience.longest_rest_s
        is_of_all = error.is_passing or error.status == 401
        until_s = self.clock() + max(rest_s, error.retry_after_s or 0.0)
        self._rests[None if is_of_all else question] = (until_s, str(error))
        return str(error)

    def _key(self, signal: Signal) -> Key:
        return Key(self.name, self.service.zone, signal, self.service.factor_of(signal))

    def _told(self, kept: Kept, signal: Signal) -> Intensity:
        return Intensity(
            g_per_kwh=kept.hourly.g_per_kwh,
            signal=signal,
            source=self.name,
            zone=kept.hourly.zone,
            factor_type=self.service.factor_of(signal),
            is_estimated=kept.hourly.is_estimated,
            fetched_at=now_text(kept.fetched_s),
            licence=self.service.licence,
        )
