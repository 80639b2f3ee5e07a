"""Manifests of modules: what is wrong is said with the field, what was given and what is allowed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from joulegrid.cases.catalog import TEMPLATE, case_folder, case_folders, list_cases
from joulegrid.cases.manifest import read_problem
from joulegrid.errors import UsageError
from tests.cases.made_cases import make_case

INPUT = {"shape": ["rows", "width"]}


def hidden(rows: Any) -> list[dict[str, Any]]:
    """Two generators of shapes, the number of rows of the first as given."""
    return [{"name": "a", "dims": {"rows": rows}}, {"name": "b", "dims": {"rows": 3}}]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "modul"}, "kind: 'modul' was given; allowed is one of model, module, script, brief"),
        ({"kind": "script"}, "`module` where a kernel is to be judged"),
        ({"name": "other"}, "it must be the folder's name, 'made'"),
        ({"dtypes": ["fp8"]}, "dtypes.0: .*'bf16'.*'fp8' was given"),
        ({"fp": 3}, "fp: unknown field .*the fields are kind, name"),
        ({"module": {"file": "model.py"}}, "module.class: missing"),
        ({"dtyps": ["fp32"]}, r"dtyps: unknown field .*; did you mean dtypes\?"),
        ({"hidden": []}, "hidden: .*at least 2"),
        ({"tiny": {"rows": 0, "width": 4}}, "tiny: rows is 0; a size is at least 1"),
        ({"tiny": {"rows": 3}}, "shapes.0.dims has rows, width; tiny has rows"),
        ({"bytes": "rows * widht"}, "bytes: .*'widht' is not among the dims"),
        ({"bytes": "__import__('os')"}, "bytes: .*is not arithmetic"),
        ({"flops": "0 * rows"}, "flops: gives 0 for the shape wide; it must be above 0"),
        ({"inputs": {"args": [{"shape": ["rows", "columns"]}]}}, "inputs.args.0.shape: 'columns' uses a dim"),
        ({"inputs": {"args": [{"shape": ["rows / 2"]}]}}, "inputs.args.0.shape: .*whole number"),
        ({"inputs": {"args": [{"shape": ["rows"], "dtype": "f32"}]}}, "inputs.args.0.dtype: .*'f32' was given"),
        ({"inputs": {"args": [{**INPUT, "distributions": ["gauss"]}]}}, "distributions: gauss was given; allowed are"),
        ({"inputs": {"args": [{"shap": [1]}]}}, r"inputs.args.0: a mapping with shap was given; allowed are \{shape"),
        ({"inputs": {"kwargs": {"x": [INPUT, {"dims": 1}]}}}, "inputs.kwargs.x.1: a mapping with dims"),
        ({"outputs": [{"kind": "index"}]}, "outputs.0: `scores` names a method"),
        ({"weights": {"provider": "weights"}}, "weights.provider: write FILE.py:FUNCTION, .*'weights' was given"),
        ({"hidden": hidden({"low": 9, "high": 2})}, r"hidden.0.dims.rows: no multiple of 1 lies between 9 and 2$"),
        ({"hidden": hidden({"min": 2})}, "hidden.0.dims.rows.low: missing"),
        ({"hidden": hidden([3, "x"])}, r"hidden.0.dims.rows.1: .*'x' was given\)$"),
        ({"hidden": hidden(None)}, r"hidden.0.dims.rows: a hidden dim is \{low: …"),
        ({"bytes": "2 * * rows"}, r"bytes: formula '2 \* \* rows': invalid syntax; allowed are numbers"),
        ({"inputs": "x"}, "inputs: .*'x' was given"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(fields: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder = make_case(tmp_path / "with space", **fields)
    with pytest.raises(UsageError, match=said) as caught:
        read_problem(folder)
    assert str(caught.value).startswith(str(folder / "manifest.yaml"))


@pytest.mark.parametrize("content", ["", "- a\n- b\n", "kind: [", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(content: str, tmp_path: Path) -> None:
    folder = make_case(tmp_path)
    (folder / "manifest.yaml").write_text(content)
    with pytest.raises(UsageError, match=re.escape("manifest.yaml")):
        read_problem(folder)
    (folder / "manifest.yaml").unlink()
    with pytest.raises(UsageError, match="is missing; `joulegrid case new NAME`"):
        read_problem(folder)


def test_the_fingerprint_follows_manifest_and_module(tmp_path: Path) -> None:
    folder = make_case(tmp_path)
    before = read_problem(folder).fingerprint
    assert before == read_problem(folder).fingerprint
    with (folder / "model.py").open("a") as file:
        file.write("# changed\n")
    assert read_problem(folder).fingerprint != before


def test_hidden_shapes_repeat_by_seed_and_stay_in_their_ranges(tmp_path: Path) -> None:
    ranges = {"rows": {"low": 3, "high": 30, "multiple": 4}, "width": "rows + 1"}
    problem = read_problem(make_case(tmp_path, hidden=[{"name": "a", "dims": ranges}, {"name": "b", "dims": ranges}]))
    drawn = [problem.hidden[0].draw(problem.tiny.dims, seed).dims for seed in range(40)]
    assert {dims["rows"] for dims in drawn} == {4, 8, 12, 16, 20, 24, 28}
    assert all(dims["width"] == dims["rows"] + 1 for dims in drawn)
    assert drawn[7] == problem.hidden[0].draw(problem.tiny.dims, 7).dims


def test_a_case_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    assert case_folder("rmsnorm").name == "rmsnorm"
    assert case_folder(str(make_case(tmp_path))) == tmp_path / "made"
    with pytest.raises(UsageError, match="did you mean rmsnorm"):
        case_folder("rmsnrom")


def test_the_list_holds_models_and_modules_but_not_the_template() -> None:
    kinds = {entry.name: entry.kind for entry in list_cases()}
    assert kinds["tiny-lm"] == "model" and kinds["rmsnorm"] == "module" and TEMPLATE.name not in kinds


def test_a_broken_manifest_is_listed_with_its_fault(tmp_path: Path) -> None:
    make_case(tmp_path, dtypes=[])
    assert case_folders([tmp_path]) == {"made": tmp_path / "made"}
    [entry] = list_cases([tmp_path])
    assert entry.error is not None and "dtypes" in entry.error
