"""How near to the truth are the joules? Eight simulated GPUs with a known energy, read by five readers at once.

No GPU is needed: the GPUs are simulated behind a real NVML shared library, read through the real pynvml on the real
clock; tick, sensing window, decay, lag and phase are drawn anew in each round. Two recorders of ours read, one whose
boards were calibrated by bursts at the start of the round, one that knows nothing. Beside them, in the same run, read
Zeus's monitor, a poller of the one-second average and a trapezoid over instant power. What comes out is the
*windowing* error; nothing here says anything about the absolute accuracy of a sensor.

Parts: `accuracy` (errors and coverage), `virtual` (the same boards, loads and estimator on a virtual clock, for a busy
machine: 15 s of CPU a round), `faults` (silent zeros and believed lies), `jitter` (deadlines), `cost` (CPU and memory
of the recorder), `mark` (a mark in the task), `attribution` (joules per token, on a virtual clock). The default runs
all in under 20 minutes, `jitter` beside the rest. Zeus is needed for `accuracy`: docs/energy.md says how to install it.

Run: `python -m benchmarks.energy_accuracy [--part accuracy --part faults …] [--rounds 3] [--minutes 10] [--seed 4]`
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.energy import accuracy, accuracy_virtual, attribution, cost, faults, jitter, mark
from benchmarks.measurement import kept, noted, write

NAME = "energy_accuracy"
PARTS = ("accuracy", "virtual", "faults", "cost", "mark", "attribution", "jitter")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be given several times")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of `accuracy`, about 3.4 minutes each")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of `jitter`")
    parser.add_argument("--seed", type=int, default=4)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts; `jitter` in a thread beside the others."""
    given = parse(arguments)
    chosen = given.part or PARTS
    runs: dict[str, Callable[[], dict[str, Any]]] = {
        "accuracy": lambda: accuracy.run(given.rounds, given.seed),
        "virtual": lambda: accuracy_virtual.run(given.rounds, given.seed),
        "faults": lambda: faults.run(given.seed),
        "cost": cost.run,
        "mark": mark.run,
        "attribution": lambda: attribution.run(given.seed),
        "jitter": lambda: jitter.run(given.minutes * 60),
    }
    parts: dict[str, Any] = {}
    aside = threading.Thread(target=lambda: parts.update(jitter=noted(runs["jitter"])))
    if "jitter" in chosen:
        aside.start()
    for part in PARTS[:-1]:
        if part in chosen:
            print(f"\n== {part}", flush=True)
            parts[part] = noted(runs[part])
    if "jitter" in chosen:
        aside.join()
    print_aims(parts)
    write(NAME, [], {"provenance": "simulated", "parts": kept(NAME) | parts})


def print_aims(parts: dict[str, Any]) -> None:
    """Print every aim with its value."""
    print("\naims")
    for part, found in parts.items():
        for aim in found["aims"]:
            value = "unknown" if aim["value"] is None else f"{aim['value']:.4g}"
            print(f"{'met   ' if aim['met'] else 'MISSED'}  {part}: {aim['aim']}: {value}")


if __name__ == "__main__":
    main()
