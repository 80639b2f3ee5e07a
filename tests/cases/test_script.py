"""The workload `script`: what is injected, what is measured, how a script's end is told."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from joulegrid.cases.contract import LaneCannotError, Places
from joulegrid.cases.workloads.script import Script, ScriptConfig, ScriptExitError
from joulegrid.errors import UsageError
from tests.cases.local_probe import LocalProbe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from joulegrid.cases.contract import Measurement


@pytest.fixture(autouse=True)
def _interpreter_as_before() -> Iterator[None]:
    """A script has a process of its own; in this one its traces are taken back."""
    modules, path, argv = dict(sys.modules), list(sys.path), list(sys.argv)
    yield
    for name in [name for name in sys.modules if name not in modules]:
        del sys.modules[name]
    sys.modules.update(modules)
    sys.path[:], sys.argv[:] = path, argv


def run(folder: Path, text: str, name: str = "study_script.py", **params: Any) -> Measurement:
    """Write a script, resolve it as a plan does, and run it in this process."""
    (folder / name).write_text(textwrap.dedent(text), encoding="utf-8")
    config = ScriptConfig.model_validate({"script": {"path": name, **params}})
    inputs = Script().inputs(config, Places(folder))
    return Script().run(config, {path: one.location for path, one in inputs.items()}, LocalProbe(folder))


def metrics(folder: Path, text: str, **values: Any) -> dict[str, Any]:
    return run(folder, text, globals=values).metrics


def test_an_injected_value_replaces_the_assignment_and_reaches_what_is_computed_from_it(tmp_path: Path) -> None:
    text = """
        SIZE = 10
        DOUBLE = SIZE * 2
        def main():
            return {"size": SIZE, "double": DOUBLE}
    """
    assert metrics(tmp_path, text) == {"size": 10, "double": 20}
    assert metrics(tmp_path, text, SIZE=7) == {"size": 7, "double": 14}


def test_the_replaced_right_side_is_not_evaluated(tmp_path: Path) -> None:
    text = """
        MODEL: str = open("/no/such/file").read()
        def main():
            return {"model": MODEL}
    """
    assert metrics(tmp_path, text, MODEL="small") == {"model": "small"}


@pytest.mark.parametrize(
    "assignment",
    [
        "A, B = 1, 2",
        "A = B = 2",
        "(A, *REST), B = (1, 3), 2",
        "if True:\n    A = 1\n    B = 2",
        "try:\n    A = 1 / 0\nexcept ZeroDivisionError:\n    A = 1\nB = 2",
        "for A in range(3):\n    pass\nB = 2",
        "B = 2\nif (A := 1): pass",
        "A: int\nB = [A for A in (2,)][0]",
        "with open(__file__) as A:\n    B = 2",
    ],
)
def test_whatever_form_the_assignment_has_the_injected_value_stays(assignment: str, tmp_path: Path) -> None:
    found = metrics(tmp_path, f"{assignment}\ndef main():\n    return {{'a': A, 'b': B}}\n", A=9)
    assert found == {"a": 9, "b": 2}


def test_an_augmented_assignment_computes_from_the_injected_value(tmp_path: Path) -> None:
    assert metrics(tmp_path, "N = 1\nN *= 3\ndef main():\n    return {'n': N}\n", N=5) == {"n": 15}


def test_a_function_with_a_local_of_the_same_name_is_left_alone(tmp_path: Path) -> None:
    text = (
        "A = 1\ndef main():\n    def inner():\n        A = 3\n        return A\n    return {'a': A, 'inner': inner()}\n"
    )
    assert metrics(tmp_path, text, A=8) == {"a": 8, "inner": 3}


def test_a_name_that_is_only_read_can_be_injected(tmp_path: Path) -> None:
    assert metrics(tmp_path, "def main():\n    return {'x': FROM_THE_STUDY}\n", FROM_THE_STUDY=[1]) == {"x": [1]}


def test_repeats_see_the_same_injected_value(tmp_path: Path) -> None:
    measured = run(tmp_path, "XS = []\nXS.append(1)\nprint(len(XS))\n", globals={"XS": [0]}, min_window_seconds=0.01)
    assert measured.work["call"] > 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"BATCH_SIZ": 1}, "has no global 'BATCH_SIZ'; did you mean 'BATCH_SIZE'"),
        ({"local": 1}, "has no global 'local'"),
        ({"print": 1}, "has no global 'print'"),
        ({"np": 1}, "'np' is a function, a class or an import"),
        ({"main": 1}, "'main' is a function, a class or an import"),
    ],
)
def test_what_cannot_be_injected_is_refused_while_planning(values: dict[str, Any], told: str, tmp_path: Path) -> None:
    text = "import json as np\nBATCH_SIZE = 1\ndef main():\n    local = BATCH_SIZE\n    return {'x': local}\n"
    with pytest.raises(UsageError, match=told):
        metrics(tmp_path, text, **values)


def test_what_has_changed_since_planning_is_refused_on_the_lane(tmp_path: Path) -> None:
    path = tmp_path / "late.py"
    path.write_text("OTHER = 1\n")
    config = ScriptConfig.model_validate({"script": {"path": "late.py", "globals": {"SIZE": 1}}})
    with pytest.raises(LaneCannotError, match="has no global 'SIZE'"):
        Script().run(config, {"script.path": str(path)}, LocalProbe(tmp_path))


@pytest.mark.parametrize("wrong", [{"a-b": 1}, {"A": float("nan")}, {"A": [1, float("inf")]}, {"A": {"x": object()}}])
def test_globals_are_python_names_and_json_values(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"globals"):
        ScriptConfig.model_validate({"script": {"path": "x.py", "globals": wrong}})


def test_a_file_without_main_is_measured_as_a_whole(tmp_path: Path) -> None:
    text = """
        import sys
        from pathlib import Path
        if __name__ == "__main__":
            Path(sys.argv[0]).with_suffix(".out").write_text(f"{len(sys.argv)} {__file__ == sys.argv[0]}")
    """
    probe_folder = tmp_path / "with space"
    probe_folder.mkdir()
    measured = run(probe_folder, text, name="my script.py")
    assert (measured.headline, measured.metrics, measured.work) == ("main", {}, {"call": 1.0})
    assert (probe_folder / "my script.out").read_text() == "1 True"


def test_the_top_level_is_outside_the_window(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.3)\ndef main():\n    return {'x': 1}\n")
    probe = LocalProbe(tmp_path)
    config = ScriptConfig.model_validate({"script": "slow.py"})
    Script().run(config, {"script.path": str(tmp_path / "slow.py")}, probe)
    (mark,) = probe.marks
    assert mark.name == "main"
    assert mark.seconds < 0.2


@pytest.mark.parametrize("code", ["", "0", "None", "False"])
def test_exit_zero_is_a_normal_end(code: str, tmp_path: Path) -> None:
    assert run(tmp_path, f"import sys\nsys.exit({code})\n").metrics == {}
    assert run(tmp_path, f"import sys\ndef main():\n    sys.exit({code})\n", name="other.py").metrics == {}


@pytest.mark.parametrize("code", ["3", "'no data'", "True"])
def test_any_other_exit_code_is_the_scripts_failure(code: str, tmp_path: Path) -> None:
    with pytest.raises(ScriptExitError, match=r"sys\.exit"):
        run(tmp_path, f"import sys\ndef main():\n    sys.exit({code})\n")


def test_leaving_before_main_is_defined_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ScriptExitError, match="before it had defined 'main'"):
        run(tmp_path, "import sys\nsys.exit(0)\ndef main():\n    return {}\n")


def test_what_the_script_raises_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, "def main():\n    return 1 / 0\n")


def test_future_imports_siblings_dataclasses_and_pickle_work(tmp_path: Path) -> None:
    (tmp_path / "sibling_of_study.py").write_text("VALUE = 41\n")
    text = '''
        """A docstring."""
        from __future__ import annotations

        import pickle
        from dataclasses import dataclass

        import sibling_of_study

        STEP = 1

        @dataclass
        class Row:
            value: NotEvaluated = 0

        def main() -> dict:
            row = pickle.loads(pickle.dumps(Row(sibling_of_study.VALUE + STEP)))
            return {"value": row.value, "doc": __doc__}
    '''
    assert metrics(tmp_path, text, STEP=2) == {"value": 43, "doc": "A docstring."}


def test_our_own_future_imports_are_not_inherited(tmp_path: Path) -> None:
    text = "def f(x: int): ...\ndef main():\n    return {'is_type': f.__annotations__['x'] is int}\n"
    assert metrics(tmp_path, text) == {"is_type": True}


def test_a_script_named_like_a_module_does_not_replace_it(tmp_path: Path) -> None:
    import json

    run(tmp_path, "def main():\n    return {'x': __name__}\n", name="json.py")
    assert sys.modules["json"] is json


def test_another_entry_point_must_exist(tmp_path: Path) -> None:
    assert run(tmp_path, "def train():\n    return {'x': 1}\n", entrypoint="train").metrics == {"x": 1}
    with pytest.raises(UsageError, match="did you mean 'train'"):
        run(tmp_path, "def train():\n    return {'x': 1}\n", entrypoint="trian")


@pytest.mark.parametrize("text", ["def main(:\n", "x = '\0'\n", "# coding: no-such\n"])
def test_a_file_that_is_no_python_is_refused_while_planning(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not valid Python"):
        run(tmp_path, text)


def test_a_file_in_another_encoding_is_read_as_python_reads_it(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(
        "# coding: latin-1\nWORD = 'é'\ndef main():\n    return {'w': WORD}\n".encode("latin-1")
    )
    config = ScriptConfig.model_validate({"script": "latin.py"})
    inputs = Script().inputs(config, Places(tmp_path))
    found = Script().run(config, {path: one.location for path, one in inputs.items()}, LocalProbe(tmp_path))
    assert found.metrics == {"w": "é"}


def test_the_fingerprint_is_the_content_not_the_path(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("X = 1\n")
    both = [Script().inputs(ScriptConfig.model_validate({"script": n}), Places(tmp_path)) for n in ("a.py", "b.py")]
    assert both[0]["script.path"].fingerprint == both[1]["script.path"].fingerprint
    (tmp_path / "a.py").write_text("X = 22\n")
    changed = Script().inputs(ScriptConfig.model_validate({"script": "a.py"}), Places(tmp_path))
    assert changed["script.path"].fingerprint != both[0]["script.path"].fingerprint


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    for name, told in (("none.py", "does not exist"), (".", "is a folder")):
        with pytest.raises(UsageError, match=told):
            Script().inputs(ScriptConfig.model_validate({"script": name}), Places(tmp_path))
