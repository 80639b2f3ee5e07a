"""`summary.parquet`: every row of a summary, a column for each number; written in pieces, so that it may be long."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from joulegrid.jobs.report.statistic import Statistic
    from joulegrid.jobs.report.summary_row import SummaryRow
    from joulegrid.jsontypes import Json

ROWS_A_GROUP = 1_000
"""Rows of one piece in memory, about 15 MB as Python objects."""
_FIXED = {"index": "int64", "key": "string", "label": "string", "stratum": "string", "n_done": "int64"} | {
    "n_failed": "int64"
}
_WORDS = ("provenance", "source", "scope", "unknown", "interval", "headline")
_GROUPS = ("energy_per", "differences", "net", "windows", "power_w", "beside", "work", "metrics", "footprint")
_EDGES = ("edges_low", "edges_high", "systematic")
_PARTS: dict[str, tuple[str, ...]] = {
    "energy_per": ("stated_low", "stated_high", *_EDGES),
    "differences": ("stated_low", "stated_high", *_EDGES),
    "windows": ("stated_low", "stated_high", *_EDGES),
    "power_w": ("stated_low", "stated_high", *_EDGES),
    "beside": ("stated_low", "stated_high", *_EDGES),
    "footprint": ("stated_low", "stated_high", *_EDGES),
    "net": (*_EDGES, "baseline_low", "baseline_high", "baseline_power_w"),
}
"""What a group's columns have beside mean, deviation and t interval."""
_PART_UNITS = {"systematic": "1", "baseline_power_w": "W"}
_Place = tuple[int, str, int]
"""Experiment and position of a name: the columns stand in the order of their first appearance in the plan."""


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    kind: str
    """Name of the Arrow type."""
    value: Callable[[SummaryRow], Any]
    unit: str | None = None


@dataclass(slots=True)
class SummaryColumns:
    """What columns a summary has; learnt from its rows, in any order, before the first is written."""

    _kinds: dict[str, set[type]] = field(default_factory=dict)
    """Axis → types of its values; `object` where Parquet has no such integer."""
    _units: dict[tuple[str, str], str | None] = field(default_factory=dict)
    _first: dict[tuple[str, str], _Place] = field(default_factory=dict)

    def see(self, row: SummaryRow) -> None:
        """Learn of a row's names, units and types."""
        for number, (path, value) in enumerate(row.axes.items()):
            self._note("axes", path, (row.index, row.key, number))
            self._kinds.setdefault(path, set()).update(_kind(value))
        for group in _GROUPS:
            for number, (name, statistic) in enumerate(_group(row, group).items()):
                self._note(group, name, (row.index, row.key, number))
                self._units[group, name] = self._units.get((group, name)) or statistic.unit
        for number, name in enumerate(row.texts):
            self._note("texts", name, (row.index, row.key, number))

    def columns(self) -> list[_Column]:
        """Return all columns, in the order of the documentation."""
        columns = [_Column(name, kind, _attribute(name)) for name, kind in _FIXED.items()]
        columns += [_Column(name, "string", _attribute(name)) for name in _WORDS]
        columns += [self._axis(path) for path in self._names("axes")]
        columns.append(_Column("failures", "string", lambda row: json.dumps(row.failures)))
        columns.append(_Column("flags", "string", lambda row: json.dumps(row.flags)))
        columns += [_Column(name, "int64", _attribute(name)) for name in ("n_cross_checked", "n_disagreeing")]
        columns.append(_Column("devices", "string", lambda row: json.dumps(row.devices)))
        columns.append(_Column("on_front", "bool_", _attribute("on_front")))
        columns += _numbers("seconds", _attribute("seconds"), "s")
        columns += _numbers("energy_j", _attribute("energy_j"), "J", _PARTS["energy_per"])
        for group in _GROUPS:
            for name in self._names(group):
                pick, unit = partial(_of_group, group, name), self._units[group, name]
                columns += _numbers(f"{group}.{name}", pick, unit, _PARTS.get(group, ()))
        return columns + [_Column(f"text.{name}", "string", partial(_texts, name)) for name in self._names("texts")]

    def _note(self, group: str, name: str, place: _Place) -> None:
        self._first[group, name] = min(place, self._first.get((group, name), place))

    def _names(self, group: str) -> list[str]:
        named = [(place, name) for (of, name), place in self._first.items() if of == group]
        return [name for _, name in sorted(named)]

    def _axis(self, path: str) -> _Column:
        """Keep an axis' type where all its values share one; else write JSON text."""
        for allowed, kind in (({bool}, "bool_"), ({int}, "int64"), ({int, float}, "float64"), ({str}, "string")):
            if self._kinds[path] <= allowed:
                return _Column(f"axis.{path}", kind, lambda row: row.axes.get(path))
        return _Column(f"axis.{path}", "string", lambda row: json.dumps(row.axes.get(path), sort_keys=True))


@dataclass(frozen=True, slots=True)
class SummaryFile:
    """What the file says of itself, and its columns."""

    study_name: str
    study_design_hash: str | None
    columns: SummaryColumns

    def write(self, rows: Iterable[SummaryRow], sink: Any) -> None:
        """Write the rows to a path or an Arrow stream, 1,000 at a time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns, schema, iterator = self.columns.columns(), self._schema(), iter(rows)
        with pq.ParquetWriter(sink, schema) as writer:
            while group := list(islice(iterator, ROWS_A_GROUP)):
                arrays = [
                    pa.array([column.value(row) for row in group], type=entry.type)
                    for column, entry in zip(columns, schema, strict=True)
                ]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

    def _schema(self) -> Any:
        import pyarrow as pa

        from joulegrid.version import __version__

        about = {
            "study_name": self.study_name,
            "study_design_hash": self.study_design_hash or "",
            "joulegrid_version": __version__,
        }
        fields = [
            pa.field(column.name, getattr(pa, column.kind)(), metadata={"unit": column.unit} if column.unit else None)
            for column in self.columns.columns()
        ]
        return pa.schema(fields, metadata={f"joulegrid.{name}": text for name, text in about.items()})


def write_summary_parquet(rows: Iterable[SummaryRow], *, study_name: str, study_design_hash: str | None) -> bytes:
    """Return a summary that fits into memory as a Parquet file: a column for each number.

    Axes are columns `axis.{path}`; every statistic gives `{name}.n`, `.mean`, `.sd`, `.low` and `.high`, energies
    also the ends of their parts (`.edges_low`, `.baseline_low`). Units are in the fields' metadata; study, hash and
    version in the file's.
    """
    import pyarrow as pa

    columns, kept = SummaryColumns(), list(rows)
    for row in kept:
        columns.see(row)
    sink = pa.BufferOutputStream()
    SummaryFile(study_name, study_design_hash, columns).write(kept, sink)
    return bytes(sink.getvalue().to_pybytes())


def _attribute(name: str) -> Callable[[SummaryRow], Any]:
    return lambda row: getattr(row, name)


def _group(row: SummaryRow, group: str) -> Mapping[str, Statistic]:
    if group == "beside":
        return {f"{one.provenance}.{one.source}.{one.scope}": one.energy_j for one in row.beside}
    found: Mapping[str, Statistic] = getattr(row, group)
    return found


def _of_group(group: str, name: str, row: SummaryRow) -> Statistic | None:
    return _group(row, group).get(name)


def _texts(name: str, row: SummaryRow) -> str | None:
    return " | ".join(row.texts.get(name, [])) or None


def _kind(value: Json) -> set[type]:
    if value is None:
        return set()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return {object}
    return {type(value)}


def _numbers(
    name: str, pick: Callable[[SummaryRow], Statistic | None], unit: str | None, more: tuple[str, ...] = ()
) -> Iterator[_Column]:
    yield _Column(f"{name}.n", "int64", partial(_part, pick, "n"))
    for part in ["mean", "sd", "low", "high", *more]:
        yield _Column(f"{name}.{part}", "float64", partial(_part, pick, part), _PART_UNITS.get(part, unit))


def _part(pick: Callable[[SummaryRow], Statistic | None], part: str, row: SummaryRow) -> float | None:
    found: float | None = getattr(pick(row), part, None)
    return found
