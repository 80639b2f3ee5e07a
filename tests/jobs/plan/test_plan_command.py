"""`python -m joulegrid plan` and `run --dry-run` as a stranger meets them: exit codes, messages, no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from joulegrid.errors import UsageError
from joulegrid.jobs.commands import StudyFlags, show_plan

STUDY = "model: tiny-lm\nsweep: {pytorch.batch_size: [1, 8], pytorch.precision: [fp32, fp16]}\n"


def joulegrid(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "joulegrid", *map(str, arguments)]
    done = subprocess.run(
        command,
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "two words"
    folder.mkdir()
    path = folder / "my study.yaml"
    path.write_text(STUDY)
    return path


def test_plan_json_has_the_promised_facts_and_takes_flags(study: Path) -> None:
    done = joulegrid(
        "plan",
        study,
        "--json",
        "--cycles",
        "5",
        "--order",
        "interleave",
        "--no-gaps",
        "--sweep",
        "pytorch.seed=1,2",
        "--set",
        "pytorch.do_sample=true",
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    expected = {"n_experiments": 8, "skipped": [], "n_cycles": 5, "cycle_order": "interleaved", "n_tasks": 40}
    assert facts | expected == facts
    assert len(facts["study_design_hash"]) == 16


def test_dry_run_shows_the_same_plan_and_starts_nothing(study: Path, tmp_path: Path) -> None:
    shown = [joulegrid(*verb, study) for verb in (["plan"], ["run", "--dry-run", "--output", tmp_path / "out"])]
    start = f"start        begins a run of its own in {tmp_path / 'out'}\n"
    assert shown[0].stdout + start == shown[1].stdout
    assert "experiments  4" in shown[0].stdout
    assert not (tmp_path / "out").exists()


def test_points_lists_every_experiment(study: Path) -> None:
    done = joulegrid("plan", study, "--points")
    assert [line.split(maxsplit=1)[1] for line in done.stdout.splitlines()[-4:]] == [
        "batch_size=1 precision=fp32",
        "batch_size=1 precision=fp16",
        "batch_size=8 precision=fp32",
        "batch_size=8 precision=fp16",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (STUDY + "foo: 1\nexecution: {n_cycle: 2}\n", "did you mean 'execution.n_cycles'?"),
        ("model: tiny-lm\nsweep: {pytorch.batch_size: [0]}\n", "every point of the study is refused"),
        ("&a {model: *a}\n", "not valid YAML"),
        ('model: "\\ud800"\n', "is no text"),
    ],
)
def test_bad_input_ends_with_a_message_and_exit_code_2(text: str, told: str, study: Path) -> None:
    study.write_text(text)
    done = joulegrid("plan", study)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_large_study_is_not_started_without_a_terminal(study: Path, tmp_path: Path) -> None:
    done = joulegrid("run", study, "--cycles", "26", "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "104 tasks" in done.stderr
    assert "--yes" in done.stderr
    assert "least time" in done.stderr


def test_max_experiments_is_a_hard_stop_even_with_yes(study: Path, tmp_path: Path) -> None:
    study.write_text(STUDY + "execution: {max_experiments: 3}\n")
    done = joulegrid("run", study, "--yes", "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "execution.max_experiments allows 3" in done.stderr


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_generator_whose_script_is_missing_cannot_be_planned(tmp_path: Path, flags: tuple[str, ...]) -> None:
    text = 'STUDY = {"workload": "script", "script": "none.py"}\ndef config_gen():\n    yield {"script.globals.x": 1}'
    (tmp_path / "study.py").write_text(text)
    done = joulegrid("plan", tmp_path / "study.py", *flags)
    assert done.returncode == 2, done.stderr
    assert "proposed no experiment that can be run" in done.stderr
    assert "none.py" in done.stderr


def test_a_dry_run_refuses_a_budget_that_a_start_would_refuse(study: Path) -> None:
    refused = joulegrid("run", "--dry-run", study, "--power", "none", "--set", "execution.energy_budget_j=5")
    assert refused.returncode == 2
    assert "a budget cannot be kept" in refused.stderr


@pytest.mark.parametrize("as_json", [False, True])
def test_a_plan_with_a_baseline_that_is_none_of_its_experiments_is_shown_and_refused(
    study: Path, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = StudyFlags(sets=("execution.report.baseline=batch_size=7",))
    with pytest.raises(
        UsageError, match=r"no experiment of the study is named 'batch_size=7'.*'batch_size=8 precision"
    ):
        show_plan(study, flags, points=False, as_json=as_json)
    shown = capsys.readouterr().out
    assert json.loads(shown)["n_experiments"] == 4 if as_json else "experiments  4" in shown


@pytest.mark.parametrize("scripts", ["script: none.py\nsweep: {", "sweep: {script.path: [none.py, nor.py], "])
def test_a_search_whose_scripts_are_all_missing_is_refused(scripts: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        f"workload: script\n{scripts}script.globals.x: {{low: 1, high: 9}}}}\n"
        "search: {sampler: random, budget: 3, objectives: minimize duration_s}\n"
    )
    with pytest.raises(UsageError, match=r"(?s)every point of the search is refused.*none\.py does not exist"):
        show_plan(path, StudyFlags(), points=False, as_json=False)


def test_a_plan_says_that_grams_will_stay_unknown_in_a_zone_that_nobody_knows(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_plan(study, StudyFlags(sets=("execution.carbon.zone=GERMANI",)), points=False, as_json=False)
    told = "grams of CO2 stay unknown: the embedded table has no zone 'GERMANI'; did you mean DE"
    assert told in capsys.readouterr().out
    show_plan(study, StudyFlags(sets=("execution.carbon.zone=DE",)), points=False, as_json=False)
    assert "grams" not in capsys.readouterr().out
