"""The wheel: what is in it, and that it runs alone, far away from the sources."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from joulegrid.actors.result import ExperimentResult
from tests.checkout import copy_checkout

VERSION = "0.1.0+wheel"
FOLDERS = ("actors", "cases", "cluster", "jobs", "kernels")

WHERE = """
import os, sys
from pathlib import Path

def main():
    import joulegrid
    parent = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\\0")
    return {"package": joulegrid.__file__, "python": sys.executable, "parent": b" ".join(parent).decode()}
"""


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, which the build may fill with its own folders."""
    return copy_checkout(tmp_path_factory.mktemp("copy") / "joulegrid", VERSION)


@pytest.fixture(scope="session")
def built(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the wheel and the sdist."""
    target = tmp_path_factory.mktemp("dist")
    for kind in ("--wheel", "--sdist"):  # asked for both at once, `build` would make the wheel from the sdist
        command = [sys.executable, "-m", "build", kind, "--no-isolation", "--outdir", str(target), str(sources)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    [wheel] = built.glob("joulegrid-*-py3-none-any.whl")
    return wheel


@pytest.fixture(scope="session")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel, and sees the libraries of this one but no editable install in it."""
    place = tmp_path_factory.mktemp("elsewhere") / "env"
    venv.create(place, with_pip=False)
    [packages] = place.glob("lib/python*/site-packages")
    libraries = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (packages / "libraries.pth").write_text("\n".join(libraries) + "\n")  # not read for .pth files of their own
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "--disable-pip-version-check"]
    command = [*pip, "install", "--quiet", "--no-index", "--no-deps", "--force-reinstall", str(wheel)]
    done = subprocess.run(command, env=outside(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return place


def outside() -> dict[str, str]:
    """Our environment without paths to these sources."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(elsewhere: Path, folder: Path, *arguments: str, command: str = "joulegrid") -> str:
    """Run the installed command in a folder of its own and return its stdout."""
    start = [str(elsewhere / "bin" / command), *arguments]
    done = subprocess.run(
        start,
        cwd=folder,
        env=outside(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def modules_in(sources: Path) -> set[str]:
    return {f"joulegrid/{path.relative_to(sources)}" for folder in FOLDERS for path in (sources / folder).rglob("*.py")}


def test_the_wheel_holds_every_module_and_the_data_of_the_cases(wheel: Path, sources: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert modules_in(sources) - names == set()
    assert {
        f"joulegrid/cases/tiny-lm/{name}" for name in ("manifest.yaml", "model.safetensors", "tokenizer.json")
    } <= names
    assert "joulegrid/cases/prompts/facts.jsonl" in names
    assert "joulegrid/py.typed" in names


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        links = [info.filename for info in archive.infolist() if info.external_attr >> 28 == 0o12]
    assert {name.split("/")[0] for name in names} == {"joulegrid", f"joulegrid-{VERSION}.dist-info"}
    assert links == []
    assert [name for name in names if "__pycache__" in name or "test" in Path(name).parts] == []
    assert len(names) == len(set(names))


def test_the_wheel_carries_licence_and_notice_and_its_metadata(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    inside = f"joulegrid-{VERSION}.dist-info"
    assert archive.getinfo(f"{inside}/licenses/LICENSE").file_size > 10_000
    assert b"Joulegrid" in archive.read(f"{inside}/licenses/NOTICE")
    assert f"Version: {VERSION}".encode() in archive.read(f"{inside}/METADATA")
    assert b"joulegrid = joulegrid.jobs.cli:main" in archive.read(f"{inside}/entry_points.txt")


def test_the_sdist_holds_the_sources_as_files_not_as_links(built: Path, sources: Path) -> None:
    [sdist] = built.glob("joulegrid-*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = {member.name.partition("/")[2]: member for member in archive.getmembers()}
    assert modules_in(sources) - members.keys() == set()
    assert "joulegrid/cases/tiny-lm/model.safetensors" in members
    assert [name for name, member in members.items() if member.issym() or member.islnk()] == []


def test_the_installed_command_knows_its_version_and_plans_a_packaged_case(elsewhere: Path, tmp_path: Path) -> None:
    assert run(elsewhere, tmp_path, "--version").strip() == f"joulegrid {VERSION}"
    assert run(elsewhere, tmp_path, "-m", "joulegrid", "--version", command="python").split()[-1] == VERSION
    (tmp_path / "study.yaml").write_text("model: tiny-lm\nsweep: {pytorch.batch_size: [1, 2, 4]}\n")
    plan = json.loads(run(elsewhere, tmp_path, "plan", "study.yaml", "--json"))
    assert plan["n_experiments"] == 3


@pytest.mark.cluster
@pytest.mark.slow
def test_workers_and_tasks_of_the_installed_command_use_the_installed_package(elsewhere: Path, tmp_path: Path) -> None:
    (tmp_path / "where.py").write_text(WHERE)
    (tmp_path / "study.yaml").write_text("workload: script\nscript: where.py\nresources: {cpus: 1}\n")
    run(elsewhere, tmp_path, "run", "study.yaml", "-o", "out", "--quiet")
    [path] = (tmp_path / "out").glob("*/results/*/*/result.json")
    result = ExperimentResult.model_validate_json(path.read_bytes())
    assert result.environment.joulegrid == VERSION  # the worker asks for the environment, the task for the rest
    assert result.metrics is not None
    assert Path(result.metrics["package"]).is_relative_to(elsewhere)
    assert Path(result.metrics["python"]) == elsewhere / "bin" / "python"
    assert "joulegrid.actors.zygote" in result.metrics["parent"]
