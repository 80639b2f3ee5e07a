"""WattTime, API version 3: marginal (`co2_moer`) and average (`co2_aoer`) emission rates every five minutes."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import fmean
from typing import Any

from joulegrid.cluster.carbon.http import FetchError, get_json
from joulegrid.cluster.carbon.intensity import FactorType, Signal, hour_of
from joulegrid.cluster.carbon.services import Hourly, coordinates, malformed, number, time_of, utc_text

USER, PASSWORD = "WATTTIME_USER", "WATTTIME_PASSWORD"
ADDRESS = "https://api.watttime.org"
G_PER_KWH = 0.45359237
"""Grams for a kilowatt-hour in one pound for a megawatt-hour (the pound is 453.59237 g exactly)."""
UNITS = "lbs_co2_per_mwh"
TOKEN_S = 29 * 60.0
"""A token is valid for 30 minutes."""
_POINTS = 12
_SIGNALS: dict[Signal, str] = {"average": "co2_aoer", "marginal": "co2_moer"}


def _address() -> str:
    return os.environ.get("JOULEGRID_WATTTIME_URL") or ADDRESS


@dataclass(slots=True)
class WattTime:
    """One region: its abbreviation (`CAISO_NORTH`), or `latitude,longitude`."""

    zone: str
    address: str = field(default_factory=_address)
    name: str = field(default="watttime", init=False)
    licence: str = field(default="WattTime, the account's terms", init=False)
    _token: str = field(default="", init=False, repr=False)
    _token_until_s: float = field(default=0.0, init=False, repr=False)
    _regions: dict[Signal, str] = field(default_factory=dict, init=False, repr=False)

    def missing(self) -> str | None:
        """Say that name or password is missing."""
        lacking = [name for name in (USER, PASSWORD) if not os.environ.get(name)]
        return f"watttime needs the environment variable {' and '.join(lacking)}" if lacking else None

    def refuses(self, signal: Signal) -> None:
        """It has both signals; which of them an account may read, its answers tell."""

    def factor_of(self, signal: Signal) -> FactorType:
        """Return that only the plants' operation is counted."""
        return "direct"

    def fetch(self, hour: datetime, now: datetime, signal: Signal, timeout_s: float) -> Mapping[datetime, Hourly]:
        """Ask for the day that begins with the hour; the hour's value is the mean of its five-minute values."""
        last = min(hour + timedelta(hours=24), now) - timedelta(minutes=5)  # both ends are included in the answer
        query = {"region": self._region(signal, timeout_s), "signal_type": _SIGNALS[signal]}
        query |= {"start": utc_text(hour), "end": utc_text(max(last, hour))}
        answer = self._get("v3/historical", query, timeout_s)
        try:
            if answer["meta"]["units"] != UNITS:
                raise ValueError(f"units {answer['meta']['units']!r} instead of {UNITS}")
            return self._hours(answer, hour_of(int(now.timestamp()) * 10**9))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise malformed("WattTime", error) from None

    def _hours(self, answer: Any, current: datetime) -> dict[datetime, Hourly]:
        points: dict[datetime, list[float]] = {}
        for point in answer["data"]:
            hour = time_of(point["point_time"]).replace(minute=0, second=0, microsecond=0)
            points.setdefault(hour, []).append(number(point["value"]) * G_PER_KWH)
        region = str(answer["meta"].get("region") or self.zone)
        return {
            hour: Hourly(fmean(values), region, is_final=hour < current and len(values) >= _POINTS)
            for hour, values in points.items()
        }

    def _region(self, signal: Signal, timeout_s: float) -> str:
        place = coordinates(self.zone)
        if place is None:
            return self.zone
        if signal not in self._regions:
            query = {"latitude": place[0], "longitude": place[1], "signal_type": _SIGNALS[signal]}
            answer = self._get("v3/region-from-loc", query, timeout_s)
            try:
                self._regions[signal] = str(answer["region"])
            except (KeyError, TypeError) as error:
                raise malformed("WattTime", error) from None
        return self._regions[signal]

    def _get(self, path: str, query: Mapping[str, str], timeout_s: float) -> Any:
        """Ask with a token; where one that was thought valid is refused, once more with a new one."""
        is_old = time.monotonic() < self._token_until_s
        if not is_old:
            self._login(timeout_s)
        try:
            return self._ask(path, query, timeout_s)
        except FetchError as error:
            if error.status != 401 or not is_old:
                raise
        self._login(timeout_s)
        return self._ask(path, query, timeout_s)

    def _ask(self, path: str, query: Mapping[str, str], timeout_s: float) -> Any:
        return get_json(f"{self.address}/{path}", query, {"Authorization": f"Bearer {self._token}"}, timeout_s)

    def _login(self, timeout_s: float) -> None:
        pair = f"{os.environ.get(USER, '')}:{os.environ.get(PASSWORD, '')}".encode()
        basic = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        answer = get_json(f"{self.address}/login", {}, basic, timeout_s)
        try:
            self._token = str(answer["token"])
        except (KeyError, TypeError):
            raise FetchError("WattTime's login gave no token", is_passing=False) from None
        self._token_until_s = time.monotonic() + TOKEN_S
