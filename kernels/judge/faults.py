"""What a child did, as verdict and evidence: raised, left, kept silent, or said what cannot be."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from joulegrid.kernels.interpret import advice_for
from joulegrid.kernels.judge.outcome import plain_text
from joulegrid.kernels.judge.verdict import CandidateFault, Evidence, Verdict

_COMPILERS_ERRORS = {"CompilationError", "CompileTimeAssertionFailure", "UnsupportedLanguageConstruct", "PTXASError"}
_NO_THREAD = "can't start new thread"
"""What Python says where the sandbox refuses a thread; its class is no more than RuntimeError."""
_ARGUMENTS = {
    "constructor": "the constructor takes the arguments of the reference's",
    "forward": "forward takes the arguments of the reference's",
}
_PHASES = {"import": "while the file was run", "constructor": "in the constructor", "forward": "in forward"}


def raised(failed: Any, phase: str) -> CandidateFault:
    """An exception in the child, with the candidate's line that it came from."""
    failed = failed if isinstance(failed, Mapping) else {}
    said = failed.get("kinds")
    kinds = set(map(str, said)) if isinstance(said, list) else set()
    line = failed.get("line")
    where = _PHASES.get(phase, f"in {phase}") + (f", line {line}" if isinstance(line, int) else "")
    found = plain_text(f"{failed.get('error', 'an error')}: {failed.get('message', '')}")[:2000]
    if "PermissionError" in kinds or _NO_THREAD in found:
        advice = "a candidate computes on its arguments alone: no files, processes, threads or sockets"
        return _fault(Verdict.FORBIDDEN, "sandbox", where, "nothing outside the module", found, advice)
    advice = advice_for(found)
    if phase == "import" or kinds & _COMPILERS_ERRORS:
        return _fault(Verdict.COMPILE_ERROR, "protocol", where, "code that loads and compiles", found, advice)
    if "TypeError" in kinds and "argument" in found:
        advice = advice or _ARGUMENTS.get(phase, "")
    if phase == "load_state_dict":
        advice = "the weights have the names and shapes of the reference's state_dict"
    return _fault(Verdict.RUNTIME_ERROR, "protocol", where, "no exception", found, advice)


def left(status: int | None, phase: str) -> CandidateFault:
    """The child's process ended before the protocol did."""
    where = _PHASES.get(phase, f"in {phase}")
    if status is not None and os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in signal.Signals._value2member_map_ else str(number)
        if number == signal.SIGXCPU:
            return _fault(Verdict.TIMEOUT, "limits", where, "an answer within the limit of processor time", name)
        found = f"the process was ended by {name}"
        return _fault(Verdict.RUNTIME_ERROR, "protocol", where, "an answer", found, "look for accesses out of bounds")
    code = "an unknown code" if status is None else f"exit code {os.waitstatus_to_exitcode(status)}"
    found = f"the process left with {code} before it answered"
    advice = "a candidate must not end its process; exit codes mean nothing here"
    return _fault(Verdict.TAMPERING, "protocol", where, "an answer", found, advice)


def silent(phase: str, patience_s: float) -> CandidateFault:
    """No answer in time."""
    where = _PHASES.get(phase, f"in {phase}")
    return _fault(Verdict.TIMEOUT, "limits", where, f"an answer within {patience_s:g} s", "none")


def garbled(phase: str, what: str) -> CandidateFault:
    """An answer that the judge's own code in the child does not give."""
    where = _PHASES.get(phase, f"in {phase}")
    return _fault(Verdict.TAMPERING, "protocol", where, "the judge's own messages", what[:500])


def unreadable(what: str) -> CandidateFault:
    """Outputs that are not where the child says they are."""
    return _fault(Verdict.TAMPERING, "protocol", "outputs", "tensors in the child's memory", what[:500])


def elsewhere(found: str, wanted: str) -> CandidateFault:
    """Outputs on another device than the inputs."""
    return _fault(Verdict.WRONG_VALUES, "values", "outputs", f"outputs on {wanted}", plain_text(found)[:100])


def unstoppable() -> CandidateFault:
    """A tree that does not stand still."""
    return _fault(Verdict.TAMPERING, "freeze", "after a call", "all threads and processes stand still", "some run on")


def changed_inputs(paths: Sequence[str]) -> CandidateFault:
    """A timed series wrote where it may not."""
    expected = "inputs, weights and the memory around them as they were"
    found = f"changed: {', '.join(paths)}"
    return _fault(Verdict.TAMPERING, "input_hash", "in a timed series", expected, found, "write to new tensors")


def shared_outputs(names: Sequence[str]) -> CandidateFault:
    """Outputs of a timed series that are not memory of their own."""
    found = f"outputs share memory with {', '.join(names)}"
    advice = "return new tensors on every call"
    return _fault(Verdict.TAMPERING, "alias", "in a timed series", "outputs in memory of their own", found, advice)


def too_many_processes(found: int, allowed: int) -> CandidateFault:
    """More processes than the child may have."""
    return _fault(Verdict.FORBIDDEN, "sandbox", "processes", f"at most {allowed} below the child", str(found))


def scratch_full(allowed: int) -> CandidateFault:
    """More in the scratch folder than may be there."""
    return _fault(Verdict.FORBIDDEN, "sandbox", "scratch folder", f"at most {allowed} bytes", "more")


def folder_bytes(folder: Path) -> int:
    """Return the bytes that files below a folder take on disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if not path.is_symlink() and path.exists())


def _fault(verdict: Verdict, check: str, where: str, expected: str, found: str, advice: str = "") -> CandidateFault:
    return CandidateFault(verdict, Evidence(check=check, where=where, expected=expected, found=found, advice=advice))
