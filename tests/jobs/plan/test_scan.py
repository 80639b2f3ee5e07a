"""The fast scan of a plan against the slow way: every point on its own, first refusal, first of the equivalent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegrid.cases.contract import Places
from joulegrid.cases.registry import workload_named
from joulegrid.errors import UsageError
from joulegrid.jobs.plan import duplicates
from joulegrid.jobs.plan.fields import Fields
from joulegrid.jobs.plan.grid import segments
from joulegrid.jobs.plan.identity import canonical
from joulegrid.jobs.plan.lattice import Digits, Lattice
from joulegrid.jobs.plan.patches import Typing
from joulegrid.jobs.plan.plan import Plan, Skipped
from joulegrid.jobs.plan.projection import KNOWN_LIMIT, Projection
from joulegrid.jobs.plan.region import Gate, Region
from joulegrid.jobs.plan.scan import _refused
from joulegrid.jobs.plan.selection import BLOCK, Selection
from joulegrid.jobs.study.load import make_study
from joulegrid.jobs.study.schema import checked_together

WARM_MAX, WARM_MIN = "pytorch.warmup.max_batches", "pytorch.warmup.min_batches"
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "pytorch.batch_size": st.sampled_from([0, 1, 2, 4, 300, "many"]),
    "pytorch.n_prompts": st.sampled_from([None, 2, 4, 300]),
    "pytorch.precision": st.sampled_from(["fp32", "fp16", "int4"]),
    "pytorch.do_sample": st.booleans(),
    "pytorch.temperature": st.sampled_from([0, 0.0, 0.5, 1, 1.0]),
    "pytorch.seed": st.integers(0, 2),
    "pytorch.attn_implementation": st.sampled_from([None, "flash_attention_2"]),
    WARM_MAX: st.integers(1, 4),
    WARM_MIN: st.integers(2, 4),
    "resources.gpus": st.sampled_from([None, 0, 1, 2]),
    "model": st.sampled_from(["tiny-lm", "{packaged}", "no-such-model"]),
}
PATHS = sorted(VALUES)


@st.composite
def groups(draw: st.DrawFn, paths: list[str]) -> list[dict[str, Any]]:
    """Patches of an axis that may set several fields each, or none."""
    return draw(
        st.lists(
            st.lists(st.sampled_from(paths), max_size=3, unique=True).flatmap(
                lambda some: st.fixed_dictionaries({path: VALUES[path] for path in some})
            ),
            min_size=1,
            max_size=3,
        )
    )


@st.composite
def studies(draw: st.DrawFn) -> dict[str, Any]:
    """A study with lists, a group and explicit points, some of them wrong, some alike."""
    paths = draw(st.permutations(PATHS))
    n_lists = draw(st.integers(0, 4))
    sweep: dict[str, Any] = {path: draw(st.lists(VALUES[path], min_size=1, max_size=4)) for path in paths[:n_lists]}
    if draw(st.booleans()):
        sweep["some"] = draw(groups(paths[n_lists : n_lists + 4]))
    study: dict[str, Any] = {"model": "tiny-lm", "sweep": sweep, "deduplicate": draw(st.booleans())}
    if draw(st.booleans()):
        study["experiments"] = draw(groups(PATHS))
    return study


def placed(value: Any) -> Any:
    """The packaged model once by name and once by path: two names of one thing."""
    from joulegrid.cases.models import CASES

    if isinstance(value, dict):
        return {name: placed(one) for name, one in value.items()}
    if isinstance(value, list):
        return [placed(one) for one in value]
    return str(CASES / "tiny-lm") if value == "{packaged}" else value


def slow(one: Plan) -> tuple[list[str], int, list[Skipped]]:
    """Labels of the accepted points, number of equivalent ones, and reasons, point by point."""
    accepted, seen, n_equal = [], set(), 0
    refused: dict[str, Skipped] = {}
    for region in one._regions:
        for digits in product(*map(range, region.lattice.shape)):
            label = one.label(region.values(digits))
            reason = next(refusals(one, region, digits), None)
            if reason is not None:
                known = refused.get(reason, Skipped(reason, 0, label))
                refused[reason] = Skipped(reason, known.count + 1, known.example)
                continue
            identity = canonical(region.identity(digits))
            if identity in seen and one.study.deduplicate:
                n_equal += 1
            else:
                accepted.append(label)
            seen.add(identity)
    return accepted, n_equal, list(refused.values())


def refusals(one: Plan, region: Region, digits: Digits) -> Iterator[str]:
    """Everything that refuses a point, in order; nothing is remembered from point to point."""
    if region.typed.faults:
        yield "; ".join(said for _, said in region.typed.faults)
    for patches, digit in zip(region.typed.axes, digits, strict=True):
        if patches[digit].refusal:
            yield str(patches[digit].refusal)
    workload = one.workload
    tried = [region._rule(rule.reads, rule.check) for rule in workload.rules]
    tried += [region._section(section) for section in dict.fromkeys(checked_together(workload.Config))]
    for attempt in tried:
        reason = attempt(digits)
        if reason is not None:
            yield reason
    found = region._resolve(digits)
    if isinstance(found, str):
        yield found


@settings(max_examples=80, deadline=None)
@given(studies())
def test_the_fast_scan_finds_what_the_slow_way_finds(study: dict[str, Any]) -> None:
    try:
        one = Plan(make_study(placed(study)))
    except UsageError:
        return
    labels, n_equal, skipped = slow(one)
    assert [label for _, label in one.point_labels()] == labels == [point.label for point in one]
    assert one.n_duplicates == n_equal
    assert one.skipped == skipped
    assert one.resources == sorted(
        {(point.config.resources.gpus, point.config.resources.cpus) for point in one}, key=str
    )


def test_fibres_that_leave_out_different_fields_are_compared_by_their_marks() -> None:
    study = {"model": "tiny-lm", "sweep": {"pytorch.do_sample": [False, True], "pytorch.seed": [0, 1, 0]}}
    one = Plan(make_study(study))
    region = one._regions[0]
    members = region.lattice.whole()
    fibres = [fibre for _, fibre in duplicates._fibres(region, members)]
    assert len(fibres) == 2
    assert duplicates._thin_by_mark(duplicates._Points(region), fibres, members) == 4
    assert list(members) == [1, 0, 0, 0, 1, 0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 3), max_size=4), st.data())
def test_fibres_divide_the_positions(shape: list[int], data: st.DataObject) -> None:
    lattice = Lattice(shape)
    axes = data.draw(st.lists(st.sampled_from(range(len(shape))), unique=True)) if shape else []
    fibres = lattice.fibres(axes)
    for picked, start in fibres:
        of = [p for p in range(lattice.n_points) if tuple(lattice.digits(p)[axis] for axis in sorted(axes)) == picked]
        members = lattice.whole()
        assert fibres.first(members, start) == of[0] == start
        members[start] = 0
        assert fibres.first(members, start) in (of[1:] if len(of) > 1 else {None})
        assert fibres.clear(members, start) == (len(of) - 1, min(of[1:], default=lattice.n_points))
        assert [p for p in range(lattice.n_points) if not members[p]] == of


@given(st.binary(max_size=3 * BLOCK), st.booleans())
def test_a_selection_is_the_list_of_its_members(seeds: bytes, is_whole: bool) -> None:
    members = bytearray(1 if is_whole else seed % 2 for seed in seeds)
    expected = [position for position, member in enumerate(members) if member]
    chosen = Selection(members)
    assert list(chosen) == expected == [chosen[index] for index in range(len(chosen))]
    with pytest.raises(IndexError):
        chosen[len(expected)]


def test_a_million_points_of_a_script_are_planned_without_a_walk(tmp_path: Path) -> None:
    (tmp_path / "s.py").write_text("A = B = 0\n")
    sweep = {"script.globals.A": list(range(1000)), "script.globals.B": list(range(1000))}
    started = time.monotonic()
    one = Plan(make_study({"workload": "script", "script": "s.py", "sweep": sweep}, folder=tmp_path))
    assert (len(one), one.n_duplicates, one.resources) == (1_000_000, 0, [(None, None)])
    assert one[777_123].label == "A=777 B=123"
    assert time.monotonic() - started < 10  # 0.13 s on two quiet cores; the walk took 67 s


def test_a_million_points_with_rules_and_ignored_fields_are_planned_quickly() -> None:
    sweep = {
        "pytorch.batch_size": [1, 2, 4, 8, 16, 32, 64, 128, 256, 0],
        "pytorch.max_new_tokens": list(range(1, 101)),
        "pytorch.do_sample": [True, False],
        "pytorch.temperature": [0, 0.5, 1, 1.5, 2],
        "pytorch.n_prompts": [None, 8, 64, 128],
        "pytorch.precision": ["fp32", "fp16"],
        "pytorch.seed": [0, 1, 2, 3, 4],
        "pytorch.attn_implementation": [None, "sdpa", "flash_attention_2"],
    }
    started = time.monotonic()
    one = Plan(make_study({"model": "tiny-lm", "sweep": sweep}))
    assert (one.n_points, len(one), one.n_duplicates) == (1_200_000, 294_000, 336_000)
    assert one.study_design_hash == "241cc07fa5a5ea5b"  # as it was before the scan was made fast
    assert [(skip.count, skip.reason.partition(";")[0][:30]) for skip in one.skipped][:2] == [
        (84_000, "temperature 0.0 cannot be drawn"[:30]),
        (126_000, "flash_attention_2 has no fp32 kernel"[:30]),
    ]
    assert time.monotonic() - started < 10  # 0.3 s on two quiet cores; the walk took 2.8 s


def test_more_combinations_than_are_remembered_are_still_right() -> None:
    n = int(KNOWN_LIMIT**0.5) + 20
    sweep = {WARM_MAX: list(range(2, n + 2)), WARM_MIN: list(range(2, n + 2))}
    one = Plan(make_study({"model": "tiny-lm", "sweep": sweep}))
    assert len(one) == n * (n + 1) // 2
    assert sum(skip.count for skip in one.skipped) == n * (n - 1) // 2
    assert one[-1].inputs.keys() == {"model", "pytorch.prompts"}


def test_many_combinations_that_are_checked_one_by_one_are_announced(caplog: pytest.LogCaptureFixture) -> None:
    values = list(range(1, 451))  # 450² = 202,500
    (segment,) = segments({"pytorch.n_prompts": values, "pytorch.batch_size": values}, None, None)
    workload, shared = workload_named("inference"), {"model": "tiny-lm"}
    typed = Typing(workload.Config, shared, segment).typed()
    region = Region(Fields(workload, Places(Path.cwd())), segment, typed)
    for axes in ((0,), (0, 1)):
        gate: Gate = Projection({axis: range(450) for axis in axes}, lambda digits: None)
        assert list(_refused(gate, region, region.lattice.whole())) == []
    assert caplog.messages == ["checking 202,500 combinations of pytorch.n_prompts × pytorch.batch_size, one by one"]
