"""A trace: raw readings of a node's sensors in a file, with where they come from. JSON lines, or Parquet.

Times in a trace count from its first reading. The header says what the readings were when they were recorded; whatever
is made of them later is simulated (`joulegrid.cluster.power.sampler.replay`).
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulegrid.cluster.power.sampler.frames import Hello
from joulegrid.cluster.power.sensors.nvml import BoardFacts, Condition
from joulegrid.cluster.power.sensors.readings import Reading
from joulegrid.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joulegrid.jsontypes import Json

FORMAT = 1
MARK = "joulegrid_trace"
NAMES = tuple(one.name for one in fields(Reading))
SUFFIXES = (".jsonl", ".parquet")


@dataclass(frozen=True, slots=True)
class Trace:
    """Readings of a node's devices over a time, in order."""

    provenance: str
    """`measured`, or `simulated` where the readings were a replay themselves."""
    period_s: float
    hello: Hello
    readings: dict[str, list[Reading]]
    conditions: dict[str, list[Condition]] = field(default_factory=dict)
    about: dict[str, Json] = field(default_factory=dict)
    """When, where, on what and of which command it was recorded."""

    @property
    def length_ns(self) -> int:
        """From the first reading to the last."""
        return max(one[-1].t_ns for one in self.readings.values())

    def write(self, path: Path) -> None:
        """Write the file; its ending says which format."""
        header: dict[str, Any] = {
            MARK: FORMAT,
            "provenance": self.provenance,
            "period_s": self.period_s,
            "boards": {uuid: asdict(facts) for uuid, facts in self.hello.boards.items()},
            "domains": self.hello.domains,
            "conditions": {device: [asdict(one) for one in found] for device, found in self.conditions.items()},
            "about": self.about,
        }
        rows = [{"device": device, **asdict(one)} for device, found in self.readings.items() for one in found]
        rows.sort(key=lambda row: row["t_ns"])
        if path.suffix == ".parquet":
            _write_parquet(path, header, rows)
            return
        whole = ({name: value for name, value in row.items() if value is not None} for row in rows)
        path.write_text("".join(json.dumps(line) + "\n" for line in [header, *whole]), encoding="utf-8")


def traced(found: dict[str, list[Reading]], conditions: dict[str, list[Condition]]) -> tuple[Any, Any]:
    """Return readings and conditions with times that count from the first reading, time stamps of drivers included."""
    start_ns = min((one.t_ns for readings in found.values() for one in readings), default=0)
    wall_ns = time.time_ns() - time.monotonic_ns() + start_ns
    return (
        {device: [shifted(one, -start_ns, -wall_ns) for one in readings] for device, readings in found.items()},
        {device: [replace(one, t_ns=one.t_ns - start_ns) for one in ones] for device, ones in conditions.items()},
    )


def shifted(reading: Reading, by_ns: int, stamps_by_ns: int, add_j: float = 0.0) -> Reading:
    """Return a reading at another time, and with a counter that has gone on."""
    counter, power = reading.counter_stamp_ns, reading.power_stamp_ns
    return replace(
        reading,
        t_ns=reading.t_ns + by_ns,
        counter_j=None if reading.counter_j is None else reading.counter_j + add_j,
        counter_stamp_ns=None if counter is None else counter + stamps_by_ns,
        power_stamp_ns=None if power is None else power + stamps_by_ns,
    )


def read_trace(path: Path) -> Trace:
    """Read a trace. Raises `UsageError` that names the file and what is wrong with it."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: a trace ends in {' or '.join(SUFFIXES)}; `joulegrid power record` writes one")
    if not path.is_file():
        raise UsageError(f"{path}: {'that is no file' if path.exists() else 'there is no such file'}; name a trace")
    try:
        header, rows = _read_parquet(path) if path.suffix == ".parquet" else _read_lines(path)
        return _trace(header, rows)
    except OSError as error:
        raise UsageError(f"{path}: the trace cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"[:300]
        raise UsageError(f"{path}: no trace of Joulegrid, or a damaged one: {why}") from error


def _trace(header: dict[str, Any], rows: Iterator[dict[str, Any]]) -> Trace:
    if not isinstance(header, dict) or header.get(MARK) != FORMAT:
        raise ValueError(f"the header does not say {MARK}: {FORMAT}")
    if header["provenance"] not in ("measured", "simulated"):
        raise ValueError(f"provenance {header['provenance']!r} is neither measured nor simulated")
    domains = {str(name): (scope, float(range_j)) for name, (scope, range_j) in header["domains"].items()}
    hello = Hello({uuid: BoardFacts(**facts) for uuid, facts in header["boards"].items()}, domains)
    readings: dict[str, list[Reading]] = {device: [] for device in hello.devices}
    for row in rows:
        found = readings[row.pop("device")]
        found.append(_reading(row))
        if len(found) > 1 and found[-1].t_ns <= found[-2].t_ns:
            raise ValueError(f"times go backwards at {found[-1].t_ns} ns")
    poor = [device for device, found in readings.items() if len(found) < 2]
    if poor or not readings:
        raise ValueError(f"too few readings of {', '.join(poor) or 'any device'}")
    conditions = {device: [Condition(**one) for one in found] for device, found in header["conditions"].items()}
    return Trace(header["provenance"], float(header["period_s"]), hello, readings, conditions, header["about"])


def _reading(row: dict[str, Any]) -> Reading:
    reading = Reading(**row)
    numbers = (reading.counter_j, reading.power_w, reading.average_w)
    if not isinstance(reading.t_ns, int) or not all(one is None or isinstance(one, int | float) for one in numbers):
        raise TypeError(f"not numbers: {row}")
    return reading


def _read_lines(path: Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise ValueError("the file is empty")
    return json.loads(lines[0]), (json.loads(line) for line in lines[1:])


def _write_parquet(path: Path, header: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"device": pa.string(), "trouble": pa.string(), "t_ns": pa.int64()}
    kinds |= dict.fromkeys(("counter_j", "power_w", "average_w"), pa.float64())
    kinds |= dict.fromkeys(("counter_stamp_ns", "power_stamp_ns"), pa.int64())
    schema = pa.schema(list(kinds.items()), metadata={MARK: json.dumps(header)})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def _read_parquet(path: Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    header = json.loads((table.schema.metadata or {}).get(MARK.encode(), "null"))
    return header, iter(table.to_pylist())
