"""Providers that need no network: a value that a person gave, the embedded yearly table, and none at all."""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path

from joulegrid.cluster.carbon.intensity import Intensity, Signal, unknown

NO_ZONE = "nothing says where the power is drawn; give execution.carbon.zone or intensity_g_per_kwh"
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Given:
    """A value that a person gave, for every hour. It is taken for an average."""

    g_per_kwh: float
    zone: str | None = None
    name: str = field(default="given", init=False)

    def intensity(self, hour: datetime, signal: Signal) -> Intensity:
        """Return the given value, whatever the hour."""
        if signal == "marginal":
            return unknown(self.name, signal, "a given value is an average; no marginal one was given", self.zone)
        return Intensity(g_per_kwh=self.g_per_kwh, signal=signal, source=self.name, zone=self.zone)

    def complaint(self) -> None:
        """Nothing can be wrong with it."""


@dataclass(frozen=True, slots=True)
class Nowhere:
    """Nothing is known of the place, so nothing of the grams: no default country stands in for it."""

    name: str = field(default="none", init=False)

    def intensity(self, hour: datetime, signal: Signal) -> Intensity:
        """Return that it is unknown."""
        return unknown(self.name, signal, NO_ZONE)

    def complaint(self) -> str:
        """Say what is missing."""
        return NO_ZONE


@dataclass(frozen=True, slots=True)
class Row:
    """A yearly average of the table."""

    zone: str
    iso3: str
    name: str
    g_per_kwh: float
    year: int
    dataset: str


@dataclass(frozen=True, slots=True)
class Table:
    """Yearly averages that ship with Joulegrid; `docs/carbon.md` lists their sources.

    A zone is a country (`DE`, `DEU`, `Germany`), a state of the USA (`US-VA`), an eGRID subregion (`CAMX`), or a
    cloud region (`gcp:europe-west1`, `aws:eu-central-1`, `azure:westeurope`).
    """

    zone: str
    name: str = field(default="table", init=False)

    def intensity(self, hour: datetime, signal: Signal) -> Intensity:
        """Return the zone's newest yearly average, whatever the hour."""
        row, data = find(self.zone), datasets()
        if row is None:
            return unknown(self.name, signal, self.complaint() or "", self.zone)
        if signal == "marginal":
            return unknown(self.name, signal, "the embedded table has yearly averages only", row.zone)
        source = data[row.dataset]
        return Intensity.model_validate(
            {
                "g_per_kwh": row.g_per_kwh,
                "signal": signal,
                "source": source["title"],
                "zone": row.zone,
                "dataset_year": row.year,
                "factor_type": source["factor_type"],
                "licence": source["licence"],
            }
        )

    def complaint(self) -> str | None:
        """Say that the table does not know the zone, with the nearest that it knows."""
        if find(self.zone) is not None:
            return None
        near = difflib.get_close_matches(self.zone.lower(), _names(), n=3, cutoff=0.6)
        meant = list(dict.fromkeys(_names()[name].zone for name in near))
        hint = f"did you mean {', '.join(meant)}? " if near else ""
        return (
            f"the embedded table has no zone {self.zone!r}; {hint}give a country (DE), a state of the USA (US-VA), an "
            "eGRID subregion (CAMX), a cloud region (gcp:europe-west1, aws:eu-central-1, azure:westeurope), or "
            "intensity_g_per_kwh"
        )


def find(zone: str) -> Row | None:
    """Return the row that a zone's name means, upper or lower case; `None` where the table has none."""
    return _names().get(zone.strip().lower())


@cache
def datasets() -> dict[str, dict[str, str]]:
    """Return dataset → its title, factor type, licence and address."""
    return {row["dataset"]: row for row in _read("datasets.csv")}


@cache
def _names() -> dict[str, Row]:
    """Every name of every zone, in lower case."""
    names: dict[str, Row] = {}
    for row in _read("grid.csv"):
        found = Row(row["zone"], row["iso3"], row["name"], float(row["g_per_kwh"]), int(row["year"]), row["dataset"])
        names[found.zone.lower()] = found
        if found.iso3:
            names |= {found.iso3.lower(): found, found.name.lower(): found}
    names |= {row["cloud_region"]: names[row["zone"].lower()] for row in _read("cloud_regions.csv")}
    return names


def _read(name: str) -> list[dict[str, str]]:
    with (_HERE / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
