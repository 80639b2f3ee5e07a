"""CPU and memory energy from RAPL through Linux' powercap files.

Packages and their `dram` children are read, each once. Never read: `psys` (the platform, which contains the packages),
`core` and `uncore` (parts of a package), and `intel-rapl-mmio:*` (the same package through another door). AMD's
processors appear under the same names, without dram. A package is measured whole, whatever ran on it.
"""

from __future__ import annotations

import time
from pathlib import Path

from joulegrid.cluster.power.energy import Scope
from joulegrid.cluster.power.readings import Reading
from joulegrid.errors import PreFlightError

POWERCAP = Path("/sys/class/powercap")

RIGHT = (
    "energy_uj is readable by root alone since CVE-2020-8694. An administrator can run "
    "`chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj` (until the next boot), keep it with a udev rule "
    '(SUBSYSTEM=="powercap", RUN+="/bin/chmod a+r %S%p/energy_uj"), or grant CAP_DAC_READ_SEARCH to the process'
)


class DomainSensor:
    """One RAPL domain: a counter in microjoules that wraps at `max_energy_range_uj`, made continuous here."""

    def __init__(self, folder: Path, device: str, scope: Scope) -> None:
        self.device = device
        self.scope: Scope = scope
        self._energy_file = folder / "energy_uj"
        self._range_uj = int((folder / "max_energy_range_uj").read_text())
        self._last_uj = int(self._energy_file.read_text())
        self._total_uj = 0

    def read(self) -> Reading:
        """Read the counter once; a failed read becomes a reading with `trouble` and moves nothing."""
        before_ns = time.monotonic_ns()
        try:
            now_uj = int(self._energy_file.read_text())
        except (OSError, ValueError) as error:
            return Reading(time.monotonic_ns(), trouble=f"{self._energy_file}: {error}")
        self._total_uj += (now_uj - self._last_uj) % self._range_uj
        self._last_uj = now_uj
        return Reading((before_ns + time.monotonic_ns()) // 2, counter_j=self._total_uj / 1e6)


def open_domains(root: Path = POWERCAP) -> list[DomainSensor]:
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
    kinds = _kinds(root, packages)
    return [DomainSensor(folder, device, scope) for folder, device, scope in kinds if _readable(folder)]


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
