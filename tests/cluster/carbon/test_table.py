"""What needs no network: a given value, the embedded table, the section's rules."""

from __future__ import annotations

import csv
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

import joulegrid
from joulegrid.cluster.carbon.config import CarbonConfig, over, provider_of
from joulegrid.cluster.carbon.footprint import Accounting, Footprint
from joulegrid.cluster.carbon.intensity import Intensity
from joulegrid.cluster.carbon.still import datasets, find

HOUR = datetime(2026, 3, 2, 10, tzinfo=UTC)


def average(**section: object) -> Intensity:
    return provider_of(CarbonConfig.model_validate(section)).intensity(HOUR, "average")


@pytest.mark.parametrize(
    ("zone", "g_per_kwh", "year", "factor_type"),
    [
        ("DE", 380.95, 2023, "lifecycle"),
        ("deu", 380.95, 2023, "lifecycle"),
        ("germany", 380.95, 2023, "lifecycle"),
        ("US-VA", 539.599 * 0.45359237, 2023, "direct"),
        ("CAMX", 497.443 * 0.45359237, 2022, "direct"),
        ("gcp:europe-west9", 15.83, 2025, "direct"),
        ("aws:eu-central-1", 380.95, 2023, "lifecycle"),
        ("azure:eastus", 539.599 * 0.45359237, 2023, "direct"),
    ],
)
def test_the_table_tells_value_year_and_kind(zone: str, g_per_kwh: float, year: int, factor_type: str) -> None:
    found = average(zone=zone)
    assert found.g_per_kwh == pytest.approx(g_per_kwh, abs=0.001)
    assert (found.dataset_year, found.factor_type) == (year, factor_type)
    assert found.licence and found.source in {row["title"] for row in datasets().values()}


def test_every_row_of_the_table_is_plausible_and_names_a_dataset() -> None:
    folder = Path(joulegrid.__file__).parent / "cluster" / "carbon"
    rows = list(csv.DictReader((folder / "grid.csv").read_text(encoding="utf-8").splitlines()))
    assert len({row["zone"] for row in rows}) == len(rows) == 336
    assert all(0 < float(row["g_per_kwh"]) < 1500 and 2021 <= int(row["year"]) <= 2025 for row in rows)
    assert {row["dataset"] for row in rows} == datasets().keys()
    assert all(
        find(row["cloud_region"]) for row in csv.DictReader((folder / "cloud_regions.csv").read_text().splitlines())
    )


def test_without_a_place_nothing_is_known_and_no_country_stands_in() -> None:
    found = average()
    assert found.g_per_kwh is None and "nothing says where the power is drawn" in (found.reason or "")


def test_an_unknown_zone_is_null_and_the_nearest_are_named() -> None:
    found = average(zone="Germanny")
    assert found.g_per_kwh is None and "did you mean DE?" in (found.reason or "")


def test_a_given_value_is_an_average_and_no_marginal_one() -> None:
    provider = provider_of(CarbonConfig(intensity_g_per_kwh=400, zone="DE"))
    assert provider.intensity(HOUR, "average").g_per_kwh == 400
    assert provider.intensity(HOUR, "marginal").g_per_kwh is None


@pytest.mark.parametrize(
    "section",
    [
        {"intensity_g_per_kwh": 400, "provider": "watttime", "zone": "CAISO_NORTH"},
        {"provider": "electricity-maps"},
        {"pue_source": "Uptime"},
        {"pue": 0.9},
        {"intensity_g_per_kwh": -1},
        {"intensity_g_per_kwh": float("nan")},
        {"currency": "euro"},
        {"place": "DE"},
        {"zone": ""},
    ],
)
def test_a_contradictory_section_is_refused(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CarbonConfig.model_validate(section)


def test_one_decision_is_never_mixed_from_two_places() -> None:
    own = {"zone": "DE", "provider": "electricity-maps", "price_per_kwh": 0.3, "currency": "EUR", "pue": 1.3}
    assert over(own, {"intensity_g_per_kwh": 400}) == {
        "intensity_g_per_kwh": 400, "price_per_kwh": 0.3, "currency": "EUR", "pue": 1.3
    }  # fmt: skip
    assert over(own, {"price_per_kwh": 2.0})["zone"] == "DE" and "currency" not in over(own, {"price_per_kwh": 2.0})


def test_grams_are_the_sum_over_hours_and_unknown_where_one_hour_is() -> None:
    class Two:
        name = "two"

        def intensity(self, hour: datetime, signal: str) -> Intensity:
            value = {10: 100.0, 11: 300.0}.get(hour.hour) if signal == "average" else None
            return Intensity.model_validate({"g_per_kwh": value, "signal": signal, "source": "two", "reason": "no"})

        def complaint(self) -> None: ...

    accounting = Accounting(CarbonConfig(pue=1.5, price_per_kwh=0.4, price_per_gpu_hour=2.0), Two())
    found = accounting.footprint({HOUR: 3.6e6, HOUR.replace(hour=11): 7.2e6})
    assert found.energy_j == 10.8e6
    assert found.facility_energy_j == pytest.approx(16.2e6)
    assert (found.average_g, found.facility_average_g, found.marginal_g) == (700.0, 1050.0, None)
    assert found.energy_cost == pytest.approx(1.8)
    assert accounting.footprint({HOUR: 1.0, HOUR.replace(hour=12): 1.0}).average_g is None
    assert accounting.gpu_cost(1.5) == 3.0
    total = Footprint.total((found, Footprint(1.0)))
    assert (total.energy_j, total.average_g) == (10.8e6 + 1.0, None)


def test_importing_and_the_table_open_no_socket_and_load_no_http() -> None:
    code = (
        "import sys, socket\n"
        "def no(*a, **k): raise SystemExit('a socket')\n"
        "socket.socket = no\n"
        "from joulegrid.cluster.carbon.config import CarbonConfig, provider_of\n"
        "import datetime\n"
        "now = datetime.datetime.now(datetime.UTC)\n"
        "assert provider_of(CarbonConfig(zone='DE')).intensity(now, 'average').g_per_kwh\n"
        "import joulegrid.jobs.study_result\n"
        "assert not {'urllib.request', 'http.client', 'ray', 'torch'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
