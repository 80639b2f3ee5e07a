"""Record power in a process of its own and answer questions: one JSON request a line in, one JSON answer a line out.

Run by `Recording` in tests with the environment of `simulated_nvml`, because a process loads NVML once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulegrid.cluster.power.energy import Energy
from joulegrid.cluster.power.sampler.recorder import Recorder, Target
from joulegrid.cluster.power.sensors.sources import PowerConfig
from joulegrid.errors import PreFlightError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[3]


class Recording:
    """A recorder in a subprocess; use it in a `with`."""

    def __init__(self, env: Mapping[str, str], **config: Any) -> None:
        command = [sys.executable, str(Path(__file__)), PowerConfig(**config).model_dump_json()]
        path = {"PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, env={**env, **path}, stdin=pipe, stdout=pipe, text=True)
        self.described: dict[str, Any] = self._answer()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        """Process id of the recorder."""
        return self._process.pid

    @contextmanager
    def paused(self, pause: bool = True) -> Iterator[None]:
        """Stop the recorder's processes for a while, where `pause` says so; what they miss is a gap."""
        pids = tree(self.pid) if pause else []
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def energy(self, t0_ns: int, t1_ns: int, uuids: Sequence[str], cpu_s: float = 1.0) -> tuple[Energy, list[Energy]]:
        answer = self._ask({"ask": "energy", "window": [t0_ns, t1_ns], "uuids": list(uuids), "cpu_s": cpu_s})
        return Energy.model_validate(answer["main"]), [Energy.model_validate(part) for part in answer["beside"]]

    def series(self, t0_ns: int, t1_ns: int, uuids: Sequence[str]) -> list[dict[str, Any]]:
        samples: list[dict[str, Any]] = self._ask({"ask": "series", "window": [t0_ns, t1_ns], "uuids": list(uuids)})
        return samples

    def describe(self) -> dict[str, Any]:
        described: dict[str, Any] = self._ask({"ask": "describe"})
        return described

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the recording process ended; its stderr says why"
        return json.loads(line)


def tree(root: int) -> list[int]:
    """A process and those below it, parents first."""
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _reply(recorder: Recorder, request: dict[str, Any]) -> Any:
    if request["ask"] == "describe":
        return recorder.describe()
    t0_ns, t1_ns = request["window"]
    target = Target(gpu_uuids=tuple(request["uuids"]))
    if request["ask"] == "series":
        samples = recorder.series(t0_ns, t1_ns, target, "here/gpu0")
        return [{name: getattr(sample, name) for name in sample.__slots__} for sample in samples]
    main, beside = recorder.energy(t0_ns, t1_ns, target, request["cpu_s"])
    return {"main": main.model_dump(), "beside": [part.model_dump() for part in beside]}


def _serve(config: PowerConfig) -> None:
    try:
        recorder = Recorder(config)
    except PreFlightError as error:
        print(json.dumps({"refused": str(error)}), flush=True)
        return
    recorder.start()
    print(json.dumps({**recorder.describe(), "marks": recorder.marks}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_reply(recorder, json.loads(line))), flush=True)
    recorder.stop()


if __name__ == "__main__":
    _serve(PowerConfig.model_validate_json(sys.argv[1]))
