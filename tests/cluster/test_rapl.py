"""RAPL over a powercap tree of real files that really advance."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from joulegrid.cluster.power.sampler.frames import Order
from joulegrid.cluster.power.sampler.recorder import Recorder, Target
from joulegrid.cluster.power.sampler.sampling import Opened
from joulegrid.cluster.power.sensors.rapl import open_domains
from joulegrid.cluster.power.sensors.sources import PowerConfig
from joulegrid.errors import PreFlightError

if TYPE_CHECKING:
    from collections.abc import Iterator

LANE = Target(cpus=(0, 1))
RANGE_UJ = 50_000_000


class Zone:
    """One folder of the powercap tree, counting at a constant power from its creation on."""

    def __init__(self, root: Path, zone: str, name: str, power_w: float, start_uj: int = 1_000_000) -> None:
        self.folder = root / zone
        self.folder.mkdir()
        (self.folder / "name").write_text(f"{name}\n")
        (self.folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        self.power_w, self.start_uj = power_w, start_uj
        self.t0_ns = time.monotonic_ns()
        self.advance()

    def advance(self) -> None:
        energy_uj = self.start_uj + round(self.power_w * (time.monotonic_ns() - self.t0_ns) / 1e3)
        fresh = self.folder / ".energy_uj"
        fresh.write_text(f"{energy_uj % RANGE_UJ}\n")
        fresh.rename(self.folder / "energy_uj")  # at once: a reader never sees half a number


@contextmanager
def advancing(zones: list[Zone]) -> Iterator[None]:
    ending = threading.Event()

    def advance() -> None:
        while not ending.wait(0.002):
            for zone in zones:
                zone.advance()

    thread = threading.Thread(target=advance)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


@contextmanager
def recording(root: Path, source: str = "rapl") -> Iterator[Recorder]:
    recorder = Recorder(PowerConfig.model_validate({"source": source, "period_s": 0.02}), powercap=root)
    recorder.start()
    try:
        yield recorder
    finally:
        recorder.stop()


def full_tree(root: Path) -> list[Zone]:
    return [
        Zone(root, "intel-rapl:0", "package-0", 30.0),
        Zone(root, "intel-rapl:0:0", "core", 20.0),
        Zone(root, "intel-rapl:0:1", "dram", 4.0),
        Zone(root, "intel-rapl:1", "package-1", 50.0),
        Zone(root, "intel-rapl:1:0", "dram", 6.0),
        Zone(root, "intel-rapl:2", "psys", 500.0),
        Zone(root, "intel-rapl-mmio:0", "package-0", 30.0),
    ]


def window(seconds: float) -> tuple[int, int]:
    t0_ns = time.monotonic_ns()
    time.sleep(seconds)
    return t0_ns, time.monotonic_ns()


def test_packages_are_summed_once_and_dram_stands_beside_them(tmp_path: Path) -> None:
    with advancing(full_tree(tmp_path)), recording(tmp_path) as recorder:
        t0_ns, t1_ns = window(1.0)
        energy, beside = recorder.energy(t0_ns, t1_ns, LANE, cpu_s=1.0)
        samples = recorder.series(t0_ns, t1_ns, LANE, "here/cpu0")
    seconds = (t1_ns - t0_ns) / 1e9
    assert recorder.sources == ["rapl"]
    assert energy.energy_j == pytest.approx(80.0 * seconds, rel=0.05)
    assert (energy.source, energy.provenance, energy.scope) == ("rapl", "measured", "cpu_package")
    assert energy.low_j is not None and energy.high_j is not None
    late_j = 80.0 * 0.03  # the thread that moves the files is late on a busy machine; a processor is not
    assert energy.low_j - late_j <= 80.0 * seconds <= energy.high_j + late_j
    assert [(part.scope, part.provenance) for part in beside] == [("dram", "measured")]
    assert beside[0].energy_j == pytest.approx(10.0 * seconds, rel=0.05)
    assert {sample.device for sample in samples} == {"package-0", "package-1", "package-0-dram", "package-1-dram"}


def test_auto_prefers_rapl_to_the_model(tmp_path: Path) -> None:
    with advancing(full_tree(tmp_path)), recording(tmp_path, "auto") as recorder:
        energy, _ = recorder.energy(*window(0.2), LANE, cpu_s=1.0)
        assert "rapl" in recorder.sources and "model" not in recorder.sources
    assert energy.source == "rapl"


def test_a_counter_that_wraps_inside_the_window_loses_nothing(tmp_path: Path) -> None:
    zones = [Zone(tmp_path, "intel-rapl:0", "package-0", 0.0, start_uj=RANGE_UJ - 10_000_000)]
    with advancing(zones), recording(tmp_path) as recorder:
        zones[0].t0_ns = time.monotonic_ns()
        zones[0].power_w = 30.0  # from here on: the wrap is 0.33 s away, however long the recorder took to start
        time.sleep(0.1)
        t0_ns, t1_ns = window(0.8)
        energy, _ = recorder.energy(t0_ns, t1_ns, LANE, cpu_s=0.0)
    assert int((zones[0].folder / "energy_uj").read_text()) < RANGE_UJ / 2, "the counter has wrapped"
    assert energy.energy_j == pytest.approx(30.0 * (t1_ns - t0_ns) / 1e9, rel=0.05)


def test_a_reset_is_no_wrap_and_makes_no_spike(tmp_path: Path) -> None:
    zone = Zone(tmp_path, "intel-rapl:0", "package-0", 0.0, start_uj=3_000_000)
    (zone.folder / "max_energy_range_uj").write_text("262143328850\n")
    (sensor,) = open_domains(tmp_path)
    first = sensor.read()
    zone.start_uj = 1_000_000  # as after a sleep of the machine: 262 kJ, if it were a wrap
    zone.advance()
    reset, after = sensor.read(), sensor.read()
    assert first.counter_j == after.counter_j == 3.0
    assert reset.counter_j is None and "reset" in str(reset.trouble)


def test_the_dies_of_one_socket_are_counted_once_each_also_under_one_name(tmp_path: Path) -> None:
    for zone, name in [("intel-rapl:0", "package-0-die-0"), ("intel-rapl:1", "package-0-die-1")]:
        Zone(tmp_path, zone, name, 0.0)
    for zone in ("intel-rapl:2", "intel-rapl:3"):
        Zone(tmp_path, zone, "package-1", 0.0)
    Zone(tmp_path, "intel-rapl:3:0", "dram", 0.0)
    devices = [sensor.device for sensor in open_domains(tmp_path)]
    assert devices[:2] == ["package-0-die-0", "package-0-die-1"]
    assert devices[2:] == ["package-1 (intel-rapl:2)", "package-1 (intel-rapl:3)", "package-1 (intel-rapl:3)-dram"]


def test_a_counter_that_stands_still_is_unknown_not_zero(tmp_path: Path) -> None:
    Zone(tmp_path, "intel-rapl:0", "package-0", 30.0)
    with recording(tmp_path) as recorder:
        energy, beside = recorder.energy(*window(0.2), LANE, cpu_s=1.0)
    assert energy.energy_j is None and "did not move" in str(energy.reason)
    assert beside == []


def test_a_file_that_vanishes_ends_in_null_with_the_reason(tmp_path: Path) -> None:
    zones = [Zone(tmp_path, "intel-rapl:0", "package-0", 30.0)]
    with recording(tmp_path) as recorder:
        with advancing(zones):
            time.sleep(0.1)
        (zones[0].folder / "energy_uj").unlink()
        energy, _ = recorder.energy(*window(0.2), LANE, cpu_s=1.0)
    assert energy.energy_j is None and "No such file" in str(energy.reason)


def test_rapl_without_a_package_is_refused_with_the_remedy(tmp_path: Path) -> None:
    Zone(tmp_path, "intel-rapl:0", "psys", 100.0)
    with pytest.raises(PreFlightError, match=r"no package domain.*choose the source"):
        Recorder(PowerConfig(source="rapl"), powercap=tmp_path)


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user who is not root."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if was == 0:
            os.seteuid(0)


def test_without_the_right_the_refusal_names_the_remedy_and_auto_notes_it() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        root = Path(name)
        root.chmod(0o755)
        zone = Zone(root, "intel-rapl:0", "package-0", 30.0)
        (zone.folder / "energy_uj").chmod(0)
        with without_rights():
            with pytest.raises(PreFlightError, match=r"CVE-2020-8694.*chmod a\+r.*udev.*CAP_DAC_READ_SEARCH"):
                open_domains(root)
            missing = Opened(Order("auto", 0.05, str(root), "", 0)).missing
    assert "may not be read" in missing["rapl"]
