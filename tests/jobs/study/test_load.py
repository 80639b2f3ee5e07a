"""From a file to a valid study: bases, overrides, the user's defaults, and everything a stranger may write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from joulegrid.errors import UsageError
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.study.load import Overrides, load_study, make_study
from joulegrid.jobs.study.study import StudyConfig

MODEL = "model: tiny-lm\n"
LAUGHS = "a0: &a0 [0]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
"""Nine short lines that stand for 10⁸ values."""
THOUSAND = ",".join(["1"] * 1000)


def load(folder: Path, text: str | bytes, overrides: Overrides | None = None, name: str = "s.yaml") -> StudyConfig:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_study(path, overrides)


def refused(folder: Path, text: str | bytes, overrides: Overrides | None = None) -> str:
    """Load and plan what must be refused; return the message."""
    with pytest.raises(UsageError) as caught:
        Plan(load(folder, text, overrides))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "found nothing; a study is a mapping"),
        ("- a\n", "found a list; a study is a mapping"),
        ("hello", "found text"),
        ("a: [1\n", "not valid YAML"),
        ("a: 1\na: 2\n", "the key 'a' stands twice in line 2"),
        ("pytorch:\n\tbatch_size: 1\n", "cannot start any token in line 2"),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
        ("a: !!python/object:os.system x\n", "could not determine a constructor"),
        ("a: !!timestamp 2024-13-45\n", "not valid YAML"),
        ("? [a]\n: 1\n", "a key must be a plain value"),
        ("&a {model: *a}\n", "aliases may refer to themselves"),
        ("a: " + "[" * 200 + "]" * 200, "levels"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("a: " + "9" * 5000, "Exceeds the limit"),
        ('model: "\\ud800"\n', "is no text"),
        (LAUGHS, "1,000,000 values"),
        (b"model: \xff\xfe\n", "it is not UTF-8 text"),
        (MODEL + "base: none.yaml\n", "No such file"),
        (MODEL + "base: s.yaml\n", "s.yaml → s.yaml is a loop"),
        (MODEL + "base: [a]\n", "give the name of one file"),
        (MODEL + "base: ''\n", "give the name of one file"),
        (MODEL + 'base: "a\\0b"\n', "give the name of one file"),
        (MODEL + "base: .\n", "Is a directory"),
        (MODEL + "sweep: {pytorch.seed: 4}\n", "sweep.pytorch.seed: given 4; give a list of values, e.g. [4]"),
        (MODEL + "sweep:\n", "sweep: given null; give a mapping"),
        (MODEL + "sweep: [1]\n", "sweep: given [1]; give a mapping"),
        (MODEL + "sweep: {1: [2]}\n", "sweep: 1: unknown key"),
        (MODEL + "sweep: {'': [2]}\n", "unknown key"),
        (MODEL + "sweep: {execution.n_cycles: [1]}\n", "belongs to the study"),
        (MODEL + "sweep: {workload: [script]}\n", "one study has one workload"),
        (MODEL + "sweep: {model: [{pytorch.seed: 1}]}\n", "the group 'model' has the name of a field"),
        (MODEL + "sweep: {execution: [{pytorch.seed: 1}]}\n", "the group 'execution' has the name of a field"),
        (MODEL + "zip: 3\n", "zip: given 3"),
        (MODEL + "experiments: [a]\n", "experiments.0: given \"a\""),
        (MODEL + "experiments: [{workload: script}]\n", "one study has one workload"),
        (MODEL + "execution: {n_cycles: 0}\n", "execution.n_cycles: given 0; it should be greater than or equal to 1"),
        (MODEL + "execution: {n_cycles: two}\n", 'execution.n_cycles: given "two"; give a whole number of cycles'),
        (MODEL + "execution: {config_gap_seconds: .nan}\n", "finite"),
        (MODEL + "execution: fast\n", 'execution: given "fast"; give a mapping'),
        (MODEL + "execution:\n", "execution: given null; give a mapping"),
        (MODEL + "workload: trainin\n", "choose one of inference, kernel, script"),
        (MODEL + "workload: [inference]\n", "is not known"),
        (MODEL + "backend: vllm\n", "allowed: pytorch"),
        (MODEL + "backend: [pytorch]\n", "allowed: pytorch"),
        (MODEL + "power: solar\n", "'auto', 'nvml', 'rapl', 'model', 'zeus', 'codecarbon', 'none' or 'replay'"),
        (MODEL + "power: 3\n", "power: given 3; give a mapping"),
        (MODEL + "pytorch: {min_window_seconds: .inf}\n", "finite"),
        (MODEL + "pytorch: 3\npytorch.seed: 1\n", "pytorch: given twice"),
        (MODEL + "pytorch: {seed: 1}\npytorch.seed: 1\n", "pytorch.seed: given twice"),
        (MODEL + "sweep.pytorch.seed: [1]\n", "write `sweep:` once"),
        (MODEL + "study_name: a/b\n", "study_name: given \"a/b\"; string should match"),
        (MODEL + f"study_name: {'x' * 200}\n", "at most 80 characters"),
        (MODEL + "experiment: abc\n", "experiment: given \"abc\"; give a mapping"),
        (MODEL + "folder: /tmp\nsource: x\n", "folder: unknown key"),
        ("pytorch.batch_size: 2\n", "model: missing"),
        ("model: no-such\n", "'no-such' was not found"),
        (f"zip: [{{model: [{THOUSAND}]}}, {{a: [{THOUSAND}]}}, {{b: [{THOUSAND}]}}]", "20,000,000 at most"),
    ],
)  # fmt: skip
def test_a_wrong_study_is_refused_with_a_message(text: str | bytes, told: str, tmp_path: Path) -> None:
    assert told in refused(tmp_path, text)


def test_all_unknown_keys_are_told_at_once_with_the_nearest_names(tmp_path: Path) -> None:
    text = """
modell: tiny-lm
execution: {n_cycle: 1, cycle_order: shufle}
pytorch: {batchsize: 1, warmup: {max_batch: 1}}
power: {sorce: rapl, watts_per_core: {lo: 1}}
sweep: {pytorch.precisoin: [fp32], g: [{pytorch.max_new_token: 1}, {}]}
zip: {pytorch.top_kk: [1]}
experiments: [{modle: x, pytorch: {seeed: 1}}]
output: 3
"""
    lines = refused(tmp_path, text).splitlines()
    unknown = {
        line.partition(": unknown key")[0]: line.partition("did you mean ")[2]
        for line in lines
        if "unknown key" in line
    }
    assert unknown == {
        "execution.n_cycle": "'execution.n_cycles'?",
        "power.sorce": "'power.source'?",
        "power.watts_per_core.lo": "'power.watts_per_core.low'?",
        "modell": "'model'?",
        "pytorch.batchsize": "'pytorch.batch_size'?",
        "pytorch.warmup.max_batch": "'pytorch.warmup.max_batches'?",
        "sweep: pytorch.precisoin": "'pytorch.precision'?",
        "sweep: pytorch.max_new_token": "'pytorch.max_new_tokens'?",
        "zip: pytorch.top_kk": "'pytorch.top_k'?",
        "experiments: modle": "'model'?",
        "experiments: pytorch.seeed": "'pytorch.seed'?",
    }
    assert any(line.startswith("execution.cycle_order: given") for line in lines)
    assert any(line.startswith("output: given 3") for line in lines)


def test_a_path_that_is_no_study_file_is_told(tmp_path: Path) -> None:
    for path, told in ((tmp_path, "is a folder"), (tmp_path / "none.yaml", "does not exist")):
        with pytest.raises(UsageError, match=told):
            load_study(path)


def test_the_file_names_the_study_and_may_have_spaces(tmp_path: Path) -> None:
    assert load(tmp_path, MODEL, name="my first é study.yaml").study_name == "my-first---study"
    assert load(tmp_path, MODEL, name="x" * 200 + ".yaml").study_name == "x" * 80
    assert load(tmp_path, MODEL, name="-.yaml").study_name == "study"


def test_plain_words_are_read_as_yaml_1_2_does(tmp_path: Path) -> None:
    text = (
        MODEL
        + "execution.carbon.zone: NO\n"
        + "pytorch: {prompts: 2024-01-31, do_sample: yes, min_window_seconds: 1e-3, seed: 0x10}\n"
    )
    study = load(tmp_path, text)
    assert study.execution.carbon.zone == "NO"
    assert study.experiment["pytorch"] == {
        "prompts": "2024-01-31",
        "do_sample": "yes",
        "min_window_seconds": 0.001,
        "seed": 16,
    }


def test_a_base_is_merged_below_lists_replace_and_inline_wins(tmp_path: Path) -> None:
    (tmp_path / "root.yaml").write_text(MODEL + "pytorch: {seed: 1, top_k: 2}\nsweep: {pytorch.batch_size: [1, 2]}\n")
    (tmp_path / "mid.yaml").write_text("base: root.yaml\npytorch.seed: 3\nexecution.n_cycles: 4\n")
    study = load(
        tmp_path, "base: mid.yaml\npytorch: {top_k: 5}\nsweep: {pytorch.batch_size: [8], pytorch.top_p: [1]}\n"
    )
    assert study.experiment == {"model": "tiny-lm", "pytorch": {"seed": 3, "top_k": 5}}
    assert study.sweep == {"pytorch.batch_size": [8], "pytorch.top_p": [1]}
    assert study.execution.n_cycles == 4
    (tmp_path / "root.yaml").write_text("base: s.yaml\n")
    assert "s.yaml → mid.yaml → root.yaml → s.yaml is a loop" in refused(tmp_path, "base: mid.yaml\n")


def test_an_anchor_may_be_overridden(tmp_path: Path) -> None:
    text = MODEL + "sweep: {g: [&a {pytorch.seed: 1}, {<<: *a, pytorch.seed: 2}]}\n"
    assert load(tmp_path, text).sweep["g"] == [{"pytorch.seed": 1}, {"pytorch.seed": 2}]


def test_flags_win_over_the_file_and_are_typed(tmp_path: Path) -> None:
    flags = Overrides(
        sets=("model=7", "pytorch.seed=3", "execution.shuffle_seed=5", "pytorch.top_k=null"),
        sweeps=("pytorch.batch_size=1,2", "pytorch.passes=[latency],[phases]", "pytorch.min_window_seconds=1e-3"),
        execution={"n_cycles": 5, "cycle_order": "interleave", "config_gap_seconds": 0.0, "cycle_gap_seconds": 0.0},
        output="out",
        power="none",
    )
    text = (
        MODEL + "pytorch: {seed: 1}\nexecution: {n_cycles: 2, config_gap_seconds: 9}\npower: {period_s: 0.1}\n"
        "sweep: {pytorch.precision: [fp32]}\n"
    )
    study = load(tmp_path, text, flags)
    assert study.experiment == {"model": "7", "pytorch": {"seed": 3, "top_k": None}}
    assert study.sweep == {
        "pytorch.precision": ["fp32"],
        "pytorch.batch_size": [1, 2],
        "pytorch.passes": [["latency"], ["phases"]],
        "pytorch.min_window_seconds": [0.001],
    }
    execution = study.execution
    assert (execution.n_cycles, execution.cycle_order, execution.shuffle_seed) == (5, "interleaved", 5)
    assert (execution.config_gap_seconds, study.output) == (0.0, "out")
    assert (study.power.source, study.power.period_s) == ("none", 0.1)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (Overrides(sets=("model",)), "--set 'model': give a dotted path and a value"),
        (Overrides(sets=("=1",)), "give a dotted path and a value"),
        (Overrides(sets=("pytorch.seed=[1",)), "--set pytorch.seed: not valid YAML"),
        (Overrides(sets=("pytorch.sed=1",)), "did you mean 'pytorch.seed'?"),
        (Overrides(sets=("sweep={pytorch.sed: [1]}",)), "did you mean 'pytorch.seed'?"),
        (Overrides(sets=("a..b=1",)), "a..b: unknown key"),
        (Overrides(sets=("pytorch.batch_size=many",)), 'given "many"; it should be a valid integer'),
        (Overrides(sweeps=("pytorch.batch_size=",)), "give a dotted path and a value"),
        (Overrides(sweeps=("pytorch.seed=1", "pytorch.seed=2")), "--sweep pytorch.seed is given twice"),
        (Overrides(sweeps=("pytorch.sed=1",)), "sweep: pytorch.sed: unknown key; did you mean 'pytorch.seed'?"),
        (Overrides(execution={"n_cycles": 0}), "execution.n_cycles: given 0"),
        (Overrides(execution={"cycle_order": "random"}), "'sequential', 'interleaved', 'shuffled', 'reversed' or"),
        (Overrides(power="solar"), 'power.source: given "solar"'),
        (Overrides(sets=("folder=/tmp",)), "folder: unknown key"),
    ],
)
def test_a_wrong_flag_is_refused_with_a_message(flags: Overrides, told: str, tmp_path: Path) -> None:
    assert told in refused(tmp_path, MODEL, flags)


@pytest.mark.parametrize("section", ["execution: fast", "sweep: [1]", "power: [1]", "pytorch: 3"])
def test_flags_do_not_hide_a_wrong_section(section: str, tmp_path: Path) -> None:
    flags = Overrides(sweeps=("pytorch.seed=1",), execution={"n_cycles": 2})
    assert "give a mapping" in refused(tmp_path, MODEL + section, flags)


def test_the_users_file_gives_defaults_and_the_study_wins(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    os.environ["JOULEGRID_CONFIG"] = str(config)
    config.write_text("output: s3://mine/runs\npower: {source: rapl, period_s: 0.2}\ncarbon: {zone: NO}\n")
    study = load(tmp_path, MODEL)
    assert (study.output, study.execution.carbon.zone) == ("s3://mine/runs", "NO")
    assert (study.power.source, study.power.period_s) == ("rapl", 0.2)
    own = load(tmp_path, MODEL + "output: here\npower: model\nexecution.carbon.zone: FR\n")
    assert (own.output, own.execution.carbon.zone, own.power.source, own.power.period_s) == ("here", "FR", "model", 0.2)
    assert own.study_name == "s"
    for wrong, told in (
        ("outptu: x\n", "did you mean 'output'"),
        ("- 1\n", "a user configuration is a mapping"),
        ("power: 3\n", "power"),
    ):
        config.write_text(wrong)
        assert told in refused(tmp_path, MODEL)


def test_keywords_may_be_dotted(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(MODEL + "pytorch: {seed: 1, top_k: 2}\n")
    fields: dict[str, Any] = {"pytorch.seed": 5, "sweep": {"pytorch.batch_size": (1, 2)}}
    with pytest.raises(UsageError, match="give a list"):
        load_study(tmp_path / "s.yaml", fields=fields)
    study = load_study(tmp_path / "s.yaml", fields={**fields, "sweep": {}})
    assert study.experiment["pytorch"] == {"seed": 5, "top_k": 2}


def test_a_script_given_as_one_word_takes_further_fields(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("A = 1\nB = 2\n")
    text = "workload: script\nscript: job.py\nsweep: {script.globals.A: [1, 2]}\n"
    found = [
        point.config.model_dump()["script"]
        for point in Plan(load(tmp_path, text, Overrides(sets=("script.globals.B=3",))))
    ]
    assert [(one["path"], one["globals"]) for one in found] == [
        ("job.py", {"A": 1, "B": 3}),
        ("job.py", {"A": 2, "B": 3}),
    ]


def test_a_study_made_in_python_has_a_source() -> None:
    study = make_study({"model": "tiny-lm", "output": Path("x").name})
    assert study.source == "model: tiny-lm\noutput: x\n"
