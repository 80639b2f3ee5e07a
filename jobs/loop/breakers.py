"""The circuit breakers of a run: one a lane, one a family of experiments, one for the study. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Literal

from joulegrid.actors.outcome import Outcome
from joulegrid.jobs.loop.breaker import Breaker
from joulegrid.jobs.state.states import At
from joulegrid.jobs.study.execution import CircuitBreaker

LANE_FAULTS = ("infra", "contaminated")
"""Failures that are the lane's, not the experiment's."""
SAID = 300
"""Letters of the last failure's message in a note."""
NO_FAULT = ("cancelled", "unschedulable")
"""Failures that say nothing of lane, family or study."""


@dataclass
class Breakers:
    """Takes every outcome, and says which lane, family or study is held back or given up."""

    settings: CircuitBreaker | None
    family_of: Callable[[int], Hashable]
    """What an experiment has in common with others that may break as one; `None` where all are one family."""
    notes: list[str] = field(default_factory=list)
    """What breakers did and nobody has taken note of yet."""
    expected: set[str] = field(default_factory=set)
    """Lanes that may still ask for work, whether they have or not."""
    over: str | None = None
    """Why the rest of the study is given up."""
    _lanes: dict[str, Breaker] = field(default_factory=dict)
    _families: dict[Hashable, Breaker] = field(default_factory=dict)
    _study: Breaker = field(init=False)

    def __post_init__(self) -> None:
        self._study = self._new("study")

    @property
    def n_lanes(self) -> int:
        """Number of lanes that still get work."""
        return len(self._lanes) - len(self.quarantined())

    def hold(self, lane: str, now_s: float) -> tuple[float, str] | None:
        """Return until when and why nothing may begin on a lane."""
        breaker = self._lanes.setdefault(lane, self._new("lane"))
        for one, why in ((breaker, "quarantined until a probe"), (self._study, "the study cools down")):
            until_s = one.wait_until(now_s)
            if until_s is not None:
                return until_s, why
        return None

    def lanes(self) -> set[str]:
        """Return the lanes that have asked for work, those in quarantine included."""
        return set(self._lanes)

    def is_quarantined(self, lane: str) -> bool:
        """Whether a lane gets nothing more."""
        return lane in self._lanes and self._lanes[lane].given_up

    def quarantined(self) -> list[str]:
        """Return the lanes that get nothing more."""
        return [lane for lane, breaker in self._lanes.items() if breaker.given_up]

    def is_quiet(self) -> bool:
        """Whether nothing has failed since the last success: no breaker is about to open."""
        breakers = [self._study, *self._lanes.values(), *self._families.values()]
        return not any(one.in_a_row or one.is_open for one in breakers)

    def unclosed(self) -> dict[str, int]:
        """Count what is held back or given up now: lanes, families of experiments, the study."""
        kinds = {"lane": self._lanes.values(), "family": self._families.values(), "study": [self._study]}
        return {kind: sum(one.is_open or one.given_up for one in breakers) for kind, breakers in kinds.items()}

    def drop(self, lane: str) -> None:
        """Forget a lane that is gone."""
        self._lanes.pop(lane, None)

    def family_wait(self, index: int, now_s: float) -> float | None:
        """Return until when an experiment's family cools down."""
        family = self._families.get(self.family_of(index)) if self._families else None
        return family.wait_until(now_s) if family is not None else None

    def is_given_up(self, index: int) -> bool:
        """Whether an experiment's family is left out from now on."""
        family = self._families.get(self.family_of(index)) if self._families else None
        return family is not None and family.given_up

    def begin(self, lane: str, at: At) -> None:
        """Note that a task begins; it is the probe of every breaker above it that is open."""
        for breaker in self._of(lane, at[0]):
            breaker.begin(at)

    def forget(self, outcome: Outcome) -> None:
        """Note that a task ended without saying anything."""
        for breaker in self._of(outcome.lane, outcome.index):
            breaker.forget_probe((outcome.index, outcome.cycle))

    def record(self, outcome: Outcome, now_s: float, *, final: bool) -> None:
        """Take an outcome; family and study look at final ones only."""
        if outcome.failure_class in NO_FAULT:
            return
        lane, at = self._lanes.get(outcome.lane), (outcome.index, outcome.cycle)
        if lane is not None and lane.record(at, failed=is_lane_fault(outcome), now_s=now_s):
            self._tell(f"lane {outcome.lane}", lane, outcome, "it is quarantined")
        if self._lanes and not self.n_lanes and not self.expected - set(self.quarantined()):
            self.over = "every lane is quarantined"
        if final:
            self._record_final(outcome, now_s)
        else:
            self._study.forget_probe(at)
            if self.family_of(outcome.index) in self._families:
                self._families[self.family_of(outcome.index)].forget_probe(at)

    def _record_final(self, outcome: Outcome, now_s: float) -> None:
        failed, key, at = outcome.status == "failed", self.family_of(outcome.index), (outcome.index, outcome.cycle)
        if failed and key is not None and key not in self._families:
            self._families[key] = self._new("family")
        family = self._families.get(key)
        if family is not None and family.record(at, failed=failed, now_s=now_s):
            self._tell(f"family {key}", family, outcome, "its rest is skipped")
        if self._study.record(at, failed=failed, now_s=now_s):
            self._tell("the study", self._study, outcome, "its rest is skipped")
            self.over = self.notes[-1] if self._study.given_up else self.over

    def _of(self, lane: str, index: int) -> list[Breaker]:
        found = [self._lanes.get(lane), self._study, self._families.get(self.family_of(index))]
        return [breaker for breaker in found if breaker is not None]

    def _tell(self, what: str, breaker: Breaker, outcome: Outcome, end: str) -> None:
        said = f" ({outcome.message[:SAID]})" if outcome.message and is_lane_fault(outcome) else ""
        failures = f"{breaker.in_a_row} failures in a row, the last of class {outcome.failure_class}{said}"
        then = f"the probe failed too, {end}" if breaker.given_up else f"one probe after {breaker.cooldown_s:g} s"
        self.notes.append(f"{what}: {failures}: {then}")

    def _new(self, scope: Literal["lane", "family", "study"]) -> Breaker:
        if self.settings is None:
            return Breaker(limit=2**63, cooldown_s=0.0)  # never opens
        return Breaker(int(getattr(self.settings, f"{scope}_failures")), self.settings.cooldown_seconds)


def is_lane_fault(outcome: Outcome) -> bool:
    """Whether a task ended as it did because of its lane."""
    return outcome.failure_class in LANE_FAULTS or getattr(outcome, "lane_fault", None) is not None
