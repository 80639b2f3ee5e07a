"""Studies that are Python files: what they may define, what goes wrong in them, and what a generator is told."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from joulegrid.errors import UsageError
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.plan.planning import plan_of
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.search.asked_view import asked_json, asked_text
from joulegrid.jobs.search.asking import Asked, Ending, Search, fill
from joulegrid.jobs.search.search import WAIT, CycleResult
from joulegrid.jobs.study.load import Overrides, load_study
from joulegrid.jobs.study.study import StudyConfig

BATCH = "pytorch.batch_size"


def load(folder: Path, text: str, overrides: Overrides | None = None) -> StudyConfig:
    path = folder / "study.py"
    path.write_text(textwrap.dedent(text))
    return load_study(path, overrides)


def planned(folder: Path, text: str, overrides: Overrides | None = None) -> AskedPlan:
    found = plan_of(load(folder, text, overrides))
    assert isinstance(found, AskedPlan)
    return found


def begun(folder: Path, text: str) -> Search:
    plan = planned(folder, text)
    return Search(plan, plan.source.make())


def refused(folder: Path, text: str) -> str:
    """Load, plan and ask what must be refused; return the message."""
    with pytest.raises(UsageError) as caught:
        begun(folder, text).next_index()
    return str(caught.value)


def all_of(search: Search, limit: int = 50) -> list[int]:
    """Ask until the end; what is asked for ends at once without numbers."""
    found: list[int] = []
    while len(found) < limit and isinstance(index := search.next_index(), int):
        found.append(index)
        search.told(index, Ending((CycleResult(0, {"cost": float(search.plan[index].values.get(BATCH, 1))}),)))
    return found


COUNTING = """
from itertools import count
STUDY = {"study_name": "counted", "model": "tiny-lm", "execution": {"max_experiments": 3}}
def config_gen():
    for n in count(1):
        yield {"pytorch": {"batch_size": n}}
"""
DOUBLING = """
STUDY = {"model": "tiny-lm"}
def config_gen():
    batch, costs = 1, []
    while batch < 32:
        told = yield {"pytorch.batch_size": batch}
        costs.append(told.value("cost"))
        batch = int(sum(costs)) + 1
"""


def test_config_is_a_study_as_in_yaml(tmp_path: Path) -> None:
    mapping = load(tmp_path, 'CONFIG = {"model": "tiny-lm", "sweep": {"pytorch.batch_size": [1, 8]}}')
    assert (mapping.study_name, len(Plan(mapping)), mapping.folder) == ("study", 2, tmp_path)
    config = load(
        tmp_path,
        "from joulegrid import StudyConfig\n"
        'CONFIG = StudyConfig(study_name="mine", model="tiny-lm", sweep={"pytorch.batch_size": [1, 8]})',
    )
    assert (config.study_name, len(Plan(config))) == ("mine", 2)
    assert Plan(mapping).study_design_hash == Plan(config).study_design_hash


def test_a_generator_yields_lazily_until_the_limit(tmp_path: Path) -> None:
    search = begun(tmp_path, COUNTING)
    assert (search.next_index(), search.next_index(), search.next_index(), search.next_index()) == (0, 1, 2, None)
    assert [one.label for one in search.plan] == ["batch_size=1", "batch_size=2", "batch_size=3"]
    assert search.plan.study.study_name == "counted"


def test_an_experiment_may_be_an_experiment_config_and_say_the_workload_itself(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("x = 0\ndef main():\n    return {}")
    text = """
    from joulegrid import ExperimentConfig
    def config_gen():
        yield ExperimentConfig(workload="script", script={"path": "job.py", "globals": {"x": 1}})
        yield {"workload": "script", "script.path": "job.py", "script.globals.x": 1}
        yield {"workload": "script", "script": {"path": "job.py", "globals": {"x": 2}}}
    """
    search = begun(tmp_path, text)
    assert (all_of(search), search.plan.n_duplicates) == ([0, 1], 1)
    assert [one.key for one in search.plan] == [
        point.key
        for point in Plan(
            StudyConfig(
                workload="script", script={"path": "job.py"}, sweep={"script.globals.x": [1, 2]}, folder=tmp_path
            )
        )
    ]


def test_a_generator_that_uses_what_yield_gives_is_told_and_driven_one_at_a_time(tmp_path: Path) -> None:
    search = begun(tmp_path, DOUBLING)
    assert (search.next_index(), search.next_index(), search.is_deaf) == (0, WAIT, False)
    search.told(0, Ending((CycleResult(0, {"cost": 1.0}),)))
    assert search.next_index() == 1
    search = begun(tmp_path, DOUBLING)
    all_of(search)
    assert [one.values.get(BATCH, 1) for one in search.plan] == [1, 2, 4, 8, 16]


@pytest.mark.parametrize("killed_after", range(6))
def test_a_generator_goes_on_where_it_was(tmp_path: Path, killed_after: int) -> None:
    log: list[Asked] = []
    endings: dict[int, Ending] = {}
    first = planned(tmp_path, DOUBLING)
    search = Search(first, first.source.make(), log.append)
    index = search.next_index()
    while isinstance(index, int) and len(endings) < killed_after:
        endings[index] = Ending((CycleResult(0, {"cost": float(first[index].values.get(BATCH, 1))}),))
        search.told(index, endings[index])
        index = search.next_index()
    again = planned(tmp_path, DOUBLING)
    events = [one.event() for one in log]
    fill(again, events)
    resumed = Search(again, again.source.make(), log.append)
    resumed.restore(events, endings)
    for left in range(len(endings), len(again)):
        resumed.told(left, Ending((CycleResult(0, {"cost": float(again[left].values.get(BATCH, 1))}),)))
    all_of(resumed)
    assert [one.values[BATCH] for one in log] == [1, 2, 4, 8, 16]


def test_what_is_run_again_was_told_before_a_generator_went_on(tmp_path: Path) -> None:
    """With more cycles, or failures tried again, experiments are open again that later yields depend on."""
    text = DOUBLING.replace('told.value("cost")', '(told.value("cost") or 0.5)')
    log: list[Asked] = []
    first = planned(tmp_path, text)
    search = Search(first, first.source.make(), log.append)
    for cost in ((1.0,), (), (2.0,)):
        index = search.next_index()
        assert isinstance(index, int)
        search.told(index, Ending(tuple(CycleResult(0, {"cost": one}) for one in cost)))
    search.next_index()
    again = planned(tmp_path, text)
    events = [one.event() for one in log]
    fill(again, events)
    resumed = Search(again, again.source.make(), log.append)
    so_far = {index: Ending((CycleResult(0, {"cost": cost}),), is_whole=False) for index, cost in ((0, 1.0), (2, 2.0))}
    resumed.restore(events, so_far)
    assert resumed.next_index() is WAIT
    assert [(one.values[BATCH], one.index) for one in log] == [(1, 0), (2, 1), (2, 1), (3, 2), (5, 3)]


def test_a_generator_that_yields_otherwise_at_resume_is_told_so(tmp_path: Path) -> None:
    text = """
    STUDY = {"model": "tiny-lm", "execution": {"max_experiments": 5}}
    from pathlib import Path
    def config_gen():
        for n in range(1, 9):
            yield {"pytorch.batch_size": n + Path(__file__).with_name("other").exists()}
    """
    log: list[Asked] = []
    plan = planned(tmp_path, text)
    Search(plan, plan.source.make(), log.append).next_index()
    (tmp_path / "other").touch()
    with pytest.raises(UsageError, match=r"yields \{\"pytorch.batch_size\":2\} as experiment 0.*it was .*:1\}"):
        Search(planned(tmp_path, text), plan.source.make()).restore([one.event() for one in log], {})


def test_the_design_is_the_files_code_without_layout_comments_and_execution(tmp_path: Path) -> None:
    def design(text: str) -> str:
        return planned(tmp_path, text).study_design_hash

    before = design(COUNTING)
    assert design("# a comment\n" + COUNTING.replace('"max_experiments": 3', '"max_experiments":   30')) == before
    assert design(COUNTING.replace("count(1)", "count(2)")) != before
    assert design(COUNTING.replace('"model": "tiny-lm",', '"model": "tiny-lm", "pytorch.max_new_tokens": 8,')) != before


def test_flags_change_the_shared_fields_and_the_limit(tmp_path: Path) -> None:
    overrides = Overrides(sets=("pytorch.max_new_tokens=8", "execution.max_experiments=2"))
    plan = planned(tmp_path, COUNTING, overrides)
    assert all_of(Search(plan, plan.source.make())) == [0, 1]
    assert plan[0].values["pytorch.max_new_tokens"] == 8


def test_the_files_folder_is_importable_while_it_runs_and_only_then(tmp_path: Path) -> None:
    (tmp_path / "sizes_of_mine.py").write_text("SIZES = [1, 2]")
    text = """
    STUDY = {"model": "tiny-lm"}
    def config_gen():
        from sizes_of_mine import SIZES
        for size in SIZES:
            yield {"pytorch.batch_size": size}
    """
    before = list(sys.path)
    assert all_of(begun(tmp_path, text)) == [0, 1]
    assert sys.path == before
    del sys.modules["sizes_of_mine"]


def test_what_the_file_prints_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = COUNTING + "        print('asked', n)\nprint('read')\n"
    all_of(begun(tmp_path, text))
    out, err = capsys.readouterr()
    assert out == ""
    assert "read" in err
    assert "asked 1" in err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("CONFIG = {", "study.py, line 1: SyntaxError"),
        ("\nimport no_such_module_here", "study.py, line 2: ModuleNotFoundError: No module named"),
        ("\n\nx = 1 / 0", "study.py, line 3: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)", "study.py, line 2: SystemExit: it called sys.exit(3)"),
        ("x = 1", "it defines none of them"),
        ("CONFIG = {}\ndef config_gen():\n    yield {}", "it defines CONFIG and config_gen"),
        ("CONFIG = 7", "CONFIG is 7; give a mapping"),
        ("STUDY = 7\ndef config_gen():\n    yield {}", "STUDY is 7; give a mapping"),
        ("config_gen = 7", "config_gen is 7; write it as a function"),
        ('STUDY = {"model": "tiny-lm"}\ndef config_gen():\n    return 7', "TypeError: 'int' object is not iterable"),
        ('STUDY = {"model": "tiny-lm"}\ndef config_gen():\n    yield 7', "yielded 7; an experiment is a mapping"),
        (
            'STUDY = {"model": "tiny-lm"}\ndef config_gen():\n    yield {"pytorch.batch_size": 1}["no"]',
            "study.py, line 3: KeyError: 'no'",
        ),
        ("def searcher():\n    return 7", "searcher() returned 7; a searcher has the methods ask and tell"),
        (
            'STUDY = {"model": "tiny-lm", "sweep": {"pytorch.batch_size": [1]}}\ndef config_gen():\n    yield {}',
            "sweep: study.py: config_gen proposes the experiments already",
        ),
        ("STUDY = {'modle': 'x'}\ndef config_gen():\n    yield {}", "modle: unknown key"),
        (
            'STUDY = {"model": "tiny-lm"}\ndef config_gen():\n    while True:\n        yield {}',
            "line 3: config_gen never ends",
        ),
        (
            'STUDY = {"model": "tiny-lm"}\nfrom itertools import cycle\ndef config_gen():\n    yield from cycle([{}])',
            "line 4: config_gen never ends",
        ),
    ],
)
def test_faults_of_the_file_are_told_with_their_line(tmp_path: Path, text: str, told: str) -> None:
    assert told in refused(tmp_path, text)


def test_a_fault_in_what_the_file_calls_names_both_places(tmp_path: Path) -> None:
    told = refused(tmp_path, "import json\nCONFIG = json.loads('{')")
    assert "study.py, line 2: JSONDecodeError" in told
    assert "raised in" in told


@pytest.mark.parametrize("way_out", ["break", "return", "raise ValueError"])
def test_a_loop_with_a_way_out_may_be_endless(tmp_path: Path, way_out: str) -> None:
    text = (
        'STUDY = {"model": "tiny-lm"}\ndef config_gen():\n    while True:\n'
        f"        yield {{}}\n        if 1:\n            {way_out}"
    )
    assert begun(tmp_path, text).next_index() == 0


def test_an_own_searcher_is_asked_and_told(tmp_path: Path) -> None:
    text = """
    STUDY = {"model": "tiny-lm"}
    class Down:
        def __init__(self):
            self.batch = 8
        def ask(self):
            return {"pytorch.batch_size": self.batch} if self.batch else None
        def tell(self, told):
            self.batch //= 2
    def searcher():
        return Down()
    """
    search = begun(tmp_path, text)
    all_of(search)
    assert [one.values.get(BATCH, 1) for one in search.plan] == [8, 4, 2, 1]
    assert search.plan.source.name == "study.py: searcher"


def test_the_plan_of_a_generator_says_that_it_is_lazy_and_shows_the_first_few(tmp_path: Path) -> None:
    endless = COUNTING.replace('"max_experiments": 3', '"max_experiments": 1000')
    text = asked_text(planned(tmp_path, endless))
    assert "searcher     study.py: config_gen, asked while the study runs" in text
    assert "experiments  1,000 at most" in text
    assert "      4  batch_size=5" in text
    assert "batch_size=6" not in text
    assert "and so on" in text
    facts = asked_json(planned(tmp_path, endless), points=True)
    assert [point["axes"] for point in facts["points"]] == [{BATCH: n} for n in range(1, 6)]
    assert (facts["n_experiments"], facts["max_tasks"]) == (None, 1000)
    assert "the rest depends on what these come to" in asked_text(planned(tmp_path, DOUBLING))


def test_the_command_line_ends_with_code_2_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("\nx = 1 / 0")
    command = [sys.executable, "-m", "joulegrid", "plan", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"joulegrid: {path}, line 2: ZeroDivisionError: division by zero\n"


def test_planning_a_search_imports_no_optuna(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "model: tiny-lm\nsweep: {pytorch.batch_size: {low: 1, high: 8}}\n"
        "search: {objectives: [minimize energy_per.output_token], budget: 4}\n"
    )
    program = (
        "import sys; from joulegrid.jobs.commands import *; show_plan(Path(sys.argv[1]), StudyFlags(), points=True, "
    )
    program += "as_json=False); assert not {'optuna', 'ray', 'torch'} & sys.modules.keys()"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines: dict[str, Any] = {line[:13].strip(): line[13:] for line in done.stdout.splitlines()}
    assert lines["objective"] == "minimize energy_per.output_token"
    assert lines["space"] == "8 points: pytorch.batch_size 1 … 8"
    assert lines["experiments"] == "4 at most"
