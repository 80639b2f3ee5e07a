import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import joulegrid
from joulegrid.cluster.environment import Environment, capture, packages, read_git
from joulegrid.cluster.node import cpu, free_bytes, gpus, limits


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=A Person", "-c", "user.email=person@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init")
    (tmp_path / "study.yaml").write_text("a: 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_this_machine_is_described_and_survives_a_file(checkout: Path) -> None:
    seen = capture(checkout, {"node_id": "n1"})
    assert (seen.python, seen.joulegrid, seen.kernel) == (
        platform.python_version(),
        joulegrid.__version__,
        platform.release(),
    )
    assert seen.cpu.logical_cores is not None
    assert seen.memory_bytes is not None
    assert seen.cpu.logical_cores >= 1
    assert seen.memory_bytes > 1 << 28
    assert seen.packages["pydantic"].startswith("2.")
    assert seen.git is not None
    assert seen.ray == {"node_id": "n1"}
    assert Environment.model_validate_json(seen.model_dump_json()) == seen


def test_no_gpu_is_an_empty_list_with_the_reason() -> None:
    found = gpus()
    assert bool(found.gpus) != bool(found.note)


def test_no_variable_of_the_process_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_JWT", "hf_very_secret")
    seen = capture()
    assert seen.slurm == {"SLURM_JOB_ID": "17"}
    assert "hf_very_secret" not in seen.model_dump_json()


def test_outside_of_slurm_and_git_both_are_null(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    seen = capture(tmp_path)
    assert (seen.slurm, seen.git) == (None, None)
    assert "not a git repository" in str(seen.git_note)


def test_git_tells_commit_branch_and_changes(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as inside a hook of another repository
    clean, note = read_git(checkout)
    assert note is None
    assert clean is not None
    assert (len(clean.commit or ""), clean.branch, clean.dirty) == (40, "main", False)
    (checkout / "results").mkdir()
    (checkout / "results" / "untracked").touch()
    assert read_git(checkout) == (clean, None)
    (checkout / "study.yaml").write_text("a: 2\n")
    changed, _ = read_git(checkout)
    assert changed is not None
    assert changed.dirty


def test_a_detached_head_and_a_missing_commit_are_null(tmp_path: Path) -> None:
    git(tmp_path, "init")
    empty, _ = read_git(tmp_path)
    assert empty is not None
    assert (empty.commit, empty.branch) == (None, "main")
    git(tmp_path, "commit", "--allow-empty", "-m", "first")
    git(tmp_path, "checkout", "--detach")
    detached, _ = read_git(tmp_path)
    assert detached is not None
    assert detached.commit is not None
    assert detached.branch is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_checkout_of_another_user_is_null_with_the_reason(checkout: Path) -> None:
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 12345, 12345)
    found, note = read_git(checkout)
    assert found is None
    assert "dubious ownership" in str(note)


def test_a_missing_git_or_folder_is_null_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_git(tmp_path / "nowhere")[0] is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_git(tmp_path) == (None, "git is not installed")


def test_capturing_imports_neither_torch_nor_ray() -> None:
    code = (
        "import sys; from joulegrid.cluster.environment import capture; capture()\n"
        "print(sorted({'torch', 'ray', 'boto3', 'transformers'} & sys.modules.keys()))"
    )
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=surroundings, capture_output=True, text=True, timeout=30)
    assert done.stdout == "[]\n", done.stderr


def test_packages_are_read_once() -> None:
    assert packages() is packages()


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_limits_of_cgroup_2_are_the_least_on_the_way_up(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/pod/container",
        "sys/fs/cgroup/cgroup.controllers": "cpu memory",
        "sys/fs/cgroup/pod/cpu.max": "150000 100000",
        "sys/fs/cgroup/pod/memory.max": "2000000",
        "sys/fs/cgroup/pod/container/cpu.max": "max 100000",
        "sys/fs/cgroup/pod/container/memory.max": "max",
    }
    found = limits(lay(tmp_path, files))
    assert (found.cgroup, found.cpu_quota_cores, found.memory_limit_bytes) == (2, 1.5, 2_000_000)


def test_limits_of_cgroup_1_are_read_where_the_group_is_not_mounted(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/docker/3f\n1:cpu,cpuacct:/docker/3f\n0::/",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "4294967296",
    }
    found = limits(lay(tmp_path, files))
    assert (found.cgroup, found.cpu_quota_cores, found.memory_limit_bytes) == (1, None, 1 << 32)
    lay(tmp_path, {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"})
    assert limits(tmp_path).memory_limit_bytes is None


def test_the_processors_of_another_machine_are_counted(tmp_path: Path) -> None:
    block = "processor\t: {}\nmodel name\t: Big CPU\nphysical id\t: {}\ncore id\t: {}\nflags\t: fpu sse"
    blocks = [block.format(4 * socket + 2 * core + thread, socket, core) for socket, core, thread in TOPOLOGY]
    files = {
        "proc/cpuinfo": "\n\n".join(blocks),
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3700000",
        "sys/devices/system/node/node0/cpulist": "0-3",
        "sys/devices/system/node/node1/cpulist": "4-7",
    }
    found = cpu(lay(tmp_path, files))
    assert (found.logical_cores, found.physical_cores, found.sockets, found.numa_nodes) == (8, 4, 2, 2)
    assert (found.governor, found.max_mhz, found.hypervisor) == ("performance", 3700.0, False)


TOPOLOGY = [(socket, core, thread) for socket in range(2) for core in range(2) for thread in range(2)]


def test_what_cannot_be_read_is_null_never_zero(tmp_path: Path) -> None:
    assert set(cpu(tmp_path).model_dump().values()) == {None}
    found = limits(tmp_path)
    assert (found.cgroup, found.cpu_quota_cores, found.memory_limit_bytes) == (None, None, None)


def test_free_space_is_that_of_the_folder_to_be_made(tmp_path: Path) -> None:
    assert (free_bytes(tmp_path / "not" / "yet") or 0) > 0
