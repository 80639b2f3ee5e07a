"""When a run is drained: a deadline, a drain file, the study's own limit; and what the next start finds."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from joulegrid.errors import StudyDrained, UsageError
from joulegrid.jobs.loop.drain import FLUSH_S, Drain
from tests.jobs.studies import run, study_of


def test_without_a_word_nothing_is_drained() -> None:
    drain = Drain.of(None, {})
    assert (drain.over_s, drain.asked(), drain.is_over()) == (math.inf, None, False)


def test_the_nearest_limit_holds_and_leaves_time_for_the_flush() -> None:
    drain = Drain.of(1.0, {"JOULEGRID_DEADLINE": str(time.time() + 100)})
    assert drain.over_s == pytest.approx(time.monotonic() + 100 - FLUSH_S, abs=5)
    assert Drain.of(1.0, {}).over_s == pytest.approx(time.monotonic() + 3_600 - FLUSH_S, abs=5)


def test_a_deadline_that_has_passed_asks_and_is_over() -> None:
    drain = Drain.of(None, {"JOULEGRID_DEADLINE": str(time.time() - 1)})
    assert drain.asked() == "the time is up"
    assert drain.is_over()


def test_a_drain_file_asks_as_soon_as_it_is_there_and_cuts_short_only_where_no_deadline_is_known(
    tmp_path: Path,
) -> None:
    file = tmp_path / "drain"
    alone = Drain.of(None, {"JOULEGRID_DRAIN_FILE": str(file)})
    timed = Drain.of(1.0, {"JOULEGRID_DRAIN_FILE": str(file)})
    assert alone.asked() is None
    file.touch()
    assert str(file) in (alone.asked() or "")
    assert alone.is_over()
    assert timed.asked() is not None
    assert not timed.is_over()


@pytest.mark.parametrize("given", ["soon", "nan", "2026-01-01"])
def test_a_deadline_that_is_no_number_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="seconds since the epoch"):
        Drain.of(None, {"JOULEGRID_DEADLINE": given})


@pytest.mark.usefixtures("ray_here")
def test_a_drained_run_is_gone_on_with_and_no_try_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "drain"
    source = f"""
        import time
        from pathlib import Path
        x = 0
        def main():
            if x == 2 and not Path({str(tmp_path / "again")!r}).exists():
                Path({str(tmp_path / "again")!r}).touch()
                Path({str(file)!r}).touch()
                time.sleep(60)
            return {{}}
        """
    study = study_of(tmp_path, source, [1, 2, 3])
    monkeypatch.setenv("JOULEGRID_DRAIN_FILE", str(file))
    with pytest.raises(StudyDrained, match="drained: 2 tasks left"):
        run(study)
    monkeypatch.delenv("JOULEGRID_DRAIN_FILE")
    result = run({**study, "execution": {"max_retries": {"infra": 0}}})
    assert (result.counts.done, result.counts.failed) == (3, 0)
    assert sorted(one.attempt for one in result.iter_results()) == [0, 0, 1]
