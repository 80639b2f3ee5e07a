"""A GPU lane in a process of its own, over the simulated NVML: one JSON request a line in, one answer a line out.

A process loads NVML once, so the lane cannot live in the test's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulegrid.actors.gate import Gate
from joulegrid.actors.idle import IdleTerms
from joulegrid.actors.lane import Lane
from joulegrid.actors.outcome import Outcome
from joulegrid.actors.record import LaneFacts, RunFacts
from joulegrid.cluster.environment import capture
from joulegrid.cluster.folder import FolderStore
from joulegrid.cluster.power.sampler.recorder import Recorder
from joulegrid.cluster.power.sensors.sources import PowerConfig
from joulegrid.cluster.visible import visible_uuids
from tests.actors.lanes import script_task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]


class GpuLane:
    """The test's side; use `open_gpu_lane`."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder = process, folder
        self.uuids: list[str] = self._answer()

    def run(self, source: str, **how: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Run a script to its end; return outcome and result (empty where none was stored)."""
        self.start(source, **how)
        return self.wait()

    def start(self, source: str, **how: Any) -> None:
        self._ask({"do": "start", "source": source, **how})

    def progress(self) -> dict[str, Any] | None:
        told: dict[str, Any] | None = self._ask({"do": "progress"})
        return told

    def cancel(self) -> None:
        self._ask({"do": "cancel"})

    def wait(self) -> tuple[dict[str, Any], dict[str, Any]]:
        outcome = self._ask({"do": "wait"})
        return outcome, json.loads(self.stored(f"{outcome['path']}/result.json")) if outcome["path"] else {}

    def stored(self, path: str) -> str:
        return (self._folder / "store" / path).read_text()

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the lane's process ended; its stderr says why"
        return json.loads(line)


@contextmanager
def open_gpu_lane(
    folder: Path,
    env: Mapping[str, str],
    visible: str,
    gate: Gate | None = None,
    within: Sequence[str] = (),
    baseline: IdleTerms | None = None,
) -> Iterator[GpuLane]:
    """Open a lane on the GPUs that `visible` names, as CUDA_VISIBLE_DEVICES does; `within` is a command around it."""
    arguments = [str(folder), visible, json.dumps(asdict(gate) if gate else None)]
    arguments.append(json.dumps(asdict(baseline) if baseline else None))
    process = subprocess.Popen(
        [*within, sys.executable, str(Path(__file__)), *arguments],
        env={**env, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout
    try:
        yield GpuLane(process, folder)
    finally:
        process.stdin.close()
        try:
            process.wait(15)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


class _Server:
    def __init__(self, lane: Lane, folder: Path) -> None:
        self.lane, self.folder = lane, folder
        self.outcomes: list[Outcome] = []
        self.thread: threading.Thread | None = None

    def answer(self, request: dict[str, Any]) -> Any:
        what = request.pop("do")
        if what == "start":
            number = len(list(self.folder.glob("*.py")))
            task = script_task(self.folder, request["source"], name=f"task{number}", timeout_s=request.get("timeout_s"))
            self.thread = threading.Thread(target=lambda: self.outcomes.append(self.lane.run(task)))
            self.thread.start()
        elif what == "wait":
            assert self.thread
            self.thread.join()
            return asdict(self.outcomes[-1])
        elif what == "cancel":
            self.lane.cancel()
        return self.lane.progress() if what == "progress" else None


def _serve(folder: Path, visible: str, gate: dict[str, float] | None, idle: dict[str, float] | None) -> None:
    recorder = Recorder(PowerConfig())
    recorder.start()
    terms = IdleTerms(**idle) if idle else None
    cool = Gate(**gate) if gate else None
    run = RunFacts("tests", "gpu_run", (), "zygote", None, temperature_gate=cool, baseline=terms)
    uuids, sources = visible_uuids(visible), tuple(recorder.sources)
    facts = LaneFacts(
        "here/gpu0", "here", capture(), gpu_uuids=uuids, cpus=(0,), power_sources=sources, marks=recorder.marks
    )
    lane = Lane(facts, run, FolderStore(folder / "store"), recorder)
    server = _Server(lane, folder)
    try:
        lane.prepare()
        print(json.dumps(uuids), flush=True)
        for line in sys.stdin:
            print(json.dumps(server.answer(json.loads(line))), flush=True)
    finally:
        lane.close()
        recorder.stop()


if __name__ == "__main__":
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    _serve(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4]))
