"""`joulegrid carbon`: a finished run priced again from its store, and what the report says of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from joulegrid.actors.result import ExperimentResult
from joulegrid.cluster.carbon.config import CarbonConfig, provider_of
from joulegrid.cluster.carbon.footprint import Accounting
from joulegrid.cluster.power.energy import Energy
from joulegrid.cluster.storage import Store
from joulegrid.errors import UsageError
from joulegrid.jobs.carbon.carbon_command import CarbonFlags, carbon_command
from joulegrid.jobs.report.assembly import assemble
from joulegrid.jobs.report.run_report import read_run, report
from tests.cluster.carbon.grid_server import NOW, TOKEN, Grid, grid_server
from tests.jobs.report.results import Made, done, measured, no_energy, run_folder

HOUR_NS = 3_600 * 10**9
J = 3_600_000.0


def placed(result: ExperimentResult, headline_begins: datetime) -> ExperimentResult:
    """Move a result so that its headline window begins at a wall-clock time."""
    window = (result.windows or [])[-1]
    offset_ns = round(headline_begins.timestamp()) * 10**9 - window.t0_ns
    return result.model_copy(update={"timing": result.timing.model_copy(update={"unix_offset_ns": offset_ns})})


def a_run(folder: Path, *energies: Energy, begins: datetime = NOW, **made: Any) -> Store:
    results = [placed(done(Made(index=n, energy=one, **made)), begins) for n, one in enumerate(energies)]
    return run_folder(folder, results)


def priced(store: Store, capsys: pytest.CaptureFixture[str], **changes: Any) -> dict[str, Any]:
    carbon_command([store.url], CarbonFlags(changes, as_json=True))
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_a_given_intensity_prices_every_kind_of_joules_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = a_run(tmp_path / "run with spaces", measured(J), no_energy())
    told = priced(store, capsys, intensity_g_per_kwh=400.0, pue=1.25, price_per_kwh=0.2, price_per_gpu_hour=3.0)
    gpu, cpu, none = told["carbon"]["totals"]
    assert (gpu["provenance"], cpu["provenance"], none["provenance"]) == ("measured", "modelled", None)
    assert gpu["average_g"] == pytest.approx(440.0)  # the windows prefill (a tenth) and decode
    assert gpu["facility_average_g"] == pytest.approx(550.0) and gpu["energy_cost"] == pytest.approx(0.275)
    assert cpu["average_g"] == pytest.approx(80.0 / J * 400)
    assert none["average_g"] is none["energy_j"] is none["energy_cost"] is None and none["n_windows"] == 2
    known, unknown = told["rows"]
    assert known["footprint"]["average_g"]["mean"] == pytest.approx(400.0)
    assert known["footprint"]["gpu_cost"]["mean"] == pytest.approx(3.0 * 10 / 3600)
    assert "average_g" not in unknown["footprint"]
    assert told["carbon"]["gpu_hours"] == pytest.approx(13 / 3600)  # the task without energy had no GPU


def test_a_window_across_an_hour_is_priced_hour_by_hour_along_its_series(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.environ |= {"ELECTRICITY_MAPS_TOKEN": TOKEN, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    midnight = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=60)
    store = a_run(tmp_path / "run", measured(J), begins=midnight - timedelta(seconds=2), seconds=10.0)
    with grid_server(Grid({midnight - timedelta(hours=1): 100.0, midnight: 600.0})) as grid:
        os.environ["JOULEGRID_ELECTRICITY_MAPS_URL"] = f"{grid.url}/v3"
        told = priced(store, capsys, zone="DE", provider="electricity-maps")
    grams = told["rows"][0]["footprint"]["average_g"]["mean"]
    assert grams == pytest.approx(0.2 * 100 + 0.8 * 600, rel=0.02)  # the series is flat but for some noise
    used = told["carbon"]["intensities"][0]
    assert (used["n_hours"], used["low_g_per_kwh"], used["high_g_per_kwh"]) == (2, 100.0, 600.0)
    (note,) = told["carbon"]["notes"]
    assert "shared out evenly" in note and "windows: 1" in note  # the modelled CPU beside has no series
    offline = CarbonFlags({"zone": "DE", "provider": "electricity-maps"}, offline=True, as_json=True)
    carbon_command([store.url], offline)  # the server is gone
    assert json.loads(capsys.readouterr().out)["rows"][0]["footprint"]["average_g"]["mean"] == grams
    assert TOKEN not in json.dumps(told)


def test_a_service_that_fails_leaves_grams_null_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.environ |= {"ELECTRICITY_MAPS_TOKEN": "wrong", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    store = a_run(tmp_path / "run", measured(J))
    with grid_server(Grid()) as grid:
        os.environ["JOULEGRID_ELECTRICITY_MAPS_URL"] = f"{grid.url}/v3"
        told = priced(store, capsys, zone="DE", provider="electricity-maps")
    assert told["carbon"]["totals"][0]["average_g"] is None
    assert "token or password is wrong" in told["carbon"]["unknown"]["average"]


def test_results_of_older_versions_are_placed_by_their_tasks_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = run_folder(tmp_path / "run", [done(Made(energy=measured(J)))])
    told = priced(store, capsys, zone="FR")
    assert told["rows"][0]["footprint"]["average_g"]["mean"] == pytest.approx(56.039)
    assert "by their task's start" in told["carbon"]["notes"][0]


def test_the_table_and_the_pages_say_whose_numbers_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = a_run(tmp_path / "run", measured(J))
    before = {path: store.get(path) for path in store.list()}
    flags = {"zone": "DE", "pue": 1.56, "pue_source": "Uptime <2024>", "price_per_kwh": 0.3, "currency": "EUR"}
    carbon_command([store.url], CarbonFlags(flags))
    shown = capsys.readouterr().out
    for word in ("g CO₂e", "380.9 g/kWh", "2023", "CC BY 4.0", "PUE 1.56, Uptime <2024>", "EUR"):
        assert word in " ".join(shown.split()), word
    assert {path: store.get(path) for path in store.list()} == before  # nothing was written
    carbon_command([store.url], CarbonFlags(flags, write=True))
    assert {"study_result.json", "summary.parquet", "report/report.md", "report/report.html"} <= set(store.list())
    page = store.get("report/report.html").decode()
    assert "Carbon and cost" in page and "Uptime &lt;2024&gt;" in page and "Uptime <2024>" not in page
    assert "## Carbon and cost" in store.get("report/report.md").decode()
    closing = read_run(store.url).study.carbon
    assert closing is not None and (closing.zone, closing.pue, closing.currency) == ("DE", 1.56, "EUR")
    report([store.url])
    assert "energy cost" in capsys.readouterr().out


def test_the_summary_file_has_the_columns(tmp_path: Path) -> None:
    import io

    import pyarrow.parquet as pq

    store = a_run(tmp_path / "run", measured(J))
    config = CarbonConfig(intensity_g_per_kwh=100)
    assemble(store, Accounting(config, provider_of(config)), write_summary=True)
    table = pq.read_table(io.BytesIO(store.get("summary.parquet")))
    assert table["footprint.average_g.mean"].to_pylist() == pytest.approx([100.0])


def test_the_runs_own_study_says_how_it_is_priced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = a_run(tmp_path / "run", measured(J))
    store.put("resolved.yaml", b"execution: {carbon: {zone: SE, pue: 1.1}}")
    assert assemble(store).summary[0].footprint["average_g"].mean == pytest.approx(40.695)
    assert priced(store, capsys)["carbon"]["zone"] == "SE"
    changed = priced(store, capsys, intensity_g_per_kwh=7.0)["carbon"]
    assert (changed["provider"], changed["pue"]) == ("given", 1.1)
    for broken in (b"execution: [", b"execution: {carbon: {zone: 5, pue: x}}", b"7"):
        store.put("resolved.yaml", broken)
        assert assemble(store).carbon is not None  # a run is readable whatever was done to that file


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "give --zone DE or --intensity 400"),
        ({"zone": "Nowhereland"}, "no zone 'Nowhereland'"),
        ({"zone": "DE", "provider": "electricity-maps"}, "ELECTRICITY_MAPS_TOKEN"),
        ({"zone": "DE", "provider": "watttime"}, "WATTTIME_USER and WATTTIME_PASSWORD"),
        ({"intensity_g_per_kwh": -4.0}, "intensity_g_per_kwh"),
        ({"zone": "DE", "pue": 0.5}, "pue"),
        ({"provider": "nobody", "zone": "DE"}, "provider"),
        ({"intensity_g_per_kwh": 4.0, "provider": "table"}, "two sources"),
    ],
)
def test_what_cannot_be_priced_is_said_with_the_remedy(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    for name in ("ELECTRICITY_MAPS_TOKEN", "WATTTIME_USER", "WATTTIME_PASSWORD"):
        os.environ.pop(name, None)
    store = a_run(tmp_path / "run", measured(J))
    with pytest.raises(UsageError, match=told):
        carbon_command([store.url], CarbonFlags(changes))


def test_no_run_or_a_folder_of_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run at"):
        carbon_command([str(tmp_path)], CarbonFlags({"zone": "DE"}))
    a_run(tmp_path / "one", measured(J))
    a_run(tmp_path / "two", measured(J))
    with pytest.raises(UsageError, match="give one of them: one, two"):
        carbon_command([str(tmp_path)], CarbonFlags({"zone": "DE"}))


def test_the_verb_needs_neither_ray_nor_torch_and_ends_with_2_for_a_wrong_flag(tmp_path: Path) -> None:
    store = a_run(tmp_path / "run", measured(J))
    code = (
        "import sys\n"
        "from joulegrid.jobs import cli\n"
        f"sys.argv = ['joulegrid', 'carbon', {store.url!r}, *sys.argv[1:]]\n"
        "try: cli.main()\n"
        "finally: assert not {'ray', 'torch', 'urllib.request'} & sys.modules.keys()\n"
    )

    def verb(*flags: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code, *flags], capture_output=True, text=True, timeout=60)

    good = verb("--intensity", "400", "--price-per-kwh", "0.1")
    assert good.returncode == 0 and "400 g/kWh" in good.stdout, good.stderr
    bad = verb("--provider", "nobody", "--zone", "DE")
    assert bad.returncode == 2 and "Traceback" not in bad.stderr and "watttime" in bad.stderr


def test_a_run_without_a_result_says_that_there_is_nothing_to_price(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = run_folder(tmp_path / "run", [])
    assert carbon_command([store.url], CarbonFlags({"zone": "DE"})) == 0
    assert "No experiment has a result yet" in capsys.readouterr().out
