"""What all benchmarks share: rounds side by side, spread, and a JSON file that says where the numbers come from."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from joulegrid.cluster.environment import capture

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass
class Series:
    """Repeated values of one quantity."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    def row(self) -> dict[str, Any]:
        """Return it for the JSON file."""
        ends = {"min": min(self.values), "median": self.median, "max": max(self.values)}
        return {"name": self.name, "unit": self.unit, "n": len(self.values), **ends, "values": self.values}


def ratios(numerator: Series, denominator: Series) -> Series:
    """Divide round by round: values of one round saw the same machine."""
    values = [one / other for one, other in zip(numerator.values, denominator.values, strict=True)]
    return Series(f"{numerator.name} ÷ {denominator.name}", "×", values)


def print_table(title: str, rows: list[Series]) -> None:
    """Print minimum, median and maximum of each series."""
    width = max(len(row.name) for row in rows)
    print(f"\n{title}\n{'':{width}}  {'min':>10} {'median':>10} {'max':>10}  n")
    for row in rows:
        low, middle, high = min(row.values), row.median, max(row.values)
        print(f"{row.name:{width}}  {low:10.4g} {middle:10.4g} {high:10.4g}  {len(row.values)}  {row.unit}")


def kept(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """What earlier runs of a benchmark in parts found: a part that is not run keeps its figures, date and commit."""
    try:
        found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())["parts"]
    except FileNotFoundError:
        return {}
    return found


def noted(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run a part; note when, for how long, of which commit, on which and how busy a machine."""
    began_s, here = time.perf_counter(), capture(RESULTS.parent)
    before = os.getloadavg()[0]
    found = run()
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": here.git.commit if here.git else None,
        "dirty": here.git.dirty if here.git else None,
        "cpu": here.cpu.model,
        "seconds": round(time.perf_counter() - began_s, 1),
        "load_average": [round(before, 2), round(os.getloadavg()[0], 2)],
        **found,
    }


def write(name: str, rows: list[Series], facts: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Write the series with hardware, versions and commit into `{name}.json` of the folder."""
    here = capture(Path(__file__).resolve().parent)
    kept = ("torch", "transformers", "ray", "pydantic", "pyarrow", "joulegrid")
    content = {
        "benchmark": name,
        "command": " ".join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": here.git.commit if here.git else None,
        "dirty": here.git.dirty if here.git else None,
        "cpu": here.cpu.model_dump(mode="json"),
        "memory_bytes": here.memory_bytes,
        "gpus": [gpu.model_dump(mode="json") for gpu in here.gpus],
        "python": here.python,
        "packages": {package: version for package, version in here.packages.items() if package in kept},
        **facts,
        "series": [row.row() for row in rows],
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    print(f"\nwritten: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return path
