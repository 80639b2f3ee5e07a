"""Which units a run of the benchmark needs, stage by stage: later ones follow from what earlier ones found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

from benchmarks.strictness.ablation import Row, failed, needed_off
from benchmarks.strictness.units import Unit, tested_open, verified
from joulegrid.kernels.judge.limits import Checks
from tests.attacks import catalog

SAMPLE = 24
"""Surveys of a round that are held against the judge as it is, and foretold cells that are run all the same."""
CONTROLS = 6
"""Honest candidates of a round that every choice of checks has to accept."""


def rates(number: int) -> list[Unit]:
    """Return a round of everything, through the judge as it is."""
    units = [Unit("all", one.name, number) for one in verified()]
    units += [Unit("open", one.name, number) for one in tested_open()]
    return units + [Unit("honest", one.name, number) for one in catalog.benign()]


def rewritten(count: int) -> list[Unit]:
    """Return so many rewritings of each attack."""
    return [Unit("rewritten", one.name, number) for one in verified() for number in range(count)]


def surveys(number: int) -> list[Unit]:
    """Return a round without any check, and one with all but the gate that goes on; honest candidates too."""
    honest = [one.name for one in catalog.benign()]
    units = [Unit("none", one.name, number) for one in verified()]
    return units + [Unit("survey", name, number) for name in [one.name for one in tested_open()] + honest]


def alone(number: int, none: Iterable[Row]) -> list[Unit]:
    """Return each check alone on what passes with none."""
    passed = [row["name"] for row in none if not failed(row)]
    return [Unit("on", name, number, check) for check in Checks.names() for name in passed]


def without(number: int, surveys: Iterable[Row], chance: Random) -> list[Unit]:
    """Return what a survey leaves open when a check is off, and a sample of what it foretells."""
    refused = [row for row in surveys if failed(row)]
    checks = [check for check in Checks.names() if check != "static_gate"]
    needed = [Unit("off", row["name"], number, check) for row in refused for check in needed_off(row)]
    foretold = [
        Unit("off", row["name"], number, check) for row in refused for check in checks if check not in needed_off(row)
    ]
    return needed + chance.sample(foretold, min(SAMPLE, len(foretold)))


def compared(number: int, surveys: Sequence[Row], chance: Random) -> list[Unit]:
    """Return a sample of surveys to be repeated by the judge as it is, on the same draws."""
    return [Unit("plain", row["name"], number) for row in chance.sample(surveys, min(SAMPLE, len(surveys)))]


def controls(number: int, chance: Random) -> list[Unit]:
    """Return some honest candidates under every choice of checks."""
    names = chance.sample([one.name for one in catalog.benign()], CONTROLS)
    units = [Unit("none", name, number) for name in names]
    units += [Unit("on", name, number, check) for check in Checks.names() for name in names]
    return units + [Unit("off", name, number, check) for check in Checks.names() for name in names]
