from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from joulegrid.cluster.storage import open_store
from joulegrid.jobs.report.details import gather
from joulegrid.jobs.report.markdown import code, escaped, fenced, markdown
from joulegrid.jobs.report.markup import Html, element
from joulegrid.jobs.report.page import page
from joulegrid.jobs.report.plots import Figures
from joulegrid.jobs.report.run_report import read_run, report, write_report
from tests.jobs.report.results import Made, done, failed, inference_results, modelled, no_energy, run_folder

if TYPE_CHECKING:
    from pathlib import Path

    from joulegrid.actors.result import ExperimentResult

NASTY = "<script>alert('x')</script> & \"q\" | `b` [l](u) 日本 $m$"


class Balance(HTMLParser):
    """Whether every element is closed, and what is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in ("meta", "br", "hr"):
            self.open.append(tag)
        self.outside += [
            f"{name}={value}" for name, value in attrs if name in ("src", "href") and "#" not in str(value)
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def pages(folder: Path, results: list[ExperimentResult], **manifest: object) -> tuple[str, str]:
    run_folder(folder, results, **manifest)
    run = read_run(folder)
    details = gather(run)
    figures = Figures(missing=["Figures need matplotlib: pip install 'joulegrid[figures]'"])
    html = page(run, details, figures)
    balance = Balance()
    balance.feed(html)
    assert balance.open == []
    assert "script" not in balance.tags
    assert balance.outside == []
    return html, markdown(run, details, figures)


def test_text_is_escaped_unless_it_is_html() -> None:
    assert element("p", "<b>", element("i", "&"), class_='"') == '<p class="&quot;">&lt;b&gt;<i>&amp;</i></p>'
    assert element("p", Html("<b></b>")) == "<p><b></b></p>"


def test_markdown_shows_nasty_text_as_it_is() -> None:
    assert escaped("a|b\n<c> *d* `e`") == r"a\|b \<c\> \*d\* \`e\`"
    assert code("a`b``c") == "``` a`b``c ```"
    assert fenced("x\n```\ny").startswith("````\n")


def test_nasty_names_messages_and_logs_stay_text(tmp_path: Path) -> None:
    axes = {"script.name": NASTY}
    results = [
        done(Made(axes=axes, label=NASTY, metrics={NASTY: 1.0, "word": NASTY}, energy=no_energy())),
        failed(Made(index=1, axes=axes, label=NASTY), message=NASTY),
    ]
    html, text = pages(
        tmp_path / "run", results, notes=[NASTY], skipped=[{"reason": NASTY, "count": 3, "example": NASTY}]
    )
    assert "<script>" not in html
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; &quot;q&quot;" in html
    assert "\x1b" not in html
    assert "allocating &lt;cache&gt;" in html
    assert "\n<script>" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) >= 3 for row in rows)


def test_the_page_tells_hardware_method_failures_and_how_to_repeat(tmp_path: Path) -> None:
    results = [*inference_results(2, 3), failed(Made(index=2))]
    html, text = pages(tmp_path / "run", results, unfenced=True)
    for part in (
        "NVIDIA H200",
        "570.124.06",
        "torch 2.13.0",
        "0123456789abcdef0123456789abcdef01234567 with local changes",
        "measured, GPU",
        "95 % Student t interval",
        "OutOfMemoryError",
        "unfenced, best effort",
        "git checkout 0123456789abcdef",
        "joulegrid run --fresh",
        "attention",
        "joulegrid[figures]",
    ):
        assert part in html, part
    for part in (
        "| experiment |",
        "measured, GPU",
        "oom\\_device",
        "unfenced, best effort",
        "joulegrid run --fresh",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    "results",
    [
        [],
        [failed(Made())],
        [done(Made(energy=no_energy()))],
        [done(Made(cycle=cycle, energy=modelled(9.0 + cycle))) for cycle in range(2)],
        [done(Made(metrics={"loss": float("nan"), "verdict": "correct", "list": [1, 2]}))],
        [done(Made(metrics={}, label="", axes={}))],
    ],
    ids=["empty", "only failures", "no energy", "modelled", "texts", "nothing said"],
)
def test_every_kind_of_run_gives_whole_pages(tmp_path: Path, results: list[ExperimentResult]) -> None:
    html, text = pages(tmp_path / "run", results)
    assert "Results" in html
    assert "nan" not in re.sub(r"loss.*", "", text)
    assert ">None<" not in html


def test_report_writes_into_the_run_or_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = run_folder(tmp_path / "run", [failed(Made())])
    assert write_report(store) == str(tmp_path / "run" / "report" / "report.html")
    assert sorted(store.list("report/")) == ["report/report.html", "report/report.md"]
    (place,) = report([str(tmp_path / "run")], output=str(tmp_path / "elsewhere"))
    assert place == str(tmp_path / "elsewhere" / "report.html")
    assert sorted(open_store(tmp_path / "elsewhere").list("")) == ["report.html", "report.md"]
    assert "1 failed" in capsys.readouterr().out
