"""Electricity Maps, API version 3: average intensity of the consumed electricity, flow-traced, by the hour."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from joulegrid.cluster.carbon.http import FetchError, get_json
from joulegrid.cluster.carbon.intensity import FactorType, Signal, hour_of
from joulegrid.cluster.carbon.services import Hourly, coordinates, malformed, number, time_of, utc_text

TOKEN = "ELECTRICITY_MAPS_TOKEN"  # noqa: S105 - a variable's name
ADDRESS = "https://api.electricitymaps.com/v3"
_HISTORY = timedelta(hours=24)
"""How far back `/carbon-intensity/history` goes; beyond it is `/carbon-intensity/past-range`, which is paid for."""


def _address() -> str:
    return os.environ.get("JOULEGRID_ELECTRICITY_MAPS_URL") or ADDRESS


@dataclass(frozen=True, slots=True)
class ElectricityMaps:
    """One zone: its own key (`DE`, `US-CAL-CISO`), `latitude,longitude`, or a cloud region (`aws:eu-central-1`)."""

    zone: str
    factor_type: FactorType = "lifecycle"
    address: str = field(default_factory=_address)
    name: str = field(default="electricity-maps", init=False)
    licence: str = field(default="Electricity Maps, the token's terms", init=False)

    def missing(self) -> str | None:
        """Say that there is no token."""
        return None if os.environ.get(TOKEN) else f"electricity-maps needs a token in the environment variable {TOKEN}"

    def refuses(self, signal: Signal) -> str | None:
        """Say that it has no marginal intensity."""
        return None if signal == "average" else "Electricity Maps offers no marginal intensity; WattTime does"

    def factor_of(self, signal: Signal) -> FactorType:
        """Return the kind that it is asked for."""
        return self.factor_type

    def fetch(self, hour: datetime, now: datetime, signal: Signal, timeout_s: float) -> Mapping[datetime, Hourly]:
        """Ask for the last day, or, for an hour before that, for the day that begins with it."""
        current = hour_of(int(now.timestamp()) * 10**9)
        if hour > current - _HISTORY:
            found = self._hours(self._get("history", {}, timeout_s), current)
            if hour not in found and hour == current:
                found |= self._hours({"history": [self._get("latest", {}, timeout_s)]}, current)
            return found
        last = min(hour + _HISTORY, current)
        return self._hours(
            self._get("past-range", {"start": utc_text(hour), "end": utc_text(last)}, timeout_s), current
        )

    def _get(self, what: str, query: Mapping[str, str], timeout_s: float) -> Any:
        asked = {**self._place(), "emissionFactorType": self.factor_type, "shouldUseFallbackCallerLookup": "false"}
        token = {"auth-token": os.environ.get(TOKEN, "")}
        return get_json(f"{self.address}/carbon-intensity/{what}", {**asked, **query}, token, timeout_s)

    def _place(self) -> dict[str, str]:
        place, (cloud, colon, region) = coordinates(self.zone), self.zone.partition(":")
        if place is not None:
            return {"lat": place[0], "lon": place[1]}
        return {"dataCenterProvider": cloud, "dataCenterRegion": region} if colon else {"zone": self.zone}

    def _hours(self, answer: Any, current: datetime) -> dict[datetime, Hourly]:
        try:
            entries = answer["history"] if "history" in answer else answer["data"]
            known = [entry for entry in entries if entry["carbonIntensity"] is not None]
            return {time_of(one["datetime"]).replace(minute=0): self._hour(one, current) for one in known}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise malformed("Electricity Maps", error) from None

    def _hour(self, entry: Mapping[str, Any], current: datetime) -> Hourly:
        told = entry.get("emissionFactorType", self.factor_type)
        if told != self.factor_type:
            raise FetchError(f"Electricity Maps sent {told} factors, asked for {self.factor_type}", is_passing=False)
        estimated = entry.get("isEstimated")
        is_estimated = bool(estimated) if estimated is not None else None
        is_final = not estimated and time_of(entry["datetime"]).replace(minute=0) < current
        return Hourly(number(entry["carbonIntensity"]), str(entry.get("zone") or self.zone), is_estimated, is_final)
