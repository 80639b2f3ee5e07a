import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from joulegrid.jobs.doctor import checks
from joulegrid.jobs.doctor.doctor import doctor, doctor_command, ray_findings, store_findings
from joulegrid.jobs.doctor.finding import Finding
from tests.cluster.nvml_simulated.build import COUNTER_UNSUPPORTED, Control, simulated_nvml
from tests.cluster.s3_servers import BUCKET, environment, rclone_server

ROOT = Path(__file__).parents[3]


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def run(code: str, env: dict[str, str] | None = None, timeout: float = 60) -> str:
    surroundings = {**os.environ, **(env or {})}
    surroundings["PYTHONPATH"] = os.pathsep.join(filter(None, [surroundings.get("PYTHONPATH"), str(ROOT)]))
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_machine_that_can_run_a_study_leaves_with_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    findings, code = doctor(store=str(tmp_path / "results"), address=None, cluster=False)
    assert code == 0, findings
    found = by_name(findings)
    assert {
        "python",
        "torch",
        "optuna",
        "matplotlib",
        "cpu",
        "memory",
        "rapl",
        "power source",
        "ray",
        "store",
        "shared memory",
    } <= found.keys()
    assert "conditional writes are honoured" in found["store"].value
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_written_leaves_with_1_and_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert doctor_command(str(tmp_path / "file" / "x"), None, cluster=False, as_json=True) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == 1
    [broken] = [finding for finding in document["findings"] if finding["name"] == "store"]
    assert broken["status"] == "error"
    assert "a file stands where a folder is needed" in broken["remedy"]


def test_the_table_shows_every_finding_and_its_remedy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert doctor_command(str(tmp_path), None, cluster=False, as_json=False) == 0
    shown = capsys.readouterr().out
    assert "power source" in shown
    assert "A study can run here." in shown


def test_doctor_imports_neither_ray_nor_torch(tmp_path: Path) -> None:
    printed = run(
        "import sys; from joulegrid.jobs.doctor.doctor import doctor\n"
        f"doctor(store={str(tmp_path)!r}, address=None, cluster=False)\n"
        "print(sorted({'ray', 'torch', 'transformers', 'pyarrow', 'boto3'} & sys.modules.keys()))"
    )
    assert printed == "[]\n"


def test_a_store_that_ignores_conditions_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rclone_server(tmp_path) as endpoint:
        for name, value in environment(endpoint).items():
            monkeypatch.setenv(name, value)
        found = by_name(store_findings(f"s3://{BUCKET}/x"))
    assert found["store"].status == "warn"
    assert "unfenced" in found["store"].value
    assert "results' disk" not in found


def test_a_cluster_that_answers_and_one_that_does_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert by_name(ray_findings(address))["ray cluster"].status == "ok"
        assert by_name(ray_findings(f"ray://{address}"))["ray cluster"].status == "ok"
        assert by_name(ray_findings("auto"))["ray cluster"].status == "missing"
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(address)
        assert by_name(ray_findings("auto"))["ray cluster"].status == "ok"
    assert by_name(ray_findings(address))["ray cluster"].status == "error"
    monkeypatch.setenv("RAY_ADDRESS", "head:notaport")
    assert "is no address" in by_name(ray_findings(None))["ray cluster"].value


def test_the_token_of_a_cluster_is_looked_for_and_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def told() -> tuple[str, str]:
        token = by_name(ray_findings("127.0.0.1:1"))["ray token"]
        assert "s3cr3t" not in token.model_dump_json()
        return token.status, f"{token.value} {token.remedy}"

    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    assert told()[0] == "warn"
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert told()[0] == "missing"
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("s3cr3t")
    assert told()[0] == "ok"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "nowhere"))
    assert told()[0] == "missing"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "s3cr3t")
    assert told()[0] == "ok"
    monkeypatch.delenv("RAY_AUTH_MODE")
    assert "export RAY_AUTH_MODE=token" in told()[1]


def lay_rapl(root: Path, energy_uj: str) -> Path:
    zone = root / "intel-rapl:0"
    zone.mkdir(parents=True)
    for name, text in {"name": "package-0", "energy_uj": energy_uj, "max_energy_range_uj": "262143328850"}.items():
        (zone / name).write_text(f"{text}\n")
    return root


def test_rapl_is_absent_unreadable_or_measured(tmp_path: Path) -> None:
    absent = by_name(checks.power(tmp_path / "none"))
    assert (absent["rapl"].status, absent["rapl"].value) == ("warn", "none")
    assert "CPU lanes: CPU time × watts a core (modelled" in absent["power source"].value
    broken = by_name(checks.power(lay_rapl(tmp_path / "broken", "no number")))
    assert broken["rapl"].value == "there, but not readable"
    readable = by_name(checks.power(lay_rapl(tmp_path / "readable", "12345")))
    assert readable["rapl"].status == "ok"
    assert "CPU lanes: RAPL (measured)" in readable["power source"].value


POWER = "from joulegrid.jobs.doctor import checks; print('\\n'.join(f.model_dump_json() for f in checks.power()))"


def powers(env: dict[str, str]) -> dict[str, Finding]:
    return by_name([Finding.model_validate_json(line) for line in run(POWER, env).splitlines()])


def test_each_gpu_is_shown_with_what_can_be_read_of_it(tmp_path: Path) -> None:
    env = simulated_nvml(tmp_path, gpus=2)
    found = powers(env)
    assert "energy counter yes, instant power yes" in found["gpu 1"].value
    assert "80 GiB" in found["gpu 0"].value
    assert "GPU lanes: NVML energy counter (measured)" in found["power source"].value
    with Control(env) as control:
        control.gpu(0).faults = COUNTER_UNSUPPORTED
        found = powers(env)
    assert "energy counter no, instant power yes" in found["gpu 0"].value
    assert "integral of NVML instant power (measured)" in found["power source"].value


SAMPLING = "from joulegrid.jobs.doctor.sampling import sampling; print(*(f.model_dump_json() for f in sampling()))"


def test_the_sampling_process_says_what_period_it_reaches(tmp_path: Path) -> None:
    found = Finding.model_validate_json(run(SAMPLING, simulated_nvml(tmp_path, gpus=2)))
    assert found.name == "sampling" and "2 devices each" in found.value and "wanted 50" in found.value


def test_the_environment_lists_the_gpus(tmp_path: Path) -> None:
    code = "from joulegrid.cluster.environment import capture; print(capture().model_dump_json())"
    seen: dict[str, Any] = json.loads(run(code, simulated_nvml(tmp_path, gpus=2)))
    assert [gpu["memory_bytes"] for gpu in seen["gpus"]] == [80 * 2**30] * 2
    assert len({gpu["uuid"] for gpu in seen["gpus"]}) == 2
    assert seen["gpu_note"] is None


def test_the_abandoned_pynvml_is_found_with_the_remedy(tmp_path: Path) -> None:
    package, facts = tmp_path / "pynvml", tmp_path / "pynvml-11.5.0.dist-info"
    package.mkdir()
    facts.mkdir()
    (package / "__init__.py").touch()
    code = "from joulegrid.jobs.doctor.checks import nvml_binding; print(nvml_binding().model_dump_json())"
    shadowed = Finding.model_validate_json(run(code, {"PYTHONPATH": str(tmp_path)}))
    assert (shadowed.status, "pynvml/__init__.py" in shadowed.value) == ("error", True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: pynvml\nVersion: 11.5.0\n")
    abandoned = Finding.model_validate_json(run(code, {"PYTHONPATH": str(tmp_path)}))
    assert (abandoned.status, "pynvml 11.5.0" in abandoned.value) == ("error", True)
    assert "pip uninstall -y pynvml" in str(abandoned.remedy)


def test_this_machine_has_the_right_binding() -> None:
    assert checks.nvml_binding().status == "ok"
    assert checks.version("no-such-distribution") is None


NODES = """
from dataclasses import replace
from joulegrid.actors.survey import NodeReport
from joulegrid.jobs.doctor.doctor import compare_nodes
versions = {'python': '3.11.7', 'torch': '2.13.0'}
head = NodeReport('h', '10.0.0.1', 'head', versions, cpus=2, clock_offset_s=0.0, clock_uncertainty_s=0.001)
gpu = replace(head, address='10.0.0.2', driver='580', gpus=('H100', 'H100'))
nodes = [head, gpu, replace(gpu, address='10.0.0.3'), replace(gpu, address='10.0.0.4', driver='570'),
         replace(head, address='10.0.0.5', versions=versions | {'torch': None}),
         replace(head, address='10.0.0.6', clock_offset_s=-9.0),
         NodeReport('x', '10.0.0.7', 'x', error='did not answer in time')]
for finding in compare_nodes(nodes): print(finding.status, '|', finding.value, '|', finding.remedy)
"""


def test_nodes_that_differ_are_told_apart() -> None:
    head, gpu, twin, driver, torch, clock, silent = run(NODES).splitlines()
    assert [line.split()[0] for line in (head, gpu, twin)] == ["ok", "ok", "ok"]
    assert "2 × H100, driver 580" in gpu
    assert driver.startswith("error")
    assert "differs in driver (from 10.0.0.2)" in driver
    assert torch.startswith("error")
    assert "differs in torch (from 10.0.0.1)" in torch
    assert clock.startswith("warn")
    assert "clock -9000 ± 1 ms" in clock
    assert silent.startswith("error | did not answer in time")


SURVEY = """
from joulegrid.jobs.doctor.doctor import cluster_findings
for finding in cluster_findings(None): print(finding.model_dump_json())
"""


@pytest.mark.cluster
@pytest.mark.slow
def test_every_node_of_a_cluster_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    [line] = [line for line in run(SURVEY, {"HOME": str(tmp_path)}).splitlines() if line.startswith("{")]
    found = Finding.model_validate_json(line)
    assert found.status == "ok", found
    assert "torch 2." in found.value
    assert "± " in found.value
