from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from joulegrid.jobs.report.energy_plot import energy_bars
from joulegrid.jobs.report.page import inline_svg
from joulegrid.jobs.report.pareto_plot import pareto_plane
from joulegrid.jobs.report.plots import Figure, draw
from joulegrid.jobs.report.power_plot import read_series
from joulegrid.jobs.report.run_report import read_run, write_report
from joulegrid.jobs.report.summary import summarise
from tests.jobs.report.results import (
    START_NS,
    Made,
    done,
    inference_results,
    modelled,
    no_energy,
    power_series,
    run_folder,
)

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("matplotlib", reason="figures are an extra")
PNG = b"\x89PNG\r\n\x1a\n"


ALL = ["energy", "pareto", "breakdown", "windows", "power"]


def test_every_figure_is_drawn_inside_the_page_and_beside_it(tmp_path: Path) -> None:
    store = run_folder(tmp_path / "run", inference_results(3, 2))
    write_report(store)
    assert list(store.list("report/figures/")) == [
        f"report/figures/{name}.{kind}" for name in sorted(ALL) for kind in ("png", "svg")
    ]
    html = store.get("report/report.html").decode()
    assert html.count("<svg ") == len(ALL)
    assert "var(--ink)" in html
    assert "figures/energy.svg" in store.get("report/report.md").decode()
    for name in ALL:
        ElementTree.fromstring(store.get(f"report/figures/{name}.svg"))
        assert store.get(f"report/figures/{name}.png").startswith(PNG)
    energy, pareto, breakdown, windows, power = (store.get(f"report/figures/{name}.svg").decode() for name in ALL)
    # Texts are drawn as outlines; the SVG keeps each beside them as a comment.
    for words in ("energy per output token, J (measured, GPU; counter)", "batch_size=1 dtype=float32"):
        assert words in energy
    for words in ("energy per output token, J", "output tokens/s", "batch_size=4 dtype=float32"):
        assert words in pareto
    for words in ("(measured, GPU)", "(modelled, CPU)"):
        assert words in breakdown
    assert "prefill: power, W" in windows
    for words in ("power, W", "time, s", "measured, GPU", "prefill", "decode"):
        assert words in power


def test_kinds_of_energy_have_a_panel_each_and_the_same_numbers_give_the_same_bytes() -> None:
    rows = summarise([done(Made(cycle=0)), done(Made(cycle=1, energy=modelled(20.0), label="日本 $x$ <b>"))])
    first, second = energy_bars(rows), energy_bars(rows)
    assert isinstance(first, Figure)
    assert first == second
    assert "(measured, GPU; counter)" in first.svg
    assert "(modelled, CPU; model)" in first.svg
    assert "the model states" in first.caption


def test_no_label_of_the_plane_touches_another() -> None:
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    from joulegrid.jobs.report.labels import Mark, place_labels

    drawing = Drawing(figsize=(8, 4))
    renderer = FigureCanvasAgg(drawing).get_renderer()  # type: ignore[no-untyped-call]
    panel = drawing.subplots()
    chance = np.random.default_rng(1)
    points = [(float(x), float(y)) for x, y in chance.uniform(0.2, 0.8, (30, 2))]
    bars = [((x - 0.05, x + 0.05), (y - 0.05, y + 0.05)) for x, y in points]
    marks = [Mark(*point, bars[n], f"batch_size={n} precision=bf16") for n, point in enumerate(points)]
    missed = place_labels(panel, marks)
    boxes = [text.get_window_extent(renderer) for text in panel.texts]
    assert len(boxes) == len(marks) - missed
    assert missed < len(marks)
    assert not any(box.count_overlaps(boxes[n + 1 :]) for n, box in enumerate(boxes))


def test_the_plane_needs_two_points_and_a_throughput() -> None:
    assert pareto_plane(summarise([done(Made())])) is None
    assert pareto_plane(summarise([done(Made(index=index, metrics={"loss": 1.0})) for index in range(3)])) is None


def test_what_cannot_be_drawn_says_why(tmp_path: Path) -> None:
    result = done(Made(energy=no_energy())).model_copy(update={"timeseries": None})
    run_folder(tmp_path / "run", [result])
    figures = draw(read_run(tmp_path / "run"))
    assert figures.drawn == []
    assert len(figures.missing) == 2
    assert "known energy" in figures.missing[0]


def test_an_inline_figure_follows_the_page_and_keeps_its_ids_apart() -> None:
    figure = Figure("energy", "t", "c", '<?xml?><svg ><defs><path id="a"/></defs><use xlink:href="#a"/></svg>', b"")
    assert inline_svg(figure) == (
        '<svg role="img" ><defs><path id="energy-a"/></defs><use xlink:href="#energy-a"/></svg>'
    )


def test_a_power_series_is_read_by_device_in_seconds() -> None:
    t0_ns, (series,) = read_series(power_series(done(Made())))
    assert t0_ns == START_NS
    assert (series.device, series.kind, series.time_s[:2]) == ("GPU-1", "measured, GPU", [0.0, 0.1])


def test_drawing_changes_no_setting_of_the_process() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    energy_bars(summarise([done(Made())]))
    assert dict(matplotlib.rcParams) == before
