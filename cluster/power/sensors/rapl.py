"""CPU and memory energy from RAPL through Linux' powercap files.

Packages and their `dram` children are read, each once. Never read: `psys` (the platform, which contains the packages),
`core` and `uncore` (parts of a package), and `intel-rapl-mmio:*` (the same package through another door). AMD's
processors appear under the same names, without dram. A package is measured whole, whatever ran on it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from joulegrid.cluster.power.sensors.readings import Reading
from joulegrid.errors import PreFlightError

if TYPE_CHECKING:
    from joulegrid.cluster.power.energy import Scope

POWERCAP = Path("/sys/class/powercap")
HIGHEST_W = 5_000.0
"""No package or memory domain draws more; the largest sockets are specified at 500 W."""

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
        self._last_uj = _number(self._energy_file)
        self._last_ns = time.monotonic_ns()
        self._total_uj = self._last_uj

    @property
    def range_j(self) -> float:
        """Joules after which the counter begins at 0 again."""
        return self._range_uj / 1e6

    def read(self) -> Reading:
        """Read the counter once; a failed read becomes a reading with `trouble` and moves nothing."""
        before_ns = time.monotonic_ns()
        try:
            now_uj = _number(self._energy_file)
        except (OSError, ValueError) as error:
            return Reading(time.monotonic_ns(), trouble=f"{self._energy_file}: {error}")
        t_ns = (before_ns + time.monotonic_ns()) // 2
        step_uj = (now_uj - self._last_uj) % self._range_uj
        step_s = (t_ns - self._last_ns) / 1e9
        self._last_uj, self._last_ns = now_uj, t_ns
        if step_uj > HIGHEST_W * 1e6 * max(step_s, 0.01):  # a reset (sleep, driver) must not look like a wrap
            return Reading(t_ns, trouble=f"{self._energy_file}: the counter was reset")
        self._total_uj += step_uj
        return Reading(t_ns, counter_j=self._total_uj / 1e6)


def open_domains(root: Path = POWERCAP) -> list[DomainSensor]:
    """Open every package and dram domain below `root`.

    Raises `PreFlightError` with the remedy if there is no package or its counter may not be read. A package without
    rights fails the whole: a node's packages are known together or not at all.
    """
    packages = _packages(root)
    if not packages:
        raise PreFlightError(
            f"power source rapl: no package domain (intel-rapl:N) below {root}. Virtual machines and containers rarely "
            "see RAPL; run on the host, or choose the source auto, model or none"
        )
    kinds = _kinds(root, packages)
    return [DomainSensor(folder, device, scope) for folder, device, scope in kinds if _readable(folder)]


def _packages(root: Path) -> dict[str, str]:
    """Zone → name. Dies have names of their own (`package-0-die-1`); where two zones share one, the zone tells."""
    found = {folder.name: _name(folder) for folder in _folders(root) if _name(folder).startswith("package-")}
    often = Counter(found.values())
    return {zone: name if often[name] == 1 else f"{name} ({zone})" for zone, name in found.items()}


def _kinds(root: Path, packages: dict[str, str]) -> list[tuple[Path, str, Scope]]:
    kinds: list[tuple[Path, str, Scope]] = [(root / zone, name, "cpu_package") for zone, name in packages.items()]
    for folder in _folders(root):
        package = packages.get(folder.name.rpartition(":")[0])
        if package is not None and _name(folder) == "dram":
            kinds.append((folder, f"{package}-dram", "dram"))
    return kinds


def _number(file: Path) -> int:
    """Read a file of one number, without what `read_text` costs above that (20 times a second, for each domain)."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return int(os.read(descriptor, 32))
    finally:
        os.close(descriptor)


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
