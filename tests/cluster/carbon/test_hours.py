"""A window's joules by UTC hour: golden values, and that nothing is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegrid.cluster.carbon.hours import HOUR_NS, crosses_an_hour, split


def ns(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 10**9


def by_hour(found: dict[datetime, float]) -> dict[str, float]:
    assert all(hour.tzinfo is UTC for hour in found)
    return {hour.strftime("%dT%H"): joules for hour, joules in found.items()}


def test_a_window_inside_an_hour_belongs_to_it() -> None:
    assert by_hour(split(7.0, ns("2026-03-02T10:10:00Z"), ns("2026-03-02T10:59:59Z"))) == {"02T10": 7.0}
    assert by_hour(split(7.0, ns("2026-03-02T10:00:00Z"), ns("2026-03-02T11:00:00Z"))) == {"02T10": 7.0}
    assert not crosses_an_hour(ns("2026-03-02T10:00:00Z"), ns("2026-03-02T11:00:00Z"))


def test_constant_power_is_shared_out_by_time() -> None:
    found = split(3600.0, ns("2026-03-02T22:45:00Z"), ns("2026-03-03T00:15:00Z"))
    assert by_hour(found) == {"02T22": 600.0, "02T23": 2400.0, "03T00": 600.0}


def test_a_series_shares_out_by_its_integral() -> None:
    begin, end = ns("2026-03-02T10:50:00Z"), ns("2026-03-02T11:10:00Z")
    power = [(begin, 100.0), (ns("2026-03-02T11:00:00Z"), 100.0), (ns("2026-03-02T11:00:00Z") + 1, 300.0), (end, 300.0)]
    assert by_hour(split(400.0, begin, end, power)) == pytest.approx({"02T10": 100.0, "02T11": 300.0})


def test_beyond_the_first_and_last_reading_the_power_is_held() -> None:
    begin, end = ns("2026-03-02T10:30:00Z"), ns("2026-03-02T11:30:00Z")
    assert by_hour(split(10.0, begin, end, [(begin + 10**9, 50.0)])) == pytest.approx({"02T10": 5.0, "02T11": 5.0})
    assert by_hour(split(10.0, begin, end, [(begin, 0.0), (end, 0.0)])) == {"02T10": 5.0, "02T11": 5.0}


def test_hours_are_utc_also_while_clocks_are_changed() -> None:
    """In Berlin 02:30 comes twice on 25 October 2026; as UTC hours the two are different ones."""
    first, second = ns("2026-10-25T02:30:00+02:00"), ns("2026-10-25T02:30:00+01:00")
    assert by_hour(split(60.0, first, second)) == {"25T00": 30.0, "25T01": 30.0}
    spring = split(60.0, ns("2026-03-29T01:30:00+01:00"), ns("2026-03-29T03:30:00+02:00"))
    assert by_hour(spring) == {"29T00": 30.0, "29T01": 30.0}


def test_an_empty_window_keeps_its_joules() -> None:
    assert by_hour(split(0.0, ns("2026-03-02T10:00:00Z"), ns("2026-03-02T10:00:00Z"))) == {"02T10": 0.0}


@given(
    st.floats(0, 1e9),
    st.integers(0, 10**19),
    st.integers(0, 9 * HOUR_NS),
    st.lists(st.tuples(st.integers(0, 9 * HOUR_NS), st.floats(0, 1e4)), max_size=6, unique_by=lambda one: one[0]),
)
def test_no_joule_is_lost_or_made(energy_j: float, begin: int, length: int, readings: list[tuple[int, float]]) -> None:
    found = split(energy_j, begin, begin + length, [(begin + t, watts) for t, watts in readings if t <= length])
    assert sum(found.values()) == pytest.approx(energy_j, rel=1e-9, abs=1e-9)
    assert all(joules >= 0 for joules in found.values())
    hours = sorted(found)
    assert hours == [hours[0] + timedelta(hours=n) for n in range(len(hours))]
