"""What the README shows is what the repository holds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.study.load import load_study, make_study

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_is_of_the_quickstart_study_as_it_is() -> None:
    plan = Plan(load_study(ROOT / "studies" / "quickstart.yaml"))
    shown = re.search(r"(\d+) experiments · (\d+) cycles · (\w+) · .* design ([0-9a-f]{16})", README)
    assert shown is not None
    execution = plan.study.execution
    assert shown.groups() == (
        str(len(plan)),
        str(execution.n_cycles),
        execution.cycle_order,
        plan.study_design_hash,
    )


def test_the_study_that_is_printed_is_the_quickstart_study() -> None:
    texts = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    printed = [yaml.safe_load(text) for text in texts if "study_name: quickstart" in text]
    plans = [Plan(make_study(mapping, folder=ROOT / "studies")) for mapping in printed]
    hashes = {plan.study_design_hash for plan in plans}
    assert hashes == {Plan(load_study(ROOT / "studies" / "quickstart.yaml")).study_design_hash}


def test_the_costs_of_a_task_are_those_of_the_benchmark() -> None:
    kept = json.loads((ROOT / "benchmarks" / "results" / "task_overhead.json").read_text(encoding="utf-8"))
    assert f"commit {kept['commit'][:7]}" in README
    for series in kept["series"]:
        assert f"| {_shown(series['median'], series['unit'])} |" in README, series["name"]


def _shown(median: float, unit: str) -> str:
    digits = 0 if unit == "×" else 2 if median > 0.1 else 3
    return f"{median:.{digits}f}"
