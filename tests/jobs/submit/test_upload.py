"""What travels with a study to a Ray cluster: the files that Ray's own packer takes, and what is refused before."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from joulegrid.cases.models import CASES
from joulegrid.cluster.ray_jobs import packed_files
from joulegrid.errors import PreFlightError, UsageError
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.plan.planning import plan_of
from joulegrid.jobs.study.load import load_study
from joulegrid.jobs.submit import upload
from joulegrid.jobs.submit.upload import Upload, check_upload, project_folder, read_inputs

STUDY = "workload: script\nscript: {path: ../code/work.py}\nsweep: {script.globals.x: [1, 2]}\nresources: {cpus: 1}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a study, its script, and things that are to stay at home."""
    for name, content in {
        "pyproject.toml": "",
        ".gitignore": "/results\n*.log\n",
        ".rayignore": "data\n!data/kept.bin\n",
        "studies/one.yaml": STUDY,
        "code/work.py": "x = 0\ndef main():\n    return {}\n",
        "code/.gitignore": "private.py\n",
        "code/private.py": "",
        "data/large.bin": "x" * 1_000,
        "results/old.json": "{}",
        "noise.log": "",
        ".git/config": "",
        "venv/lib.py": "",
    }.items():
        (tmp_path / "a project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a project" / name).write_text(content)
    (tmp_path / "a project" / "linked").symlink_to(tmp_path / "a project" / "code")
    return tmp_path / "a project"


def check(project: Path) -> list[str]:
    study = project / "studies" / "one.yaml"
    return check_upload(Upload(project, packed_files(project)), study, Plan(load_study(study)))


def test_the_files_are_those_that_rays_packer_takes(project: Path, tmp_path: Path) -> None:
    from ray._private.ray_constants import get_runtime_env_default_excludes
    from ray._private.runtime_env.packaging import create_package

    archive = tmp_path / "package.zip"
    create_package(str(project), archive, include_gitignore=True, excludes=get_runtime_env_default_excludes())
    with zipfile.ZipFile(archive) as opened:
        theirs = {one.filename: one.file_size for one in opened.infolist() if not one.is_dir()}
    ours = {str(path.relative_to(project)): size for path, size in packed_files(project).items()}
    assert ours == theirs
    assert {"studies/one.yaml", "code/work.py", "linked/work.py"} <= ours.keys()
    assert not {"code/private.py", "data/large.bin", "results/old.json", "noise.log", "venv/lib.py"} & ours.keys()


def test_the_project_is_the_nearest_folder_that_looks_like_one(project: Path, tmp_path: Path) -> None:
    assert project_folder(project / "studies" / "one.yaml") == project
    alone = tmp_path / "alone" / "study.yaml"
    alone.parent.mkdir()
    assert project_folder(alone) == alone.parent


def test_a_study_whose_files_all_travel_has_nothing_to_say(project: Path) -> None:
    assert check(project) == []


def test_a_script_that_an_ignore_file_keeps_at_home_is_refused(project: Path) -> None:
    (project / ".rayignore").write_text("/code\n")
    with pytest.raises(UsageError, match=r"script\.path: code/work\.py would stay here"):
        check(project)


def test_a_study_that_an_ignore_file_keeps_at_home_is_refused(project: Path) -> None:
    (project / ".gitignore").write_text("*.yaml\n")
    with pytest.raises(UsageError, match=r"the study: studies/one\.yaml would stay here"):
        check(project)


def test_a_study_outside_of_the_working_folder_is_refused(project: Path) -> None:
    study = project / "studies" / "one.yaml"
    with pytest.raises(UsageError, match="--working-dir"):
        check_upload(Upload(project / "code", packed_files(project / "code")), study, Plan(load_study(study)))


def test_what_lies_elsewhere_must_be_on_every_node_and_that_is_said(project: Path, tmp_path: Path) -> None:
    (tmp_path / "far.py").write_text("x = 0\ndef main():\n    return {}\n")
    (project / "studies" / "one.yaml").write_text(STUDY.replace("../code/work.py", str(tmp_path / "far.py")))
    [line] = check(project)
    assert str(tmp_path / "far.py") in line
    assert "every node must have it" in line


def test_too_large_an_upload_is_refused_and_its_largest_files_are_named(project: Path) -> None:
    large = project / "weights" / "model.safetensors"
    large.parent.mkdir()
    with large.open("wb") as file:
        file.truncate(upload.LIMIT_BYTES)  # a sparse file
    with pytest.raises(PreFlightError) as error:
        check(project)
    assert "Ray takes 500.0 MiB" in str(error.value)
    assert "500.0 MiB  weights/model.safetensors" in str(error.value)
    assert ".rayignore" in str(error.value)


def test_a_large_upload_is_told_with_its_largest_files(project: Path) -> None:
    with (project / "table.bin").open("wb") as file:
        file.truncate(upload.WARN_BYTES)
    told = "\n".join(check(project))
    assert "uploading 50.0 MiB in 9 files" in told
    assert "50.0 MiB  table.bin" in told


def test_each_thing_that_is_read_comes_once_with_its_name(project: Path) -> None:
    (project / "code" / "other.py").write_text("x = 1\ndef main():\n    return {}\n")
    study = project / "studies" / "one.yaml"
    study.write_text(STUDY + "  \n")
    study.write_text(STUDY.replace("sweep: {", "sweep: {script.path: [../code/work.py, ../code/other.py], "))
    reads = list(read_inputs(Plan(load_study(study))))
    assert sorted(str(read.name) for read in reads) == ["../code/other.py", "../code/work.py"]


def test_of_a_search_the_shared_fields_are_looked_at(project: Path) -> None:
    study = project / "studies" / "one.yaml"
    search = "search: {sampler: random, objectives: minimize x, budget: 3}\n"
    study.write_text(STUDY.replace("[1, 2]", "{low: 1, high: 2}") + search)
    assert [read.name for read in read_inputs(plan_of(load_study(study)))] == ["../code/work.py"]


def test_a_model_travels_when_the_files_that_a_loader_reads_do(project: Path) -> None:
    shutil.copytree(CASES / "tiny-lm", project / "weights")
    study = project / "studies" / "model.yaml"
    study.write_text("model: ../weights\n")
    plan = Plan(load_study(study))
    (project / ".gitignore").write_text("*.md\n*.py\n")
    assert check_upload(Upload(project, packed_files(project)), study, plan) == []
    (project / ".gitignore").write_text("*.safetensors\n")
    with pytest.raises(UsageError, match=r"model: weights/model\.safetensors would stay here"):
        check_upload(Upload(project, packed_files(project)), study, plan)
