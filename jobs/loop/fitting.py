"""A source of visits without those that no lane can serve: they end as `unschedulable`, and the others go on. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from joulegrid.jobs.loop.schedule import Rest, Source
from joulegrid.jobs.state.states import At


@dataclass(frozen=True, slots=True)
class Fitting:
    """Hands on what fits; everything else is refused with its reason."""

    source: Source
    misfit: Callable[[int], str | None]
    """Why an experiment fits no lane."""
    refuse: Callable[[At, str], object]
    is_over: Callable[[], bool] = lambda: False
    """Whether nothing more is to be handed out."""

    def take(self, lane: str) -> At | Rest | None:
        """Return the lane's next visit that fits."""
        while not self.is_over() and isinstance(found := self.source.take(lane), tuple):
            why = self.misfit(found[0])
            if why is None:
                return found
            self.refuse(found, why)
        return None if self.is_over() else found
