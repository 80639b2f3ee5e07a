"""Sessions: a confined child, one channel for candidate and reference, series on unseen inputs, nothing left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from joulegrid.kernels.draw import Draw, agent_provide_inputs  # noqa: E402
from joulegrid.kernels.judge import landlock, process_tree  # noqa: E402
from joulegrid.kernels.judge.candidate import ReferenceCode  # noqa: E402
from joulegrid.kernels.judge.memory import Arena, place  # noqa: E402
from joulegrid.kernels.judge.session import open_session  # noqa: E402
from joulegrid.kernels.judge.zygote import Zygote  # noqa: E402
from joulegrid.kernels.problem import Arguments, Problem  # noqa: E402
from joulegrid.kernels.trial import make_trial  # noqa: E402
from tests.kernels.judge.conftest import Written  # noqa: E402


def test_candidate_and_reference_run_series_on_the_same_unseen_inputs(
    zygote: Zygote, rmsnorm: Problem, written: Written
) -> None:
    trial = make_trial(rmsnorm, Draw(rmsnorm.tiny.dims, seed=1))
    inputs = [agent_provide_inputs(rmsnorm, Draw(rmsnorm.tiny.dims, seed=seed)) for seed in range(4)]
    wanted = [trial.module()(*one.args) for one in inputs]
    reference = ReferenceCode(rmsnorm.file.read_text(encoding="utf-8"), rmsnorm.class_name)
    for code in (written(), reference):
        with open_session(zygote, code) as session:
            session.build(trial.init, "fp32")
            session.load(trial.state)
            session.prepare(inputs)
            assert session.run_series(4) > 0
            assert all(process_tree._stands(pid) for pid in process_tree.members(session.pid))
            for number, expected in enumerate(wanted):
                structure, outputs = session.outputs(number, [expected])
                assert structure == "*"
                torch.testing.assert_close(outputs[0], expected)
            pid = session.pid
        assert not Path(f"/proc/{pid}").exists() or process_tree._ended(pid)


def test_a_child_says_how_it_is_confined(zygote: Zygote, written: Written) -> None:
    with open_session(zygote, written()) as session:
        facts = session.facts
    for name in ("descriptors_closed", "environment_empty", "limits", "capabilities_dropped", "no_new_privileges"):
        assert facts[name] is True, facts
    for name in ("landlock_abi", "seccomp", "dies_with_zygote", "scratch_limited"):
        assert facts[name] or facts[f"{name}_reason"], facts
    assert bool(facts["landlock_abi"]) == (landlock.abi() > 0)


def test_layouts_cross_as_they_are_and_guards_notice_a_write() -> None:
    arena = Arena(0, 1 << 16)
    wide = torch.zeros(4, 9)[:, 1:7]
    placed = place(arena, Arguments((wide.fill_(2), [torch.ones(3, dtype=torch.bfloat16), 5]), {"flag": True}))
    assert placed.pending[0][0].tensor.isnan().all()
    placed.fill()
    before = arena.digests(arena.given())
    assert placed.pending[0][0].tensor.equal(wide)
    assert placed.described["args"]["list"][0]["tensor"]["strides"] == [9, 1]
    assert arena.digests(before) == before
    placed.pending[0][0].tensor.as_strided((1,), (1,), placed.pending[0][0].tensor.storage_offset() + 7).zero_()
    assert [path for path, digest in arena.digests(before).items() if digest != before[path]] == ["inputs.args.0"]
    with pytest.raises(PermissionError):
        os.ftruncate(arena.descriptor, 10)
    arena.close()


def test_rules_leave_out_what_must_not_be_read(tmp_path: Path) -> None:
    for name in ("site/torch", "site/joulegrid/cases", "site/other", "lib"):
        (tmp_path / name).mkdir(parents=True)
    found = set(landlock.rules_without(tmp_path, [tmp_path / "site/joulegrid"]))
    assert found == {tmp_path / "lib", tmp_path / "site/torch", tmp_path / "site/other"}
