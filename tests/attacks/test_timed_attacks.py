"""Attacks that show only while they are timed, and some that no clock in the candidate's process would see."""

from __future__ import annotations

import pytest

from joulegrid.kernels.judge.candidate import read_candidate
from joulegrid.kernels.timing.result import TimingSettings
from joulegrid.kernels.timing.timing import time_candidate
from tests.attacks import catalog
from tests.attacks.judging import problem

SETTINGS = TimingSettings(
    dims={"rows": 64, "width": 512},
    pairs=2,
    most_processes=5,
    series_s=0.002,
    warm_up_s=0.02,
    most_calls=64,
    budget_s=20.0,
    baselines=("eager",),
)
ALSO = ("timing/deferred_to_next_call",)
TIMED = [one for one in catalog.attacks() if (one.via == "timing" and one.open) or one.name in ALSO]


@pytest.mark.parametrize("attack", TIMED, ids=lambda one: one.name)
def test_an_attack_is_found_by_what_it_computed_while_it_was_timed(attack: catalog.Entry) -> None:
    timing = time_candidate(problem(attack.case), read_candidate(attack.path), SETTINGS)
    assert timing.verdict in attack.open, timing.evidence
    assert timing.claim is None
