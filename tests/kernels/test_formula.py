"""Formulas of manifests: arithmetic, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegrid.errors import UsageError
from joulegrid.kernels.formula import evaluate, names, whole


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 100))
def test_a_formula_is_what_python_would_compute(a: int, b: int, c: int) -> None:
    dims = {"a": a, "b": b, "c": c}
    assert evaluate("-a + 2 * (b - c) // c % 7 + max(a, b, 3)", dims) == -a + 2 * (b - c) // c % 7 + max(a, b, 3)
    assert evaluate("ceil(a / c) + sqrt(c)", dims) == -(-a // c) + c**0.5
    assert evaluate(17, dims) == 17 and whole("a * 2", dims) == 2 * a


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("a +", "invalid syntax"),
        ("a ** 2", "is not arithmetic"),
        ("a.b", "is not arithmetic"),
        ("open('x')", "is not arithmetic"),
        ("[1][0]", "is not arithmetic"),
        ("True", "no numbers"),
        ("z", "'z' is not among the dims a"),
        ("1 / 0", "division by zero"),
        ("a if a else 2", "is not arithmetic"),
        ("max()", "max"),
        ("1e999", "no finite number"),
        ("(" * 300 + ")" * 300, "at most 500"),
        ("", "invalid syntax"),
    ],
)
def test_anything_else_is_refused(formula: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        evaluate(formula, {"a": 3})


def test_a_size_is_whole() -> None:
    with pytest.raises(UsageError, match="whole number"):
        whole("a / 2", {"a": 3})
    assert names("a * max(b, 2)") == {"a", "b"} and names("a +") == set()
