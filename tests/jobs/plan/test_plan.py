"""The plan: which points there are, which are refused or equivalent, and what their keys and the design hash say."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegrid.errors import UsageError
from joulegrid.jobs.plan.estimate import cost_of
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.plan.plan_view import plan_json, plan_text
from joulegrid.jobs.study.load import make_study

BATCH = "pytorch.batch_size"
WARM_MAX, WARM_MIN = "pytorch.warmup.max_batches", "pytorch.warmup.min_batches"
AXES = {
    BATCH: st.integers(1, 64),
    "pytorch.precision": st.sampled_from(["fp32", "fp16", "bf16"]),
    "pytorch.do_sample": st.booleans(),
    "pytorch.temperature": st.sampled_from([0, 0.0, 0.5, 1, 1.0]),
    "pytorch.attn_implementation": st.sampled_from([None, "sdpa", "eager", "flash_attention_2"]),
    "pytorch.n_prompts": st.none() | st.integers(1, 64),
    WARM_MAX: st.integers(2, 5),
    WARM_MIN: st.integers(2, 5),
}
SWEEPS = st.lists(st.sampled_from(sorted(AXES)), max_size=4, unique=True).flatmap(
    lambda paths: st.fixed_dictionaries({path: st.lists(AXES[path], min_size=1, max_size=4) for path in paths})
)


def plan(**fields: Any) -> Plan:
    return Plan(make_study({"model": "tiny-lm", **fields}))


def maybe(**fields: Any) -> Plan | None:
    try:
        return plan(**fields)
    except UsageError:
        return None


def effective(one: Plan) -> list[str]:
    """The whole configuration of each point, with what its workload ignores taken out."""
    found = []
    for point in one:
        config = point.config.model_dump(mode="json")
        if not config["pytorch"]["do_sample"]:
            config["pytorch"] |= dict.fromkeys(("temperature", "top_k", "top_p", "seed"))
        found.append(repr(config))
    return found


def shuffled(mapping: dict[str, Any], seed: int) -> dict[str, Any]:
    keys = list(mapping)
    random.Random(seed).shuffle(keys)
    return {key: shuffled(mapping[key], seed) if isinstance(mapping[key], dict) else mapping[key] for key in keys}


def test_two_by_two_is_four_experiments() -> None:
    one = plan(sweep={BATCH: [1, 8], "pytorch.precision": ["fp32", "fp16"]})
    assert len(one) == 4
    assert [label for _, label in one.point_labels()][1] == "batch_size=1 precision=fp16"


@settings(max_examples=40, deadline=None)
@given(SWEEPS)
def test_points_are_accepted_refused_or_equivalent_and_nothing_else(sweep: dict[str, Any]) -> None:
    one = maybe(sweep=sweep)
    if one is not None:
        assert len(one) + one.n_duplicates + sum(skip.count for skip in one.skipped) == one.n_points
        assert [point.index for point in one] == list(range(len(one)))


@settings(max_examples=40, deadline=None)
@given(SWEEPS)
def test_keys_differ_exactly_where_effective_values_differ(sweep: dict[str, Any]) -> None:
    one = maybe(sweep=sweep)
    if one is not None:
        keys, values = [point.key for point in one], effective(one)
        assert len(set(keys)) == len(keys) == len(set(values))


@settings(max_examples=30, deadline=None)
@given(SWEEPS)
def test_every_accepted_point_is_valid_and_every_valid_point_is_accepted(sweep: dict[str, Any]) -> None:
    """Against the slow way: validate each point of the product on its own."""
    lazy, slow = maybe(sweep=sweep), set()
    alone: list[dict[str, Any]] = [{}]
    for path, values in sweep.items():
        alone = [{**said, path: value} for said in alone for value in values]
    for said in alone:
        single = maybe(**said)
        slow |= {single[0].key} if single else set()
    assert ({point.key for point in lazy} if lazy else set()) == slow


@settings(max_examples=25, deadline=None)
@given(SWEEPS, st.integers(0, 9), st.sampled_from(["shuffled", "sequential"]))
def test_execution_key_order_and_written_defaults_change_neither_hash_nor_keys(
    sweep: dict[str, Any], seed: int, order: str
) -> None:
    shared = {"pytorch": {"max_new_tokens": 16, "compile": False}, "resources": {"cpus": 1}}
    one = maybe(sweep=sweep, **shared)
    if one is None:
        return
    fields = {"model": "tiny-lm", "backend": "pytorch", "workload": "inference", **shared}
    fields["pytorch"] = {"passes": ["phases", "latency", "throughput"], "top_p": None, **shared["pytorch"]}
    other = Plan(
        make_study(
            {
                **shuffled(fields, seed),
                "sweep": sweep,
                "execution": {"n_cycles": 7, "cycle_order": order, "fail_fast": True, "isolation": "spawn"}
                | {"carbon": {"zone": "NO", "pue": 1.2}, "energy_budget_j": 1e6},
                "output": "elsewhere",
                "power": "model",
            }
        )
    )
    assert other.study_design_hash == one.study_design_hash
    assert [point.key for point in other] == [point.key for point in one]


def test_the_design_hash_changes_with_any_axis_value_shared_field_or_segment() -> None:
    hashes = {
        plan(**fields).study_design_hash
        for fields in (
            {},
            {"pytorch": {"batch_size": 2}},
            {"sweep": {BATCH: [1, 2]}},
            {"sweep": {BATCH: [1, 3]}},
            {"sweep": {BATCH: [2, 1]}},
            {"sweep": {BATCH: [1, 2], "pytorch.precision": ["fp32"]}},
            {"sweep": {BATCH: [1, 2]}, "deduplicate": False},
            {"sweep": {BATCH: [1, 2]}, "experiments": [{BATCH: 3}]},
            {"experiments": [{BATCH: 1}, {BATCH: 2}, {BATCH: 3}]},
            {"sweep": {"pytorch.seed": [0]}},
            {"sweep": {"pytorch.precision": ["fp32"]}},
        )
    }
    assert len(hashes) == 11
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in hashes)


def test_the_way_a_value_is_written_makes_no_difference() -> None:
    one = plan(sweep={"pytorch.min_window_seconds": [1, 2]})
    other = plan(sweep={"pytorch.min_window_seconds": ["1e0", 2.0]})
    assert one.study_design_hash == other.study_design_hash
    assert [point.key for point in one] == [point.key for point in other]


def test_values_are_typed_even_where_another_axis_begins_with_a_refused_one() -> None:
    one = plan(sweep={BATCH: [0, 1], "pytorch.min_window_seconds": ["0.001", 0.001]})
    assert (len(one), one.n_duplicates) == (1, 1)


def test_equivalent_points_run_once_unless_switched_off() -> None:
    sweep = {"pytorch.temperature": [0.5, 0.7], "pytorch.do_sample": [True, False]}
    one = plan(sweep=sweep)
    assert (len(one), one.n_duplicates) == (3, 1)
    off = plan(sweep=sweep, deduplicate=False)
    assert (len(off), off.n_duplicates) == (4, 0)
    assert len({point.key for point in off}) == 4


def test_two_names_of_one_model_are_equivalent() -> None:
    from joulegrid.cases.models import CASES

    one = plan(sweep={"model": ["tiny-lm", str(CASES / "tiny-lm")]})
    assert (len(one), one.n_duplicates) == (1, 1)


def test_an_explicit_point_equal_to_a_swept_one_runs_once() -> None:
    one = plan(sweep={BATCH: [1, 2]}, experiments=[{BATCH: 2}, {BATCH: 3}])
    assert (len(one), one.n_duplicates) == (3, 1)


def test_refused_points_are_grouped_and_counted() -> None:
    one = plan(sweep={BATCH: [0, 4, "many"], "pytorch.precision": ["fp32", "fp16"], "pytorch.n_prompts": [2, 8]})
    assert len(one) == 2
    assert [(skip.count, skip.reason.partition(";")[0]) for skip in one.skipped] == [
        (4, "pytorch.batch_size: given 0"),
        (2, "n_prompts 2 is less than batch_size 4: no batch would be full"),
        (4, 'pytorch.batch_size: given "many"'),
    ]


def test_all_refused_is_an_error_with_the_reasons() -> None:
    with pytest.raises(UsageError, match=r"nothing is left to run:\n  1 × pytorch.batch_size: given 0"):
        plan(sweep={BATCH: [0]})


def test_fields_that_are_checked_together_are_checked_per_combination() -> None:
    one = plan(sweep={WARM_MAX: [2, 8], WARM_MIN: [2, 4]})
    assert len(one) == 3
    (skip,) = one.skipped
    assert "min_batches 4 is more than max_batches 2" in skip.reason
    assert len(plan(sweep={WARM_MAX: [2, 4], WARM_MIN: [4]})) == 1


def test_a_shared_scalar_and_an_axis_below_it_do_not_mix() -> None:
    one = plan(pytorch={"warmup": 3}, sweep={WARM_MAX: [4, 8]}, experiments=[{BATCH: 2}])
    assert [point.config.model_dump()["pytorch"]["warmup"] for point in one][2] == 3
    group = plan(pytorch={"warmup": {"max_batches": 4}}, sweep={"w": [{"pytorch.warmup": 3}, {}, {WARM_MIN: 3}]})
    warm = [point.config.model_dump()["pytorch"]["warmup"] for point in group]
    assert warm[0] == 3
    assert [one["max_batches"] for one in warm[1:]] == [4, 4]
    assert [point.axes[WARM_MIN] for point in group] == [None, 2, 3]


def test_a_required_field_may_come_from_an_axis_alone() -> None:
    one = Plan(make_study({"sweep": {"model": ["tiny-lm"]}, "experiments": [{BATCH: 2}]}))
    assert len(one) == 1
    assert [(skip.count, skip.reason) for skip in one.skipped] == [
        (1, "model: missing; it has no default, so give a value")
    ]
    with pytest.raises(UsageError, match="model: missing"):
        Plan(make_study({"sweep": {BATCH: [1]}}))


def test_a_fault_in_a_shared_field_is_a_fault_of_the_study() -> None:
    with pytest.raises(UsageError, match=r"^pytorch.precision: given \"int4\"; it should be 'fp32', 'fp16' or 'bf16'$"):
        plan(pytorch={"precision": "int4"}, sweep={BATCH: [1, 0]})


def test_values_of_different_kinds_are_different_points_of_a_script(tmp_path: Any) -> None:
    (tmp_path / "s.py").write_text("A = 1\n")
    mapping = {"workload": "script", "script": "s.py", "sweep": {"script.globals.A": [1, 1.0, "1", True, None, 1]}}
    one = Plan(make_study(mapping, folder=tmp_path))
    assert (len(one), one.n_duplicates) == (5, 1)
    assert [label for _, label in one.point_labels()] == ["A=1", "A=1.0", 'A="1"', "A=true", "A=null"]


def test_keys_do_not_depend_on_where_the_study_lies(tmp_path: Any) -> None:
    keys = set()
    for name in ("one", "two words"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "s.py").write_text("A = 1\n")
        keys.add(Plan(make_study({"workload": "script", "script": "s.py"}, folder=folder))[0].key)
    assert len(keys) == 1


def test_the_last_axis_runs_fastest_and_indices_are_checked() -> None:
    one = plan(sweep={BATCH: [1, 2], "pytorch.max_new_tokens": [3, 4]})
    assert [tuple(point.axes.values()) for point in one] == [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert one[-1].index == 3
    with pytest.raises(IndexError):
        one[4]


def test_resources_of_all_points_are_known() -> None:
    assert plan().resources == [(None, None)]
    assert plan(sweep={"resources.gpus": [0, 1], BATCH: [1, 2]}).resources == [(0, None), (1, None)]


def test_json_and_text_say_count_hash_skips_and_least_time() -> None:
    one = plan(
        pytorch={"min_window_seconds": 2, "passes": ["latency"]},
        sweep={BATCH: [0, 1, 2]},
        execution={"n_cycles": 3, "config_gap_seconds": 10, "max_experiments": 1},
    )
    facts = plan_json(one, points=True)
    expected = {"n_experiments": 2, "n_cycles": 3, "cycle_order": "interleaved", "n_tasks": 6, "least_seconds": 62.0}
    assert facts | expected == facts
    assert [point["axes"] for point in facts["points"]] == [{BATCH: 1}, {BATCH: 2}]
    assert facts["memory_bytes"]["tiny-lm"] > 1e6
    text = plan_text(one, points=True)
    assert one.study_design_hash in text
    assert "1 min 02 s" in text
    assert "max_experiments = 1" in text
    assert text.endswith("batch_size=2")


def test_a_hundred_thousand_points_are_planned_in_seconds() -> None:
    started = time.monotonic()
    one = plan(
        sweep={
            BATCH: list(range(1, 11)),
            "pytorch.max_new_tokens": list(range(1, 101)),
            "pytorch.seed": list(range(100)),
        }
    )
    assert (one.n_points, len(one)) == (100_000, 1_000)
    assert cost_of(one).least_seconds > 0
    assert time.monotonic() - started < 30  # 0.9 s on two quiet cores, most of it the estimate
