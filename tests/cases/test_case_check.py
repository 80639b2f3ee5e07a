"""What `case check` finds: survivors, false declarations of equivalence, and modules that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from joulegrid.cases.check import CaseCheck, check_case
from joulegrid.errors import UsageError
from tests.cases.made_cases import make_case, module_source

FP32: dict[str, Any] = {"dtypes": ["fp32"]}
CLAMP = module_source("return x.clamp(-1, 1)")


def fates(checked: CaseCheck, fate: str) -> set[str]:
    return {row.mutant for row in checked.mutants if row.fate == fate}


def test_the_template_is_admitted(tmp_path: Path) -> None:
    checked = check_case(make_case(tmp_path))
    assert checked.admitted and checked.killed == checked.applicable


def test_inputs_that_are_too_kind_are_refused(tmp_path: Path) -> None:
    kind = {"args": [{"shape": ["rows", "width"], "distributions": ["uniform"]}]}
    checked = check_case(make_case(tmp_path, inputs=kind, **FP32))
    assert not checked.admitted
    assert fates(checked, "survived") == {"inputs_trusted"}


def test_a_declared_equivalent_mutant_is_believed_where_float64_agrees(tmp_path: Path) -> None:
    undeclared = check_case(make_case(tmp_path / "a", CLAMP, **FP32))
    assert fates(undeclared, "survived") == {"inputs_trusted"} and not undeclared.admitted
    declared = {"inputs_trusted": "a cut at 1 makes a cut at 6 idle"}
    checked = check_case(make_case(tmp_path / "b", CLAMP, equivalent_mutants=declared, **FP32))
    assert fates(checked, "equivalent") == {"inputs_trusted"} and checked.admitted


@pytest.mark.parametrize("mutant", ["zeros", "bias_left_out"])
def test_a_false_declaration_is_refused(mutant: str, tmp_path: Path) -> None:
    made = make_case(tmp_path, CLAMP, equivalent_mutants={"inputs_trusted": "idle", mutant: "not so"}, **FP32)
    checked = check_case(made)
    assert fates(checked, "wrongly declared") == {mutant} and not checked.admitted


def test_an_unknown_mutant_is_named(tmp_path: Path) -> None:
    made = make_case(tmp_path, equivalent_mutants={"zeroes": "typo"}, **FP32)
    with pytest.raises(UsageError, match="equivalent_mutants: zeroes is no mutant of this case; they are zeros, stale"):
        check_case(made)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return x.mul_(2)", "inputs: forward changes them in place"),
        ("return x.log()", "declare a domain"),
        ("return x * 2, x * 3", "outputs: 1 declared, forward returns 2 tensors"),
        (
            "return x.softmax(-1)",
            "pointwise was declared, but forward calls _softmax: it is at least reduction",
        ),
    ],
)
def test_a_reference_that_misbehaves_is_refused(body: str, said: str, tmp_path: Path) -> None:
    checked = check_case(make_case(tmp_path, module_source(body), **FP32))
    assert not checked.admitted
    assert any(said in problem for problem in checked.problems)
    assert checked.killed is None and checked.mutants == []


@pytest.mark.parametrize(
    ("fields", "source", "said"),
    [
        ({"module": {"class": "Modell"}}, None, "module.class: .*no torch.nn.Module 'Modell'; it has Model"),
        ({"module": {"class": "Model", "kwargs": {"widht": 3}}}, None, r"Model\(widht=3\) cannot be built: TypeError"),
        ({"module": {"class": "Model", "file": "modle.py"}}, None, "modle.py is missing"),
        ({}, "import no_such_library\n", "cannot be loaded: ModuleNotFoundError"),
        ({}, "class Model(:\n", "cannot be loaded: SyntaxError"),
        ({}, module_source("return x @ x"), r"forward\(float32\[5, 48\]\) raised: RuntimeError"),
        ({"weights": {"provider": "weights.py:make"}}, None, "weights.py is missing"),
        ({}, module_source("return x.view(torch.int32)"), "reads bits as another dtype"),
        ({}, module_source("return torch.from_numpy(x.float().numpy().astype('float32'))"), "narrower than float64"),
    ],
)
def test_a_module_that_cannot_be_used_is_an_error(
    fields: dict[str, Any], source: str | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        check_case(make_case(tmp_path, source, **{**FP32, **fields}))


def test_a_case_that_rounds_may_not_be_declared_exact(tmp_path: Path) -> None:
    checked = check_case(make_case(tmp_path, module_source("return x.exp()"), tolerance="exact", **FP32))
    assert any("tolerance: exact was declared, but eager differs" in problem for problem in checked.problems)
