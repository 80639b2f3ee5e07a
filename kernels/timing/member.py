"""A member of a comparison: code in a fresh child of the judge's zygote, pinned to cores, ready to be timed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joulegrid.errors import PreFlightError
from joulegrid.kernels.judge.candidate import Code
from joulegrid.kernels.judge.limits import Limits
from joulegrid.kernels.judge.session import Session, open_session
from joulegrid.kernels.judge.verdict import CandidateFault, Evidence, Verdict
from joulegrid.kernels.judge.zygote import Zygote
from joulegrid.kernels.problem import Arguments
from joulegrid.kernels.timing.conditions import prefer, preferred, waited_ns


@dataclass(frozen=True, slots=True)
class Member:
    """What is to be timed, and what its process may take."""

    name: str
    code: Code
    limits: Limits
    trusted: bool = True
    """False for the candidate: what it does wrong is its own verdict."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is the same for every member: construction, weights, outputs as they should be, cores."""

    init: Arguments
    dtype: str
    state: Mapping[str, Any]
    like: Sequence[Any]
    """Tensors as the outputs should be."""
    cores: Sequence[int]
    """Empty: not pinned."""


class BaselineFailed(PreFlightError):  # noqa: N818 - whether that matters depends on the baseline
    """A member that is trusted could not be run here."""

    def __init__(self, member: str, fault: CandidateFault) -> None:
        super().__init__(f"{member}: {fault.evidence.where}: {fault.evidence.found}")
        self.member = member
        self.reason = f"{fault.evidence.where}: {fault.evidence.found}".partition("\n")[0][:300]


@dataclass(slots=True)
class TimedMember:
    """A `TimedSession` over the judge's `Session`."""

    member: Member
    session: Session
    setting: Setting
    niceness: int | None
    waited_ns: int | None = None
    """How long its first thread waited for a core during the last series."""
    first_call_s: float = 0.0

    def prepare(self, inputs: Sequence[Arguments]) -> None:
        """Make places for so many calls' inputs; later series write others like these there."""
        with blamed(self.member):
            self.session.prepare(inputs, self.setting.like)

    def first_call(self) -> None:
        """Call once, described: what compiles does it now, and how outputs lie is known from here on."""
        with blamed(self.member):
            self.first_call_s = self.session.run_series(1, describe=True) / 1e9

    def load(self, state: Mapping[str, Any]) -> None:
        """Change the module's weights in place."""
        with blamed(self.member):
            self.session.load(state, mutate=True)

    def refill(self, inputs: Sequence[Arguments]) -> None:
        """Write other inputs into the places of the first ones."""
        with blamed(self.member):
            self.session.refill(inputs)

    def run_series(self, count: int) -> int:
        """Run so many calls on the inputs written last; return nanoseconds. `CandidateFault` if it left its cores."""
        with blamed(self.member):
            before = waited_ns(self.session.pid)
            with preferred():
                elapsed_ns = self.session.run_series(count, describe=False)
            after = waited_ns(self.session.pid)
            self.waited_ns = None if before is None or after is None else after - before
            self._require_cores()
            if not self.member.trusted:
                self.session.require_own_outputs()
            return elapsed_ns

    def outputs(self, call: int) -> list[Any]:
        """Return copies of what this call of the last series left."""
        with blamed(self.member):
            return self.session.outputs(call, self.setting.like)[1]

    def peak_memory_bytes(self) -> int | None:
        """Return the most that the process had resident (`VmHWM` of proc(5)); `None` where it cannot be read."""
        with suppress(OSError):
            for line in Path(f"/proc/{self.session.pid}/status").read_text(encoding="utf-8").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return None

    def _require_cores(self) -> None:
        """No thread of the tree may have left the cores that it was pinned to."""
        allowed = set(self.setting.cores)
        for task in _tasks(self.session.pid) if allowed else ():
            with suppress(ProcessLookupError):
                found = os.sched_getaffinity(task)
                if not found <= allowed:
                    evidence = Evidence(
                        check="cores",
                        where="a timed series",
                        expected=f"every thread on the cores {sorted(allowed)}",
                        found=f"one on {sorted(found)}",
                        advice="leave affinity alone: both members of a pair have the same cores",
                    )
                    raise CandidateFault(Verdict.TAMPERING, evidence)


@contextmanager
def timed_member(zygote: Zygote, member: Member, setting: Setting) -> Iterator[TimedMember]:
    """Start a member in a fresh process, pinned, built, with its weights; end it with the block."""
    with ExitStack() as stack:
        with blamed(member):
            session = stack.enter_context(open_session(zygote, member.code, member.limits))
            niceness = _settle(session.pid, setting.cores)
            session.build(setting.init, setting.dtype)
            session.load(setting.state)
            session.settle()
        yield TimedMember(member, session, setting, niceness)


@contextmanager
def blamed(member: Member) -> Iterator[None]:
    """Tell a trusted member's fault from the candidate's."""
    try:
        yield
    except CandidateFault as fault:
        if not member.trusted:
            raise
        raise BaselineFailed(member.name, fault) from fault


def _settle(pid: int, cores: Sequence[int]) -> int | None:
    """Pin a process with all threads that it has, and let it go before others; return its niceness."""
    niceness = None
    for task in _tasks(pid):
        niceness = prefer(task)
        with suppress(ProcessLookupError):
            os.sched_setaffinity(task, cores or os.sched_getaffinity(task))
    return niceness


def _tasks(pid: int) -> list[int]:
    from joulegrid.kernels.judge.process_tree import members

    found: list[int] = []
    for process in members(pid):
        with suppress(OSError):
            found += [int(task.name) for task in Path(f"/proc/{process}/task").iterdir()]
    return found
