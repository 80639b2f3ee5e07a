"""CPU and memory energy from RAPL through Linux' powercap files.

Packages and their `dram` children are read, each once. Never read: `psys` (the platform, which contains the packages),
`core` and `uncore` (parts of a package), and `intel-rapl-mmio:*` (the same package through another door). AMD's
processors appear under the same names, without dram. A package is measured whole, whatever ran on it.
"""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

from joulegrid.cluster.power.energy import Energy, Scope, unknown
from joulegrid.cluster.power.series import (
    MARGIN_NS,
    Reading,
    Ring,
    Sample,
    Tick,
    UnreadError,
    counted_energy,
    ring_size,
)
from joulegrid.errors import PreFlightError

POWERCAP = Path("/sys/class/powercap")
WRAP_SAFE_S = 10.0  # a 32-bit package counter wraps after about 60 s under load: longer gaps may hide a wrap

RIGHT = (
    "energy_uj is readable by root alone since CVE-2020-8694. An administrator can run "
    "`chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj` (until the next boot), keep it with a udev rule "
    '(SUBSYSTEM=="powercap", RUN+="/bin/chmod a+r %S%p/energy_uj"), or grant CAP_DAC_READ_SEARCH to the process'
)


class Domain:
    """One RAPL domain: a counter in microjoules that wraps at `max_energy_range_uj`, made continuous here."""

    def __init__(self, folder: Path, device: str, scope: Scope, ring: Ring[Reading]) -> None:
        self.device = device
        self.scope: Scope = scope
        self._energy_file = folder / "energy_uj"
        self._range_uj = int((folder / "max_energy_range_uj").read_text())
        self._ring = ring
        self._last_uj = int(self._energy_file.read_text())
        self._total_uj = 0

    def sample(self) -> None:
        """Read the counter once; a failed read becomes a reading with `trouble` and moves nothing."""
        before_ns = time.monotonic_ns()
        try:
            now_uj = int(self._energy_file.read_text())
        except (OSError, ValueError) as error:
            self._ring.append(Reading(time.monotonic_ns(), trouble=f"{self._energy_file}: {error}"))
            return
        self._total_uj += (now_uj - self._last_uj) % self._range_uj
        self._last_uj = now_uj
        self._ring.append(Reading((before_ns + time.monotonic_ns()) // 2, counter_j=self._total_uj / 1e6))

    def covers(self, t_ns: int) -> bool:
        """Whether a reading at or after `t_ns` exists."""
        last = self._ring.last()
        return last is not None and last.t_ns >= t_ns

    def patience_s(self, period_s: float) -> float:
        """Three periods: the counter itself moves each millisecond."""
        return 3 * period_s

    def energy(self, t0_ns: int, t1_ns: int) -> Energy:
        """Joules between two instants, linear between the readings around each edge; null with the reason otherwise."""
        readings = self._ring.between(t0_ns - MARGIN_NS, t1_ns + MARGIN_NS)
        ticks = [Tick(reading.t_ns, reading.counter_j) for reading in readings if reading.counter_j is not None]
        try:
            bounds = counted_energy(ticks, t0_ns, t1_ns, WRAP_SAFE_S)
        except UnreadError as error:
            return unknown(f"RAPL {self.device}: {_trouble(readings) or error}", device=self.device, scope=self.scope)
        if bounds.energy_j <= 0.0:
            return unknown(f"RAPL {self.device}: the counter did not move", device=self.device, scope=self.scope)
        return Energy(
            energy_j=bounds.energy_j,
            low_j=bounds.low_j,
            high_j=bounds.high_j,
            source="rapl",
            provenance="measured",
            scope=self.scope,
            device=self.device,
            interval="edges between two readings; the whole domain, whatever ran on it; sensor accuracy not included",
        )

    def series(self, t0_ns: int, t1_ns: int) -> list[Sample]:
        """Mean power between consecutive readings, dated at the later one."""
        readings = self._ring.between(t0_ns, t1_ns)
        counted = [(reading.t_ns, reading.counter_j) for reading in readings if reading.counter_j is not None]
        return [
            Sample(t_ns, self.device, (now_j - then_j) / ((t_ns - then_ns) / 1e9), "rapl", "measured", self.scope)
            for (then_ns, then_j), (t_ns, now_j) in pairwise(counted)
        ]


def open_domains(period_s: float, root: Path = POWERCAP) -> list[Domain]:
    """Open every package and dram domain below `root`.

    Raises `PreFlightError` with the remedy if there is no package or its counter may not be read. A package without
    rights fails the whole: a node's packages are known together or not at all.
    """
    packages = {folder.name: _name(folder) for folder in _folders(root) if _name(folder).startswith("package-")}
    if not packages:
        raise PreFlightError(
            f"power source rapl: no package domain (intel-rapl:N) below {root}. Virtual machines and containers rarely "
            "see RAPL; run on the host, or choose the source auto, model or none"
        )
    return [
        Domain(folder, device, scope, Ring(ring_size(period_s)))
        for folder, device, scope in _kinds(root, packages)
        if _readable(folder)
    ]


def _kinds(root: Path, packages: dict[str, str]) -> list[tuple[Path, str, Scope]]:
    kinds: list[tuple[Path, str, Scope]] = [(root / zone, name, "cpu_package") for zone, name in packages.items()]
    for folder in _folders(root):
        package = packages.get(folder.name.rpartition(":")[0])
        if package is not None and _name(folder) == "dram":
            kinds.append((folder, f"{package}-dram", "dram"))
    return kinds


def _folders(root: Path) -> list[Path]:
    # `intel-rapl:` with the colon: `intel-rapl-mmio:0` counts the same joules a second time.
    return sorted(root.glob("intel-rapl:*"))


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text().strip()
    except OSError:
        return ""


def _readable(folder: Path) -> bool:
    file = folder / "max_energy_range_uj"
    try:
        if int(file.read_text()) <= 0:
            raise ValueError("the range is not positive")
        file = folder / "energy_uj"
        int(file.read_text())
    except PermissionError as error:
        raise PreFlightError(f"power source rapl: {file} may not be read. {RIGHT}") from error
    except (OSError, ValueError) as error:
        raise PreFlightError(
            f"power source rapl: {file} cannot be used ({error}). Choose the source auto, model or none"
        ) from error
    return True


def _trouble(readings: list[Reading]) -> str | None:
    return next((reading.trouble for reading in reversed(readings) if reading.trouble), None)
