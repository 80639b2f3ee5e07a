"""Every attack is refused for the right reason, with the static gate and without it; every benign candidate passes."""

from __future__ import annotations

import pytest

from joulegrid.kernels.judge.limits import Checks
from joulegrid.kernels.judge.zygote import Zygote
from tests.attacks import catalog
from tests.attacks.judging import judged

# What only timed shapes or calls show is for the timing; a race that is seen once in fifty calls for the benchmark.
VERIFIED = [attack for attack in catalog.attacks() if attack.refused or attack.via == "verify"]
OPEN = [attack for attack in catalog.attacks() if attack.open and attack.via == "verify"]


@pytest.mark.parametrize("attack", VERIFIED, ids=lambda one: one.name)
def test_the_judge_refuses_an_attack_for_the_right_reason(attack: catalog.Entry, zygote: Zygote) -> None:
    found = judged(attack, zygote)
    assert found.verdict in attack.right(gate=True), found.evidence
    assert found.evidence and all(one.expected and one.found for one in found.evidence)


@pytest.mark.parametrize("attack", OPEN, ids=lambda one: one.name)
def test_an_attack_fails_without_the_static_gate(attack: catalog.Entry, zygote: Zygote) -> None:
    found = judged(attack, zygote, Checks().without("static_gate"))
    assert found.verdict in attack.open, found.evidence


@pytest.mark.parametrize("candidate", catalog.benign(), ids=lambda one: one.name)
def test_the_judge_accepts_an_honest_candidate(candidate: catalog.Entry, zygote: Zygote) -> None:
    found = judged(candidate, zygote)
    assert found.passed, found.evidence
    assert len(found.draws) >= 16
