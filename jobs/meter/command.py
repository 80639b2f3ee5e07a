"""`joulegrid meter -- COMMAND`: what any command costs. Its output, signals and exit code are left as they are."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from joulegrid.actors.probe import family_s
from joulegrid.actors.zygote import adopt_orphans
from joulegrid.cluster.power.sampler.marks import mark_sender
from joulegrid.cluster.power.sampler.recorder import Recorder, Target
from joulegrid.errors import UsageError
from joulegrid.jobs.meter.devices import chosen_gpus, power_config
from joulegrid.jobs.meter.figure import Metered, shown
from joulegrid.kernels.judge import process_tree

if TYPE_CHECKING:
    from resource import struct_rusage

NOT_FOUND, NOT_EXECUTABLE = 127, 126
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
OF_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class MeterOrder:
    """What `joulegrid meter` was told."""

    command: tuple[str, ...]
    gpu: str | None = None
    source: str = "auto"
    trace: Path | None = None
    as_json: bool = False
    output: Path | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended."""

    t0_ns: int
    t1_ns: int
    exit_code: int
    cpu_s: float
    left_running: int


def meter_command(order: MeterOrder) -> int:
    """Run the command, say on stderr what it cost, return its exit code."""
    if not order.command or not order.command[0]:
        raise UsageError("meter: no COMMAND; write it behind --, e.g. joulegrid meter -- python train.py")
    if order.output is not None:
        refuse_output(order.output)
    config = power_config(order.source, order.trace)
    gpus, notes = chosen_gpus(order.gpu, order.source)
    recorder = Recorder(config)
    try:
        recorder.start()
        with Forwarding() as forwarding:
            try:
                ran = run(order.command, recorder, forwarding)
            except OSError as error:
                return not_started("meter", order.command[0], error)
            metered = _metered(order, recorder, ran, gpus)
            written = _tell(order, metered.model_copy(update={"notes": [*notes, *metered.notes]}))
    finally:
        recorder.stop()
    return ran.exit_code if written else ran.exit_code or 1


def refuse_output(file: Path) -> None:
    """Raise `UsageError` where a file cannot be written: before the command has run, not after it."""
    folder = file.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"--output {file}: there is no folder {folder}")
    if file.is_dir():
        raise UsageError(f"--output {file}: that is a folder; name a file")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise UsageError(f"--output {file}: no right to write there; choose another place")


def run(command: tuple[str, ...], recorder: Recorder, forwarding: Forwarding) -> Ran:
    """Run a command to its end, between two marks. Raises `OSError` where it cannot be started."""
    adopt_orphans()
    mark = mark_sender(recorder.marks)
    mark()
    t0_ns = time.monotonic_ns()
    with subprocess.Popen(command) as process:
        forwarding.to(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        t1_ns = time.monotonic_ns()
        forwarding.end()
        process.returncode = os.waitstatus_to_exitcode(status)
    mark()
    detached_s, left = _detached(recorder.sampling_pid)
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return Ran(t0_ns, t1_ns, code, _seconds(usage) + detached_s, left)


class Forwarding:
    """Passes signals on. What a terminal sends (Ctrl-C) reaches the command by itself, and then it decides.

    Once the command has ended, signals change nothing: its figures take half a second more.
    """

    def __init__(self) -> None:
        self._pid: int | None = None
        self._early: list[int] = []
        self._ended = False

    def __enter__(self) -> Forwarding:
        heard = [number for number in FORWARDED if signal.getsignal(number) is not signal.SIG_IGN]  # nohup's stay so
        self._was = {number: signal.signal(number, self._forward) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._was.items():
            signal.signal(number, handler)

    def to(self, pid: int) -> None:
        """Name the process, and pass on what came before there was one."""
        self._pid = pid
        for number in self._early:
            self._forward(number, None)

    def end(self) -> None:
        """Pass nothing on any more."""
        self._ended = True

    def _forward(self, number: int, _: object) -> None:
        if self._ended:
            return
        if self._pid is None:
            self._early.append(number)
        elif number not in OF_THE_TERMINAL or not _in_foreground():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)


def _in_foreground() -> bool:
    try:
        with Path("/dev/tty").open("rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def _detached(sampling_pid: int | None) -> tuple[float, int]:
    """CPU seconds of what the command left behind, dead or alive, and how many live; the kernel has made them ours."""
    seconds, living = 0.0, 0
    for pid in process_tree.below(os.getpid()):
        if pid == sampling_pid:
            continue
        try:
            ended, _, usage = os.wait4(pid, os.WNOHANG)
        except ChildProcessError:  # the child of one that lives
            ended = 0
        living += not ended
        seconds += _seconds(usage) if ended else family_s(pid)
    return seconds, living


def _seconds(usage: struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def _metered(order: MeterOrder, recorder: Recorder, ran: Ran, gpus: tuple[str, ...]) -> Metered:
    window = (ran.t0_ns, ran.t1_ns)
    energy, beside = recorder.energy(*window, Target(gpus), ran.cpu_s)
    others = [recorder.energy(*window, Target((uuid,)), 0.0)[0] for uuid in recorder.gpu_uuids if uuid not in gpus]
    missing = recorder.describe()["missing"]
    return Metered(
        command=list(order.command),
        exit_code=ran.exit_code,
        seconds=(ran.t1_ns - ran.t0_ns) / 1e9,
        cpu_s=ran.cpu_s,
        energy=energy,
        beside=beside,
        sampled=others,
        conditions=recorder.conditions(*window, Target(gpus)),
        edges="unsynced" if ran.left_running else "synced",
        left_running=ran.left_running,
        notes=[why for why in missing.values() if order.source == "auto"],
    )


def _tell(order: MeterOrder, metered: Metered) -> bool:
    """Show the figures and write their file; give whether that was written. A full disk costs the file alone."""
    text = metered.model_dump_json(indent=2) + "\n"
    if order.as_json:
        sys.stderr.write(text)
    else:
        _show(metered)
    if order.output is None:
        return True
    try:
        order.output.write_text(text, encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"joulegrid: --output {order.output} was not written: {error.strerror or error}\n")
        return False
    return True


def _show(metered: Metered) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    console.print(shown(metered))
    if left := metered.left_running:
        processes = "1 process" if left == 1 else f"{left} processes"
        console.print(f"{processes} of the command left running; joules from now on are not here")


def not_started(verb: str, name: str, error: OSError) -> int:
    """Say why a command did not start; give the exit code that a shell would."""
    found = not isinstance(error, FileNotFoundError)
    words = (error.strerror or str(error)) if found else "command not found"
    sys.stderr.write(f"joulegrid: {verb}: {name}: {words}\n")
    return NOT_EXECUTABLE if found else NOT_FOUND
