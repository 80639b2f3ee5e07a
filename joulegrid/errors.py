"""The one family of errors that a user meets.

::

    JoulegridError            70  our own fault: a bug, or a state that should not exist
    ├── UsageError             2  the command, the study or a value in it is wrong
    ├── PreFlightError         1  the study is right, but this machine cannot run it now
    ├── RunHeldError           1  another driver holds the run
    ├── StudyDrained          75  its time was up; the next start goes on
    └── StudyInterrupted     130  a person stopped it

Each message says what was given, what is allowed and what to do. The command line prints it without a
traceback and leaves with `exit_code`. What goes wrong *inside* a task is not an error but a failed result
(`joulegrid.actors.result.Failure`).
"""

from __future__ import annotations


class JoulegridError(Exception):
    """The root of the family; raised itself only for faults of our own."""

    exit_code = 70


class UsageError(JoulegridError):
    """The command, the study or a value in it is wrong; nothing was started."""

    exit_code = 2


class PreFlightError(JoulegridError):
    """The study is valid but cannot run here now: a back end, a device, a store or a right is missing."""

    exit_code = 1


class RunHeldError(PreFlightError):
    """Another driver that is alive holds the run."""


class StudyInterrupted(JoulegridError):  # noqa: N818 - a person's wish, not an error
    """A person stopped the study; what was finished is kept and the next start goes on from there."""

    exit_code = 130


class StudyDrained(JoulegridError):  # noqa: N818 - an orderly end, not an error
    """The time that a run was given is over; what was finished is kept and the next start goes on from there."""

    exit_code = 75
