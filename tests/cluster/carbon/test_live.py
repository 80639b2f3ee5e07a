"""Electricity Maps and WattTime against a local server: authentication, limits, errors, cache, age."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from joulegrid.cluster.carbon.cache import Cache, Kept, Key, cache_folder
from joulegrid.cluster.carbon.electricity_maps import ElectricityMaps
from joulegrid.cluster.carbon.live import FRESH_S, Live, Patience
from joulegrid.cluster.carbon.services import Hourly
from joulegrid.cluster.carbon.watttime import WattTime
from tests.cluster.carbon.grid_server import NOW, PASSWORD, TOKEN, USER, Grid, grid_server

CURRENT = NOW.replace(minute=0)
AGO = {hours: CURRENT - timedelta(hours=hours) for hours in (1, 2, 30, 40)}


class Clock:
    """A clock that is moved by hand; sleeping moves it and is noted."""

    def __init__(self) -> None:
        self.now_s = NOW.timestamp()
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


@pytest.fixture
def grid() -> Iterator[Grid]:
    os.environ["ELECTRICITY_MAPS_TOKEN"] = TOKEN
    os.environ["WATTTIME_USER"], os.environ["WATTTIME_PASSWORD"] = USER, PASSWORD
    hours = {CURRENT - timedelta(hours=n): 300.0 + n for n in range(50)}
    with grid_server(Grid(hours, estimated={AGO[1]})) as grid:
        yield grid


def maps(grid: Grid, tmp_path: Path, clock: Clock | None = None, **options: Any) -> Live:
    zone, clock = options.pop("zone", "DE"), clock or Clock()
    service = ElectricityMaps(zone, address=f"{grid.url}/v3")
    return Live(service, Cache(tmp_path), clock=clock, sleep=clock.sleep, **options)


def watt(grid: Grid, tmp_path: Path, zone: str = "CAISO_NORTH") -> Live:
    clock = Clock()
    return Live(WattTime(zone, address=grid.url), Cache(tmp_path), clock=clock, sleep=clock.sleep)


def test_a_recent_hour_is_asked_for_once_with_the_documented_parameters(grid: Grid, tmp_path: Path) -> None:
    live = maps(grid, tmp_path)
    found = live.intensity(AGO[2], "average")
    assert (found.g_per_kwh, found.zone, found.factor_type, found.is_estimated) == (302.0, "DE", "lifecycle", False)
    assert (found.source, found.age_s) == ("electricity-maps", None) and found.fetched_at
    assert live.intensity(AGO[1], "average").is_estimated is True  # came along with the same answer
    ((path, query, headers),) = grid.asked
    assert path == "/v3/carbon-intensity/history"
    assert query == {"zone": "DE", "emissionFactorType": "lifecycle", "shouldUseFallbackCallerLookup": "false"}
    assert headers["auth-token"] == TOKEN


def test_the_current_hour_and_those_before_the_last_day_have_their_own_questions(grid: Grid, tmp_path: Path) -> None:
    live = maps(grid, tmp_path)
    assert live.intensity(CURRENT, "average").g_per_kwh == 300.0
    assert live.intensity(AGO[40], "average").g_per_kwh == 340.0
    assert live.intensity(AGO[30], "average").g_per_kwh == 330.0  # in the same answer
    assert grid.paths() == ["history", "latest", "past-range"]


def test_places_and_cloud_regions_are_told_as_the_service_takes_them(grid: Grid, tmp_path: Path) -> None:
    maps(grid, tmp_path, zone="52.5, 13.4").intensity(AGO[2], "average")
    maps(grid, tmp_path, zone="aws:eu-central-1").intensity(AGO[2], "average")
    assert {"lat": "52.5", "lon": "13.4"}.items() <= grid.asked[0][1].items()
    assert {"dataCenterProvider": "aws", "dataCenterRegion": "eu-central-1"}.items() <= grid.asked[1][1].items()


def test_past_hours_are_never_asked_for_again_not_even_by_another_process(grid: Grid, tmp_path: Path) -> None:
    maps(grid, tmp_path).intensity(AGO[2], "average")
    clock = Clock()
    clock.now_s += 400 * 86_400
    later = maps(grid, tmp_path, clock).intensity(AGO[2], "average")
    assert (later.g_per_kwh, later.age_s, len(grid.asked)) == (302.0, None, 1)


def test_what_may_still_change_is_asked_for_again_after_a_quarter_of_an_hour(grid: Grid, tmp_path: Path) -> None:
    clock = Clock()
    live = maps(grid, tmp_path, clock)
    live.intensity(AGO[1], "average")
    grid.hours[AGO[1]], grid.estimated = 111.0, set()
    assert live.intensity(AGO[1], "average").g_per_kwh == 301.0
    clock.now_s += FRESH_S
    assert live.intensity(AGO[1], "average").g_per_kwh == 111.0


def test_an_old_copy_stands_in_for_an_error_and_says_its_age(grid: Grid, tmp_path: Path) -> None:
    clock = Clock()
    live = maps(grid, tmp_path, clock)
    live.intensity(AGO[1], "average")
    clock.now_s += 7_200
    grid.faults = [(500, {})] * 9
    stale = live.intensity(AGO[1], "average")
    assert stale.g_per_kwh == 301.0
    assert stale.age_s == pytest.approx(7_200, abs=5)
    assert "HTTP 500" in (stale.reason or "")


def test_passing_errors_are_tried_again_with_growing_waits(grid: Grid, tmp_path: Path) -> None:
    clock = Clock()
    grid.faults = [(503, {}), (429, {"Retry-After": "3"})]
    assert maps(grid, tmp_path, clock).intensity(AGO[2], "average").g_per_kwh == 302.0
    assert clock.slept == [0.5, 3.0]


def test_a_long_retry_after_is_kept_and_nobody_waits_for_it(grid: Grid, tmp_path: Path) -> None:
    clock = Clock()
    live = maps(grid, tmp_path, clock)
    grid.faults = [(429, {"Retry-After": "600"})]
    assert "HTTP 429" in (live.intensity(AGO[2], "average").reason or "")
    clock.now_s += 599
    assert live.intensity(AGO[2], "average").g_per_kwh is None
    assert (clock.slept, len(grid.asked)) == ([], 1)
    clock.now_s += 2
    assert live.intensity(AGO[2], "average").g_per_kwh == 302.0


def test_a_dead_service_is_left_alone_for_longer_and_longer(tmp_path: Path) -> None:
    os.environ["ELECTRICITY_MAPS_TOKEN"] = TOKEN
    clock = Clock()
    live = maps(Grid(url="http://127.0.0.1:9"), tmp_path, clock, patience=Patience(tries=1))
    asked = 0
    for _ in range(3_600):
        before = live._failures
        assert live.intensity(AGO[2], "average").g_per_kwh is None
        asked += live._failures - before
        clock.now_s += 1
    assert 5 <= asked <= 8  # 0, 30, 90, 210, 450, 930, 1890 s


@pytest.mark.parametrize(
    ("status", "words"), [(401, "token or password is wrong"), (403, "plan"), (404, "no such zone"), (301, "HTTP 301")]
)
def test_what_another_try_cannot_mend_is_not_tried_again(grid: Grid, tmp_path: Path, status: int, words: str) -> None:
    live = maps(grid, tmp_path)
    grid.faults = [(status, {"Location": "http://127.0.0.1:9/elsewhere"})]
    for _ in range(3):
        found = live.intensity(AGO[2], "average")
        assert found.g_per_kwh is None and words in (found.reason or "")
        assert TOKEN not in found.model_dump_json()
    assert len(grid.asked) == 1


def test_a_free_account_keeps_its_last_day_though_the_past_is_refused(grid: Grid, tmp_path: Path) -> None:
    grid.has_past = False
    live = maps(grid, tmp_path)
    assert "plan" in (live.intensity(AGO[40], "average").reason or "")
    assert live.intensity(AGO[2], "average").g_per_kwh == 302.0


def test_a_missing_hour_is_null_and_not_asked_for_at_every_window(grid: Grid, tmp_path: Path) -> None:
    del grid.hours[AGO[2]]
    live = maps(grid, tmp_path)
    for _ in range(5):
        assert "no value for 2026-03-02 10:00 UTC" in (live.intensity(AGO[2], "average").reason or "")
    assert len(grid.asked) == 1


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"history": None},
        {"history": [{"datetime": "2026-03-02T10:00:00Z"}]},
        {"history": [{"datetime": "yesterday", "carbonIntensity": 1}]},
        {"history": [{"datetime": "2026-03-02T10:00:00Z", "carbonIntensity": -5}]},
        {"history": [{"datetime": "2026-03-02T10:00:00Z", "carbonIntensity": "12"}]},
        {"history": [{"datetime": "2026-03-02T10:00:00Z", "carbonIntensity": 9, "emissionFactorType": "direct"}]},
    ],
)
def test_a_document_of_another_form_is_no_intensity(grid: Grid, tmp_path: Path, document: Any) -> None:
    grid.malformed = document
    found = maps(grid, tmp_path).intensity(AGO[2], "average")
    assert found.g_per_kwh is None and "Electricity Maps sent" in (found.reason or "")


def test_what_is_no_json_and_what_hangs_are_errors_that_pass(grid: Grid, tmp_path: Path) -> None:
    grid.raw = b"<html>"
    assert "sent no JSON" in (maps(grid, tmp_path).intensity(AGO[2], "average").reason or "")
    grid.raw, grid.hang_s = None, 0.5
    live = maps(grid, tmp_path, patience=Patience(tries=1, timeout_s=0.05))
    assert "cannot be reached" in (live.intensity(AGO[2], "average").reason or "")


def test_offline_and_without_a_token_nobody_is_asked(grid: Grid, tmp_path: Path) -> None:
    maps(grid, tmp_path).intensity(AGO[2], "average")
    asked = len(grid.asked)
    offline = maps(grid, tmp_path, offline=True)
    assert offline.intensity(AGO[2], "average").g_per_kwh == 302.0
    assert "offline" in (offline.intensity(AGO[30], "average").reason or "") and offline.complaint() is None
    del os.environ["ELECTRICITY_MAPS_TOKEN"]
    live = maps(grid, tmp_path)
    assert "ELECTRICITY_MAPS_TOKEN" in (live.intensity(AGO[30], "average").reason or "")
    assert "ELECTRICITY_MAPS_TOKEN" in (live.complaint() or "") and len(grid.asked) == asked


def test_electricity_maps_has_no_marginal_intensity(grid: Grid, tmp_path: Path) -> None:
    assert maps(grid, tmp_path).intensity(AGO[2], "marginal").g_per_kwh is None
    assert grid.asked == []


def test_watttime_is_logged_in_to_once_and_converted_from_pounds(grid: Grid, tmp_path: Path) -> None:
    live = watt(grid, tmp_path)
    found = live.intensity(AGO[2], "marginal")
    assert found.g_per_kwh == pytest.approx(302.0) and found.factor_type == "direct"
    assert live.intensity(AGO[40], "marginal").g_per_kwh == pytest.approx(340.0)
    assert grid.paths() == ["login", "historical", "historical"]
    assert grid.asked[1][1]["signal_type"] == "co2_moer"
    refused = live.intensity(AGO[2], "average")  # the account has the marginal signal only
    assert refused.g_per_kwh is None and "plan" in (refused.reason or "")
    assert live.intensity(AGO[2], "marginal").g_per_kwh == pytest.approx(302.0)


def test_watttime_finds_its_region_and_logs_in_again_where_a_token_has_ended(grid: Grid, tmp_path: Path) -> None:
    live = watt(grid, tmp_path, "38.0,-122.0")
    assert live.intensity(AGO[40], "marginal").zone == "CAISO_NORTH"
    grid.faults = [(401, {})]
    assert live.intensity(AGO[2], "marginal").g_per_kwh == pytest.approx(302.0)
    assert grid.paths() == ["login", "region-from-loc", "historical", "historical", "login", "historical"]


def test_a_wrong_watttime_password_is_said_and_not_shown(grid: Grid, tmp_path: Path) -> None:
    os.environ["WATTTIME_PASSWORD"] = "wrong-one"
    found = watt(grid, tmp_path).intensity(AGO[2], "marginal")
    assert "token or password is wrong" in (found.reason or "") and "wrong-one" not in found.model_dump_json()
    del os.environ["WATTTIME_PASSWORD"]
    assert "WATTTIME_PASSWORD" in (watt(grid, tmp_path).complaint() or "")


def test_no_credential_lies_in_the_cache(grid: Grid, tmp_path: Path) -> None:
    maps(grid, tmp_path).intensity(AGO[2], "average")
    watt(grid, tmp_path).intensity(AGO[2], "marginal")
    kept = "".join(path.read_text() + str(path) for path in tmp_path.rglob("*.json"))
    assert kept and not any(secret in kept for secret in (TOKEN, PASSWORD, USER, "bearer"))


def test_the_cache_lies_below_the_users_and_strange_zones_stay_inside(tmp_path: Path) -> None:
    os.environ["XDG_CACHE_HOME"] = str(tmp_path)
    assert cache_folder() == tmp_path / "joulegrid" / "carbon"
    for zone in ("../../x", "52.5,13.4", "a/b", ".."):
        file = Key("watttime", zone, "marginal", "direct").file(cache_folder(), CURRENT)
        assert file.resolve().is_relative_to(cache_folder()) and len(file.relative_to(cache_folder()).parts) == 4


def test_a_damaged_file_or_a_folder_that_cannot_be_written_costs_only_a_question(grid: Grid, tmp_path: Path) -> None:
    maps(grid, tmp_path).intensity(AGO[2], "average")
    for path in tmp_path.rglob("*.json"):
        path.write_text('{"g_per_kwh": "many"')
    assert maps(grid, tmp_path).intensity(AGO[2], "average").g_per_kwh == 302.0
    blocked = tmp_path / "file"
    blocked.write_text("")
    live = maps(grid, blocked)
    assert live.intensity(AGO[2], "average").g_per_kwh == 302.0
    asked = len(grid.asked)
    assert live.intensity(AGO[2], "average").g_per_kwh == 302.0 and len(grid.asked) == asked


def _write_and_read(folder: str, number: int) -> None:
    key, cache = Key("p", "DE", "average", "direct"), Cache(Path(folder))
    for turn in range(200):
        cache.put(key, CURRENT, Kept(Hourly(100.0 + number, "DE", is_final=False), float(turn)))
        found = cache.get(key, CURRENT)
        assert found is not None and found.hourly.g_per_kwh in (100.0, 101.0, 102.0)


def test_several_processes_share_a_cache(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    several = [context.Process(target=_write_and_read, args=(str(tmp_path), number)) for number in range(3)]
    for one in several:
        one.start()
    for one in several:
        one.join(30)
    assert [one.exitcode for one in several] == [0, 0, 0]
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"]


def test_a_final_value_is_never_replaced(tmp_path: Path) -> None:
    key, cache = Key("p", "DE", "average", "direct"), Cache(tmp_path)
    cache.put(key, CURRENT, Kept(Hourly(1.0, "DE"), 1.0))
    cache.put(key, CURRENT, Kept(Hourly(2.0, "DE"), 2.0))
    assert (cache.get(key, CURRENT) or Kept(Hourly(0, ""), 0)).hourly.g_per_kwh == 1.0


def test_the_hour_is_that_of_utc_however_it_is_written(grid: Grid, tmp_path: Path) -> None:
    berlin = datetime.fromisoformat("2026-03-02T11:00:00+01:00")
    assert maps(grid, tmp_path).intensity(berlin, "average").g_per_kwh == 302.0
