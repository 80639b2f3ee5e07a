"""The plan of a search: what is asked for has the identity that a grid would give it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegrid.errors import PreFlightError, UsageError
from joulegrid.jobs.plan.merge import leaves, nested
from joulegrid.jobs.plan.plan import Plan
from joulegrid.jobs.plan.planning import plan_of
from joulegrid.jobs.search.asked import AskedPlan
from joulegrid.jobs.search.asking import PATIENCE, Asked, Ending, Search, ended_event, fill, is_over
from joulegrid.jobs.search.search import WAIT, CycleResult, SearcherSource, Told, Wait
from joulegrid.jobs.study.load import make_study
from joulegrid.jobs.study.study import StudyConfig
from joulegrid.jsontypes import Json
from tests.jobs.plan.test_plan import AXES, BATCH, SWEEPS, maybe
from tests.jobs.studies import write_script

TINY = {"model": "tiny-lm"}


class Listed:
    """Asks for the given things one after the other and remembers what it is told."""

    def __init__(self, *asks: Any) -> None:
        self.asks = list(asks)
        self.told: list[Told] = []

    def ask(self) -> Any:
        return self.asks.pop(0) if self.asks else None

    def tell(self, told: Told) -> None:
        self.told.append(told)


def asked_plan(*asks: Any, **fields: Any) -> AskedPlan:
    source = SearcherSource("listed", "0123", lambda: Listed(*asks))
    study = make_study({**TINY, **fields}).model_copy(update={"searcher": source})
    found = plan_of(study)
    assert isinstance(found, AskedPlan)
    return found


def admitted(asked: AskedPlan, values: dict[str, Any]) -> int | None:
    return asked.admit(values).index


def ending(**metrics: Json) -> Ending:
    return Ending((CycleResult(0, metrics),))


@settings(max_examples=40, deadline=None)
@given(SWEEPS)
def test_an_experiment_has_the_key_the_axes_the_label_and_the_inputs_of_the_grid(sweep: dict[str, Any]) -> None:
    grid, asked = maybe(sweep=sweep), asked_plan()
    if grid is None:
        return
    asked._varied |= dict.fromkeys(grid.varied)  # the order of the axes, as a first experiment sets it
    for point in grid:
        assert admitted(asked, point.axes) == point.index
        mine = asked[point.index]
        assert (mine.key, mine.axes, mine.label) == (point.key, point.axes, point.label)
        assert (mine.values, mine.config, mine.inputs) == (point.values, point.config, point.inputs)
    assert len(asked) == len(grid)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.fixed_dictionaries({}, optional=AXES), min_size=1, max_size=8))
def test_what_is_asked_for_is_accepted_refused_and_equivalent_as_the_same_list_of_experiments_is(
    points: list[dict[str, Any]],
) -> None:
    listed = maybe(experiments=points)
    asked = asked_plan()
    found = [asked.admit(one) for one in points]
    if listed is None:
        assert all(one.index is None for one in found)
        return
    assert [one.key for one in asked] == [one.key for one in listed]
    assert asked.n_duplicates == listed.n_duplicates
    assert {(one.reason, one.count) for one in asked.skipped} == {(one.reason, one.count) for one in listed.skipped}
    assert sum(one.is_new for one in found) == len(asked)


def test_a_script_has_the_key_of_the_grid_too(tmp_path: Path) -> None:
    fields = {"workload": "script", "script": {"path": str(write_script(tmp_path))}}
    grid = Plan(make_study({**fields, "sweep": {"script.globals.x": [1, 2]}}))
    source = SearcherSource("listed", "0", Listed)
    asked = plan_of(make_study(fields).model_copy(update={"searcher": source}))
    assert isinstance(asked, AskedPlan)
    for x in (1, 2):
        asked.admit({"script": {"globals": {"x": x}}})
    assert [(one.key, one.label, one.axes) for one in asked] == [(one.key, one.label, one.axes) for one in grid]


def test_the_face_of_a_plan() -> None:
    asked = asked_plan(execution={"n_cycles": 2, "max_experiments": 3}, resources={"cpus": 2})
    assert (len(asked), asked.resources, asked.skipped, asked.n_duplicates) == (0, [(None, 2)], [], 0)
    asked.admit({BATCH: 2})
    asked.admit({BATCH: 4})
    assert list(asked.order) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert asked[-1].label == asked.label(asked[-1].values) == "batch_size=4"
    assert asked.is_open
    with pytest.raises(IndexError):
        asked[2]


def test_labels_and_axes_stay_as_they_were_when_another_path_turns_up() -> None:
    asked = asked_plan()
    asked.admit({BATCH: 2})
    asked.admit({BATCH: 2, "pytorch.precision": "bf16"})
    assert [one.label for one in asked] == ["batch_size=2", "batch_size=2 precision=bf16"]
    assert asked[0].axes == {BATCH: 2}


def test_numbers_of_other_libraries_count_as_numbers() -> None:
    class Four:
        def item(self) -> int:
            return 4

    asked = asked_plan()
    assert asked.admit({BATCH: Four()}).is_new
    assert not asked.admit({BATCH: 4}).is_new


def test_the_design_is_the_searcher_and_the_shared_fields_and_not_what_was_asked_for() -> None:
    one, other = asked_plan(), asked_plan(pytorch={"max_new_tokens": 8})
    before = one.study_design_hash
    one.admit({BATCH: 8})
    assert one.study_design_hash == before != other.study_design_hash
    more = asked_plan(execution={"max_experiments": 9, "n_cycles": 4})
    assert more.study_design_hash == before
    changed = one.study.model_copy(update={"searcher": SearcherSource("listed", "4567", Listed)})
    assert AskedPlan(changed, SearcherSource("listed", "4567", Listed)).study_design_hash != before


def test_a_field_that_nobody_knows_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"pytorch.batchsize: unknown key; did you mean 'pytorch.batch_size'"):
        asked_plan().admit({"pytorch.batchsize": 2})


def test_wrong_values_are_refused_with_their_reason_and_counted() -> None:
    asked = asked_plan(pytorch={"n_prompts": 4})
    assert asked.admit({BATCH: 0}).reason == "pytorch.batch_size: given 0; it should be greater than or equal to 1"
    assert admitted(asked, {BATCH: 8}) is None
    assert admitted(asked, {BATCH: 16}) is None
    assert admitted(asked, {"resources.cpus": 2}) is None
    assert [one.count for one in asked.skipped] == [1, 1, 1, 1]
    assert asked.skipped[1].example == "batch_size=8"


def test_shared_fields_that_are_wrong_are_an_error_before_anything_is_asked() -> None:
    with pytest.raises(UsageError, match=r"pytorch.batch_size: given 0"):
        asked_plan(pytorch={"batch_size": 0})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"sweep": {BATCH: [1]}}, "sweep: listed proposes the experiments already"),
        ({"execution": {"cycle_order": "shuffled"}}, "leave it out, or say sequential"),
    ],
)
def test_two_things_that_propose_are_one_too_many(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        asked_plan(**fields)


def test_without_deduplication_an_equal_experiment_runs_again_under_a_key_of_its_own() -> None:
    asked = asked_plan(deduplicate=False)
    assert [admitted(asked, {BATCH: 2}) for _ in range(2)] == [0, 1]
    assert asked[0].key != asked[1].key


def test_a_searcher_is_told_of_each_of_its_asks() -> None:
    searcher = Listed({BATCH: 2}, {BATCH: 0}, {BATCH: 2}, {BATCH: 4}, {BATCH: 2})
    search = Search(asked_plan(), searcher)
    assert (search.next_index(), search.next_index()) == (0, 1)
    assert [(one.number, one.status) for one in searcher.told] == [(1, "refused")]
    search.told(0, ending(speed=3.0))
    assert [(one.number, one.status, one.repeated) for one in searcher.told[1:]] == [
        (0, "done", False),
        (2, "done", True),
    ]
    assert search.next_index() is None
    assert (searcher.told[-1].number, searcher.told[-1].repeated) == (4, True)
    search.told(1, Ending((), "app", "it broke"))
    assert (searcher.told[-1].status, searcher.told[-1].failure_class) == ("failed", "app")
    assert search.next_index() is None
    assert search.ended == "the searcher has nothing more"


def test_told_takes_the_mean_over_the_cycles_that_know_a_number() -> None:
    cycles = (
        CycleResult(0, {"a": {"b": 1}, "c.d": 5, "text": "x", "yes": True}, 2.0, None, {"token": None}),
        CycleResult(1, {"a": {"b": 3.0}, "nan": float("nan")}, 4.0, 7.0, {"token": 0.5}),
    )
    told = Told(0, {}, "done", cycles=cycles)
    paths = ("a.b", "c.d", "duration_s", "energy_j", "energy_per.token", "text", "yes", "nan", "none", "energy_per")
    assert [told.value(one) for one in paths] == [2.0, 5.0, 3.0, 7.0, 0.5, None, None, None, None, None]
    assert told.names() == ["a.b", "c.d", "duration_s", "energy_j", "energy_per.token"]


def test_a_search_ends_at_its_limit() -> None:
    search = Search(asked_plan(execution={"max_experiments": 2}), Listed(*({BATCH: n} for n in range(1, 9))))
    assert [search.next_index() for _ in range(3)] == [0, 1, None]
    assert search.ended == "the limit of 2 experiments is reached"


def test_a_search_that_brings_nothing_new_waits_for_what_runs_and_ends_in_the_end() -> None:
    class Stubborn(Listed):
        def ask(self) -> Any:
            return {BATCH: 2}

    search = Search(asked_plan(), Stubborn())
    assert (search.next_index(), search.next_index()) == (0, WAIT)
    search.told(0, ending())
    assert search.next_index() is None
    assert search.n_asked == PATIENCE + 1
    assert str(search.ended).startswith("1,000 asks in a row")


def test_a_searcher_that_waits_for_nothing_or_asks_for_no_mapping_is_told_so() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UsageError, match="would wait forever"):
        Search(asked_plan(), Listed(WAIT)).next_index()
    with pytest.raises(UsageError, match="a mapping of dotted paths"):
        Search(asked_plan(), Listed(7)).next_index()
    with pytest.raises(UsageError, match="what JSON cannot hold"):
        Search(asked_plan(), Listed({BATCH: endless})).next_index()


class Halving:
    """Takes the smaller half of what is left; remembers nothing but what it is told."""

    def __init__(self) -> None:
        self.low, self.high = 1, 1024
        self.waits = False
        self.n_told = 0

    def ask(self) -> Any:
        if self.low >= self.high:
            return None
        if self.waits:
            return WAIT
        self.waits = True
        return {BATCH: (self.low + self.high) // 2, "pytorch.n_prompts": 2000}

    def state(self) -> Json:
        return [self.low, self.high]

    def tell(self, told: Told) -> None:
        self.low, self.high = told.state
        self.waits = told.status == "pending"
        if not self.waits:
            middle = (self.low + self.high) // 2
            self.low, self.high = (self.low, middle) if (told.value("error") or 0) > 0 else (middle + 1, self.high)


def run_of(search: Search, steps: int | None = None, running: tuple[int, ...] = ()) -> dict[int, Ending]:
    """Run a search on one lane; after `steps` endings leave off, as if the driver had been killed."""
    endings: dict[int, Ending] = {}
    index: int | Wait | None = running[0] if running else search.next_index()
    while isinstance(index, int) and (steps is None or len(endings) < steps):
        batch = search.plan[index].values[BATCH]
        endings[index] = ending(error=batch - 300)
        search.told(index, endings[index])
        index = search.next_index()
    return endings


@pytest.mark.parametrize("killed_after", range(9))
def test_a_search_that_is_killed_and_resumed_asks_what_it_would_have_asked(killed_after: int) -> None:
    whole: list[Asked] = []
    run_of(Search(asked_plan(), Halving(), whole.append))
    log: list[Asked] = []
    endings = run_of(Search(asked_plan(), Halving(), log.append), killed_after)
    second = Search(asked_plan(), Halving(), log.append)
    events = [one.event() for one in log]
    fill(second.plan, events)
    second.restore(events, endings)
    run_of(second, running=tuple(index for index in range(len(second.plan)) if index not in endings))
    assert log == whole
    assert len(whole) == 10


def test_a_log_whose_experiments_read_something_else_now_is_refused(tmp_path: Path) -> None:
    path = write_script(tmp_path)
    study = make_study({"workload": "script", "script": {"path": str(path)}})

    def plan() -> AskedPlan:
        source = SearcherSource("listed", "0", Listed)
        return AskedPlan(study.model_copy(update={"searcher": source}), source)

    log: list[Asked] = []
    Search(plan(), Listed({"script.globals.x": 1}), log.append).next_index()
    again = plan()
    fill(again, [one.event() for one in log])
    assert len(again) == 1
    path.write_text("x = 0\ndef main():\n    return {'other': x}")
    with pytest.raises(PreFlightError, match="what it reads has changed since"):
        fill(plan(), [one.event() for one in log])
    with pytest.raises(PreFlightError, match="a part of it is damaged"):
        fill(plan(), [{**log[0].event(), "number": 1}])


def test_values_come_back_from_the_log_as_they_were_asked_for() -> None:
    log: list[Asked] = []
    values = {"pytorch": {"batch_size": 2, "passes": ("latency",)}}
    Search(asked_plan(), Listed(values), log.append).next_index()
    assert log[0].values == {"pytorch.batch_size": 2, "pytorch.passes": ["latency"]}
    assert Asked.of({**log[0].event(), "at": "2026-01-01", "event": "asked"}) == log[0]
    assert dict(leaves(nested(log[0].values))) == log[0].values


def test_a_search_is_over_when_its_log_says_so_unless_the_limit_was_raised_since() -> None:
    asks = [{"number": n, "values": {}, "index": n} for n in range(3)]
    three, more = asked_plan(execution={"max_experiments": 3}), asked_plan(execution={"max_experiments": 4})
    assert not is_over(three, asks)
    assert not is_over(three, [])
    assert is_over(three, [*asks, ended_event("the limit", 3)])
    assert not is_over(more, [*asks, ended_event("the limit", 3)])
    assert not is_over(asked_plan(), [*asks, ended_event("the limit", 3)])
    assert is_over(more, [*asks, ended_event("nothing more", 10)])
    assert is_over(more, [*asks, ended_event("nothing more", None)])


def test_a_study_with_neither_is_a_grid() -> None:
    assert isinstance(plan_of(StudyConfig(**TINY)), Plan)
