"""Rewritten attacks are refused as the plain ones are; an honest candidate may have whatever names its author likes."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulegrid.kernels.judge.candidate import read_candidate
from joulegrid.kernels.judge.static_gate import refusals
from joulegrid.kernels.judge.zygote import Zygote
from tests.attacks import catalog
from tests.attacks.judging import judged
from tests.attacks.obfuscation import HARMLESS, obfuscated

SEEDS = range(4)
REFUSED = [attack for attack in catalog.attacks() if attack.refused]
WRONG = [attack for attack in catalog.attacks() if not attack.refused and attack.via == "verify"]


@pytest.mark.parametrize("attack", REFUSED, ids=lambda one: one.name)
def test_an_attack_that_the_gate_refuses_is_refused_when_rewritten(
    attack: catalog.Entry, zygote: Zygote, tmp_path: Path
) -> None:
    path = tmp_path / "candidate.py"
    for seed in SEEDS:
        path.write_text(obfuscated(attack.path.read_text(), seed))
        if not refusals(read_candidate(path)):
            found = judged(attack, zygote, path=path)
            assert found.verdict in attack.open | {"forbidden"}, path.read_text()


# A fifth of them each: they all take a child. The benchmark takes them all.
@pytest.mark.parametrize(("seed", "attack"), list(enumerate(WRONG))[::5], ids=lambda one: getattr(one, "name", ""))
def test_a_wrong_kernel_is_found_wrong_when_rewritten(
    seed: int, attack: catalog.Entry, zygote: Zygote, tmp_path: Path
) -> None:
    path = tmp_path / "candidate.py"
    path.write_text(obfuscated(attack.path.read_text(), seed))
    found = judged(attack, zygote, path=path)
    assert found.verdict in attack.open | {"forbidden"}, found.evidence


@pytest.mark.parametrize("candidate", catalog.benign(), ids=lambda one: one.name)
def test_the_gate_lets_an_honest_candidate_pass_whatever_its_names(candidate: catalog.Entry, tmp_path: Path) -> None:
    path = tmp_path / "candidate.py"
    for seed in SEEDS:
        path.write_text(obfuscated(candidate.path.read_text(), seed, HARMLESS))
        assert refusals(read_candidate(path)) == [], path.read_text()
