"""The direction of dependencies: kernels ← cases ← actors ← jobs, and cluster ← actors, jobs. Read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT: dict[str, set[str]] = {
    "kernels": set(),
    "cases": {"kernels"},
    "cluster": set(),
    "actors": {"cases", "kernels", "cluster"},
    "jobs": {"actors", "cases", "kernels", "cluster"},
}
COMMON = {"envfile", "errors", "jsontypes", "student", "version"}
HEAVY = {"torch", "transformers", "ray", "pyarrow", "boto3", "botocore", "matplotlib", "prometheus_client"}
HEAVY |= {"optuna", "scipy"}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders or MAY_IMPORT:
        yield from (path for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path, *, at_top: bool = False) -> set[str]:
    """Dotted names that a file imports anywhere, or `at_top`: whenever it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = _run_on_import(tree) if at_top else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _run_on_import(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if lazy or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            continue
        yield node
        yield from _run_on_import(node)


def started(path: Path) -> set[str]:
    """Folders of ours whose modules a file starts as processes: `[…, "-m", "joulegrid.…"]`; the command is jobs'."""
    nodes = [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.List | ast.Tuple)
    ]
    words = [[part.value if isinstance(part, ast.Constant) else None for part in node.elts] for node in nodes]
    modules = [str(word) for line in words for flag, word in pairwise(line) if flag == "-m"]
    ours = [f"{name}.jobs".split(".")[1] for name in modules if name.split(".")[0] == "joulegrid"]
    return {"jobs" if name == "__main__" else name for name in ours}


def uses(path: Path, library: str) -> bool:
    return any(name.split(".")[0] == library for name in imported(path))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_lies_below_it(folder: str) -> None:
    allowed = MAY_IMPORT[folder] | {folder} | COMMON
    for path in sources(folder):
        ours = {name.split(".")[1] for name in imported(path) if name.startswith("joulegrid.")}
        assert ours & (MAY_IMPORT.keys() | COMMON) <= allowed, name_of(path)


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_starts_only_what_lies_below_it(folder: str) -> None:
    for path in sources(folder):
        assert started(path) <= MAY_IMPORT[folder] | {folder}, name_of(path)


def test_a_process_that_is_started_is_seen_by_its_module(tmp_path: Path) -> None:
    source = tmp_path / "starts.py"
    source.write_text('run((exe, "-m", "joulegrid", "power"))\nrun([exe, "-P", "-m", "joulegrid.actors.child", spec])')
    assert started(source) == {"jobs", "actors"}


def test_ray_is_imported_only_by_the_actors_the_session_and_the_job_api() -> None:
    users = {name_of(path) for path in sources() if uses(path, "ray")}
    assert {user for user in users if not user.startswith("actors/")} <= {"cluster/session.py", "cluster/ray_jobs.py"}


def test_only_actors_make_remote_classes_and_functions() -> None:
    for path in sources("kernels", "cases", "cluster", "jobs"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        remote = [node for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node) == "ray.remote"]
        assert not remote, name_of(path)


def test_the_command_line_and_the_report_never_import_torch() -> None:
    assert [name_of(path) for path in sources("jobs") if uses(path, "torch") or uses(path, "transformers")] == []


def test_heavy_libraries_are_imported_inside_functions() -> None:
    for path in sources():
        # A case's own build script is started by hand, a candidate by a judge's child: they import what they need.
        candidate = path.parent == ROOT / "kernels" / "handwritten"
        if not candidate and (path.parent.parent != ROOT / "cases" or path.parent.name == "workloads"):
            allowed = {"ray"} if path.parent == ROOT / "actors" else set()
            assert {name.split(".")[0] for name in imported(path, at_top=True)} & HEAVY <= allowed, name_of(path)


def test_the_bare_names_of_the_folders_are_never_imported() -> None:
    everything = [path for folder in ("joulegrid", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    for path in [*sources(), *everything]:
        assert {name.split(".")[0] for name in imported(path)} & MAY_IMPORT.keys() == set(), name_of(path)


def test_the_folders_have_no_init_file() -> None:
    # With one they would be importable as top-level packages, and `kernels` would hide Hugging Face's.
    assert [name_of(path) for path in sources() if path.name == "__init__.py"] == []


def test_what_all_folders_share_stands_below_everything() -> None:
    for module in COMMON:
        names = imported(ROOT / "joulegrid" / f"{module}.py")
        assert {name.split(".")[1] for name in names if name.startswith("joulegrid.")} <= COMMON


def test_the_package_reaches_the_folders_by_relative_links() -> None:
    for folder in MAY_IMPORT:
        assert str((ROOT / "joulegrid" / folder).readlink()) == f"../{folder}"
