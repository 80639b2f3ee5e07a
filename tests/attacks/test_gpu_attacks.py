"""Attacks that only a GPU can run: their source is refused anywhere, what they do only where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from joulegrid.kernels.judge.candidate import read_candidate
from joulegrid.kernels.judge.limits import Checks, Limits
from joulegrid.kernels.judge.static_gate import refusals
from joulegrid.kernels.judge.verify import Settings, verify
from joulegrid.kernels.judge.zygote import Zygote
from tests.attacks import catalog
from tests.attacks.judging import problem

ATTACKS = catalog.gpu_attacks()


@pytest.fixture(scope="module")
def gpu_zygote() -> Iterator[Zygote]:
    """The judge's process for candidates on a GPU."""
    with Zygote("cuda") as process:
        yield process


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.name)
def test_the_gate_refuses_what_only_a_gpu_could_run(attack: catalog.Entry) -> None:
    assert bool(refusals(read_candidate(Path(attack.path)))) == attack.refused


@pytest.mark.gpu
@pytest.mark.parametrize("attack", [one for one in ATTACKS if "harmless" not in one.open], ids=lambda one: one.name)
def test_a_gpu_attack_fails_without_the_static_gate(attack: catalog.Entry, gpu_zygote: Zygote) -> None:
    settings = Settings(
        device="cuda",
        dtypes=(attack.dtype,),
        checks=Checks().without("static_gate"),
        limits=Limits(call_timeout_s=20.0, processes=16),
    )
    found = verify(problem(attack.case), read_candidate(attack.path), settings, zygote=gpu_zygote)
    assert found.verdict in attack.open, found.evidence
