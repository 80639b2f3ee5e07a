"""What the driver learns when a task has ended. Small, because it crosses Ray; the result itself lies in the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from joulegrid.actors.result import FailureClass, Task

UNKEPT = "its result could not be kept: "
"""How the message of a task begins whose lane could not write to the store."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Joules of one attempt in one hour."""

    unix_s: int
    """An instant in that hour, seconds since 1970."""
    provenance: str | None
    energy_j: float | None
    """`None` where the energy of a window is unknown."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the driver learns when a task has ended; small, because it crosses Ray."""

    task_id: str
    index: int
    cycle: int
    attempt: int
    status: Literal["done", "failed"]
    lane: str
    path: str
    """Folder of the attempt inside the store."""
    sha256: str | None
    size: int
    duration_s: float
    energy_j: float | None = None
    provenance: str | None = None
    source: str | None = None
    scope: str | None = None
    failure_class: FailureClass | None = None
    message: str | None = None
    spent: tuple[Spent, ...] = ()
    """The joules of all its windows; empty where nothing was measured, as of most that failed."""
    lane_fault: str | None = None
    """Why the lane should have no further task for now, whatever became of this one; `None` where it is well."""
    is_given_back: bool = False
    """Whether the task is to be handed out again as if it had not been: it was ordered together with one that ended
    otherwise than it should."""

    @classmethod
    def given_back(cls, task: Task, lane: str) -> Outcome:
        """Return the outcome of a task that its worker has not begun or not committed: `cancelled`, no try is used."""
        return replace(cls.lost(task, lane, "it was given back"), failure_class="cancelled", is_given_back=True)

    @classmethod
    def lost(cls, task: Task, lane: str, message: str, lane_fault: str | None = None) -> Outcome:
        """Return the outcome of a task that machine, worker or store failed: class `infra`, nothing stored."""
        return cls(
            task_id=task.id,
            index=task.index,
            cycle=task.cycle,
            attempt=task.attempt,
            status="failed",
            lane=lane,
            path="",
            sha256=None,
            size=0,
            duration_s=0.0,
            failure_class="infra",
            message=message,
            lane_fault=lane_fault,
        )
