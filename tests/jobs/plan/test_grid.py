"""The sweep grammar and nested mappings: products, groups, zips, merging."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegrid.errors import UsageError
from joulegrid.jobs.plan.grid import Axis, GrammarError, Segment, segments
from joulegrid.jobs.plan.merge import deep_merge, leaves, lookup, nested, sections

SHAPES = st.lists(st.integers(1, 5), max_size=5)
TREES = st.recursive(
    st.integers() | st.none() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
).filter(lambda tree: isinstance(tree, dict))


def segment(shape: list[int]) -> Segment:
    return Segment(
        tuple(Axis(f"a{n}", tuple({f"a{n}": value} for value in range(size))) for n, size in enumerate(shape))
    )


@given(SHAPES)
def test_a_segment_is_as_large_as_the_product_of_its_axes(shape: list[int]) -> None:
    assert segment(shape).n_points == prod(shape)


@given(SHAPES)
def test_mixed_radix_is_a_bijection_and_the_last_axis_runs_fastest(shape: list[int]) -> None:
    grid = segment(shape)
    digits = [grid.digits(position) for position in range(grid.n_points)]
    assert len(set(digits)) == grid.n_points
    assert digits == sorted(digits)  # lexicographic order: the last digit changes first


@given(TREES, TREES, TREES)
def test_deep_merge_is_associative(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    def conflict_free(x: dict[str, Any], y: dict[str, Any]) -> bool:
        return all(
            isinstance(x[k], dict) == isinstance(y[k], dict)
            and (not isinstance(x[k], dict) or conflict_free(x[k], y[k]))
            for k in x.keys() & y.keys()
        )

    if conflict_free(a, b) and conflict_free(b, c) and conflict_free(a, c):
        assert deep_merge(deep_merge(a, b), c) == deep_merge(a, deep_merge(b, c))


@given(TREES, TREES)
def test_deep_merge_changes_neither_side_and_the_upper_wins(a: dict[str, Any], b: dict[str, Any]) -> None:
    before = repr((a, b))
    merged = deep_merge(a, b)
    assert repr((a, b)) == before
    for path, value in leaves(b):
        if value != {}:
            assert lookup(merged, path) == value


@given(TREES)
def test_leaves_and_nested_are_inverse(tree: dict[str, Any]) -> None:
    assert nested(dict(leaves(tree))) == tree


def test_lists_replace_when_merged() -> None:
    assert deep_merge({"a": {"b": [1, 2], "c": 1}}, {"a": {"b": [3]}}) == {"a": {"b": [3], "c": 1}}


def test_dotted_and_nested_ways_of_writing_are_one() -> None:
    assert nested({"a.b": 1, "a": {"c.d": 2}}) == {"a": {"b": 1, "c": {"d": 2}}}
    for twice in ({"a.b": 1, "a": {"b": 2}}, {"a": 1, "a.b": 2}, {"a.b": 1, "a.b.c": 2}):
        with pytest.raises(UsageError, match="given twice"):
            nested(twice)


def test_the_keys_of_a_sweep_stay_dotted() -> None:
    assert sections({"a.b": 1, "sweep": {"a.b": [1]}}) == {"a": {"b": 1}, "sweep": {"a.b": [1]}}
    with pytest.raises(UsageError, match="write `sweep:` once"):
        sections({"sweep.a.b": [1]})


def patches(found: list[Segment]) -> list[list[dict[str, Any]]]:
    return [[dict(patch) for patch in axis.patches] for one in found for axis in one.axes]


def test_lists_are_independent_axes_in_the_order_of_the_file() -> None:
    (grid,) = segments({"b": [1, 2], "a": [3]}, None, None)
    assert [axis.name for axis in grid.axes] == ["b", "a"]
    assert grid.n_points == 2


def test_a_group_is_a_union_with_small_grids_inside() -> None:
    found = segments({"g": [{}, {"a": [1, 2], "b": 3}, {"s": {"c": 4}}]}, None, None)
    assert patches(found) == [[{}, {"a": 1, "b": 3}, {"a": 2, "b": 3}, {"s.c": 4}]]


def test_zipped_axes_move_together() -> None:
    assert patches(segments({}, {"a": [1, 2], "b": [3, 4]}, None)) == [[{"a": 1, "b": 3}, {"a": 2, "b": 4}]]
    two = segments({}, [{"a": [1, 2], "b": [3, 4]}, {"c": [5]}], None)
    assert two[0].n_points == 2


def test_explicit_experiments_come_after_the_sweep_without_its_axes() -> None:
    grid, explicit = segments({"a": [1, 2]}, None, [{"b": 3}, {"s": {"c": [1, 2]}}])
    assert (grid.n_points, explicit.n_points) == (2, 2)
    assert patches([explicit]) == [[{"b": 3}, {"s.c": [1, 2]}]]


@pytest.mark.parametrize("arguments", [({}, None, None), ({}, {}, []), ({}, [], None)])
def test_with_neither_the_base_alone_is_the_study(arguments: Any) -> None:
    (only,) = segments(*arguments)
    assert (only.n_points, only.digits(0)) == (1, ())


@pytest.mark.parametrize(
    ("sweep", "zips", "told"),
    [
        ({"a": 4}, None, r"sweep.a: given 4; give a list of values, e.g. \[4\]"),
        ({"a": None}, None, r"given null"),
        ({"a": []}, None, "is empty"),
        ({"a": {"b": [1]}}, None, r"e.g. a.b: \[ … \]"),
        ({"a": [1, {"b": 2}]}, None, "mixes mappings with plain values"),
        ({"g": [{"a": []}]}, None, "empty list"),
        ({"g": [{"a": 1}], "a": [2]}, None, "set by two axes, 'g' and 'a'"),
        ({"a.b": [1]}, {"a": [2]}, "set by two axes"),
        ({"g": [{"a": 1}], "h": [{"a": 2}]}, None, "set by two axes, 'g' and 'h'"),
        ({}, {"a": [1], "b": [1, 2]}, "differ in length .a has 1, b has 2.; zipped axes need equal lengths"),
        ({}, {"a": []}, "empty"),
        ({}, {"a": 3}, "lists of equal length"),
        ({}, [3], "lists of equal length"),
        ({f"a{n}": [0] * 10 for n in range(30)}, None, "20,000,000 at most"),
        ({"g": [{f"a{n}": [0] * 10 for n in range(30)}]}, None, "shorten its lists"),
    ],
)
def test_a_grammar_that_says_nothing_or_two_things_is_refused(sweep: Any, zips: Any, told: str) -> None:
    with pytest.raises(GrammarError, match=told):
        segments(sweep, zips, None)
