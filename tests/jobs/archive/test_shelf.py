"""Archives in a store: named by what they came to, never mixed, never believed when damaged."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from pydantic import ValidationError
from rich.console import Console

from joulegrid.errors import UsageError
from joulegrid.jobs.archive.record import Archived, judged_of
from joulegrid.jobs.archive.shelf import Unreadable, archives, keep, take_down
from joulegrid.jobs.archive.view import print_archive, print_list, print_report
from tests.jobs.archive.shelves import NOON, contents, fast, point, shelf


def console() -> Console:
    return Console(file=io.StringIO(), width=140, highlight=False)


def shown(drawn: Console) -> str:
    assert isinstance(drawn.file, io.StringIO)
    return drawn.file.getvalue()


@pytest.mark.parametrize(
    ("points", "ending"),
    [
        ([fast(2.0), fast(0.5, shape="b")], "1.00x"),
        ([fast(1.5), point(shape="b", verdict="wrong_values")], "1.50x"),
        ([point(verdict="wrong_values"), point(shape="b", verdict="timeout")], "failed"),
        ([point()], "untimed"),
    ],
)
def test_the_name_says_when_what_and_how_fast(points: list[object], ending: str, tmp_path: Path) -> None:
    record = keep(shelf(tmp_path), contents(*points, experiment="my norm/α"), NOON)  # type: ignore[arg-type]
    assert record.name == f"20261121T120000Z-my-norm-{ending}"
    assert (tmp_path / "archive" / record.name / "candidate.py").is_file()


def test_two_archives_of_one_second_lie_beside_each_other(tmp_path: Path) -> None:
    names = [keep(shelf(tmp_path), contents(fast(2.0), candidate=bytes([65 + n])), NOON).name for n in range(3)]
    assert names == [f"20261121T120000Z-norm-fused-2.00x{end}" for end in ("", "-2", "-3")]
    assert take_down(shelf(tmp_path), names[1]).read("candidate.py") == b"B"


def test_an_archive_is_found_by_a_part_of_its_name_and_by_latest(tmp_path: Path) -> None:
    store = shelf(tmp_path)
    keep(store, contents(fast(2.0)), NOON)
    keep(store, contents(point(verdict="timeout"), experiment="scan"), NOON.replace(hour=13))
    assert take_down(store, "norm").record.experiment == "norm-fused"
    assert take_down(store, "latest").record.experiment == "scan"
    with pytest.raises(UsageError, match="fits 2 archives"):
        take_down(store, "20261121")
    with pytest.raises(UsageError, match="was not found"):
        take_down(store, "nothing like it")
    with pytest.raises(UsageError, match="holds no archive"):
        take_down(shelf(tmp_path / "empty"), "latest")
    (tmp_path / "archive" / "20261121T150000Z-halfway-untimed").mkdir()
    assert take_down(store, "latest").record.experiment == "scan"
    with pytest.raises(UsageError, match="halfway-untimed: it was never finished"):
        take_down(store, "halfway")


def test_damage_is_found_and_an_unfinished_archive_is_told(tmp_path: Path) -> None:
    store = shelf(tmp_path)
    record = keep(store, contents(fast(2.0)), NOON)
    place = tmp_path / "archive" / record.name
    (place / "candidate.py").write_text("another one")
    (place / "case" / "model.py").unlink()
    assert take_down(store, "norm").damaged == ["candidate.py", "case/model.py"]
    (tmp_path / "archive" / "20261121T130000Z-halfway-untimed").mkdir()
    (place / "archive.json").write_text('{"name": 3}')
    with pytest.raises(UsageError, match=r"norm-fused-2.00x: archive.json is not of this version's form: name: .*;"):
        take_down(store, "norm")
    found = list(archives(store))
    assert [one.name for one in found if isinstance(one, Unreadable)] == [one.name for one in found]
    drawn = console()
    print_list(found, drawn)
    assert "never finished" in shown(drawn) and "not of this version's form" in shown(drawn)


def test_an_archive_is_shown_with_its_points_and_its_damage(tmp_path: Path) -> None:
    store = shelf(tmp_path)
    wrong = point(shape="odd", verdict="wrong_values")
    record = keep(store, contents(fast(2.0), wrong), NOON)
    (tmp_path / "archive" / record.name / "environment.json").unlink()
    drawn = console()
    print_archive(take_down(store, "latest"), drawn)
    text = shown(drawn)
    assert "2.00×" in text and "wrong_values" in text and "DAMAGED: environment.json" in text


def test_the_report_counts_the_newest_of_equal_archives(tmp_path: Path) -> None:
    store = shelf(tmp_path)
    keep(store, contents(fast(1.2)), NOON)
    keep(store, contents(fast(1.8)), NOON.replace(hour=14))
    keep(store, contents(point(verdict="wrong_values"), case="scan", fingerprint="e" * 64), NOON)
    found = [one for one in archives(store) if isinstance(one, Archived)]
    assert sorted((one.case, one.speedup) for one in judged_of(found)) == [("norm", 1.8), ("scan", None)]
    drawn = console()
    print_report(found, drawn)
    assert "fast_1.5" in shown(drawn) and "0.50" in shown(drawn)


def test_what_did_not_pass_has_no_speed() -> None:
    with pytest.raises(ValidationError, match="only where the verdict"):
        fast(2.0, verdict="wrong_values")
