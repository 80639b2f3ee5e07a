"""The endpoint for Prometheus: what it counts, where it is served, that it ends; the dashboard over it."""

from __future__ import annotations

import json
import math
import re
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from joulegrid.actors.outcome import Outcome
from joulegrid.actors.placement import Node, Place
from joulegrid.actors.result import Task
from joulegrid.errors import PreFlightError
from joulegrid.jobs.loop.breakers import Breakers
from joulegrid.jobs.status.metrics import Endpoint, NoMetrics, metrics_endpoint
from joulegrid.jobs.status.pace import Pace
from joulegrid.jobs.status.prometheus import LaneTime, PrometheusMetrics
from joulegrid.jobs.study.execution import CircuitBreaker
from tests.cluster.s3_servers import free_port

DASHBOARD = Path(__file__).parents[3] / "cluster" / "grafana" / "joulegrid.json"
COUNTS = {"n_tasks": 10, "pending": 5, "running": 1, "done": 3, "failed": 1, "skipped": 0}


@dataclass(slots=True)
class Lane:
    """A lane as the driver sees it."""

    place: Place
    task: Task | None = None
    started_s: float = 0.0
    rest: Any = None


def lane(name: str = "cpu0", **now: Any) -> Lane:
    return Lane(Place(f"alpha/{name}", Node("id", "alpha", 2, 0), int(name.startswith("gpu")), 1, 0), **now)


def a_task() -> Task:
    return Task(0, 0, 0, "0123456789abcdef", "x=1", {}, {}, {}, {})


def outcome(**changed: Any) -> Outcome:
    fields: dict[str, Any] = {
        "task_id": "0123456789abcdef-c0",
        "index": 0,
        "cycle": 0,
        "attempt": 0,
        "status": "done",
        "lane": "alpha/cpu0",
        "path": "results/01/x_c0-a0",
        "sha256": "00",
        "size": 1,
        "duration_s": 2.0,
        "energy_j": 5.0,
        "provenance": "modelled",
        "source": "model",
        "scope": "cpu_package",
    }
    return Outcome(**(fields | changed))


def told() -> PrometheusMetrics:
    """Metrics that were told one thing of every kind."""
    metrics = PrometheusMetrics()
    metrics.lanes([lane(), lane("gpu0", task=a_task())])
    metrics.ended(outcome())
    metrics.ended(outcome(energy_j=None, provenance=None, source=None, scope=None))
    metrics.ended(outcome(status="failed", failure_class="app", energy_j=None))
    metrics.ended(outcome(status="failed", failure_class="infra", energy_j=None), final=False)
    metrics.lanes([lane(), lane("gpu0", task=a_task())])
    metrics.counts(COUNTS)
    metrics.breakers({"lane": 1})
    return metrics


def value(metrics: PrometheusMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_tasks_failures_retries_and_joules_are_told_apart() -> None:
    metrics = told()
    assert [value(metrics, "joulegrid_tasks", status=one) for one in ("pending", "running", "done")] == [5, 1, 3]
    assert value(metrics, "joulegrid_task_failures_total", failure_class="app") == 1
    assert value(metrics, "joulegrid_task_failures_total", failure_class="infra") == 0
    assert value(metrics, "joulegrid_task_retries_total", failure_class="infra") == 1
    kind = {"provenance": "modelled", "source": "model", "scope": "cpu_package"}
    assert value(metrics, "joulegrid_energy_joules_total", **kind) == 5
    assert value(metrics, "joulegrid_task_duration_seconds_count", status="done") == 2
    assert value(metrics, "joulegrid_breakers_open", kind="lane") == 1
    assert value(metrics, "joulegrid_lanes", state="busy") == 1


def test_unknown_joules_are_counted_as_unknown_and_never_as_zero() -> None:
    metrics = PrometheusMetrics()
    metrics.ended(outcome(energy_j=None, provenance=None, source=None, scope=None))
    assert value(metrics, "joulegrid_energy_unknown_tasks_total") == 1
    assert not [one for one in samples(metrics) if one[0].startswith("joulegrid_energy_joules")]


def test_the_time_left_is_unknown_until_a_task_has_ended_and_zero_when_none_is_left() -> None:
    metrics = PrometheusMetrics()
    assert math.isnan(value(metrics, "joulegrid_time_left_seconds") or 0.0)
    begun, under_way, over = Pace(9.0, 0, 1, 2, None), Pace(9.0, 3, 2, 2, 2.0), Pace(9.0, 3, 0, 0, 2.0)
    for pace, seconds in ((begun, math.nan), (under_way, 4.0), (over, 0.0)):
        metrics.time_left(pace.time_left_s())
        assert value(metrics, "joulegrid_time_left_seconds") == pytest.approx(seconds, nan_ok=True)


def test_no_label_can_name_a_run_a_task_or_an_experiment() -> None:
    labels = {label for _, own in samples(told()) for label in own}
    assert labels == {"status", "failure_class", "provenance", "source", "scope", "state", "node", "lane", "device"} | {
        "kind",
        "le",
    }


def test_a_lane_is_busy_for_as_long_as_its_tasks_took_though_nobody_looked() -> None:
    time = LaneTime(0.0)
    for _ in range(10):
        time.ended(0.01)
    assert time.look(lane(), 0.2) == pytest.approx((0.1, 0.0))
    assert time.look(lane(task=a_task(), started_s=0.2), 1.2) == pytest.approx((1.0, 0.0))
    time.ended(0.9)  # the worker saw less of it than the driver: what was counted stays counted
    assert time.look(lane(), 1.4) == (0.0, 0.0)
    assert time.look(lane(task=a_task(), started_s=1.4), 1.9) == pytest.approx((0.5, 0.0))


def test_a_rest_counts_between_two_looks_that_both_saw_it() -> None:
    time = LaneTime(0.0)
    assert time.look(lane(rest="gap"), 1.0) == (0.0, 0.0)
    assert time.look(lane(rest="gap"), 1.5) == (0.0, 0.5)
    assert time.look(lane(), 2.0) == (0.0, 0.0)


def test_breakers_that_hold_something_back_or_gave_it_up_are_counted_by_kind() -> None:
    settings = CircuitBreaker(lane_failures=1, family_failures=2, study_failures=9, cooldown_seconds=0)
    breakers = Breakers(settings, lambda index: "model")
    assert breakers.unclosed() == {"lane": 0, "family": 0, "study": 0}
    breakers.hold("alpha/cpu0", 0.0)
    breakers.record(outcome(status="failed", failure_class="infra"), 0.0, final=True)
    assert breakers.unclosed() == {"lane": 1, "family": 0, "study": 0}
    breakers.record(outcome(status="failed", failure_class="app"), 0.0, final=True)
    assert breakers.unclosed() == {"lane": 0, "family": 1, "study": 0}  # the lane worked
    breakers.begin("alpha/cpu0", (0, 0))
    breakers.record(outcome(status="failed", failure_class="app"), 1.0, final=True)
    assert breakers.is_given_up(0)
    assert breakers.unclosed() == {"lane": 0, "family": 1, "study": 0}


def test_the_endpoint_serves_while_it_is_open_and_two_of_one_process_do_not_mix() -> None:
    first, second = Endpoint(free_port()), Endpoint(free_port())
    with metrics_endpoint(first) as one, metrics_endpoint(second) as other:
        one.counts(COUNTS)
        other.counts({"n_tasks": 7, "done": 7})
        assert 'joulegrid_tasks{status="done"} 3.0' in page(first)
        assert 'joulegrid_tasks{status="done"} 7.0' in page(second)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((first.host, first.port), timeout=5)
    with metrics_endpoint(first):  # the port is free again at once
        pass


def test_a_taken_port_or_a_foreign_address_is_refused_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = pytest.raises(
            PreFlightError, match=rf"127.0.0.1:{port}/metrics: Address already in use; .*--metrics-port"
        )
        with refused, metrics_endpoint(Endpoint(port)):
            pass
    with pytest.raises(PreFlightError, match="--metrics-host"), metrics_endpoint(Endpoint(free_port(), "192.0.2.1")):
        pass
    with (
        pytest.raises(PreFlightError, match="--metrics-host"),
        metrics_endpoint(Endpoint(free_port(), "no.such.invalid")),
    ):
        pass


def test_port_0_serves_nothing() -> None:
    with metrics_endpoint(Endpoint()) as metrics:
        assert isinstance(metrics, NoMetrics)


def test_every_metric_and_label_of_the_dashboard_exists_in_the_exporter() -> None:
    known = {name: set(labels) | {"instance", "job"} for name, labels in samples(told())}
    found = list(expressions())
    assert len(found) > 10
    for expression, legend in found:
        names = set(re.findall(r"joulegrid_\w+", expression))
        assert names <= set(known), expression
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)) | set(re.findall(r"{{(\w+)}}", legend))
        labels |= {label for inside in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(r",\s*", inside)}
        assert all(labels <= known[name] for name in names), (expression, legend)


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {name for expression, _ in expressions() for name in re.findall(r"joulegrid_\w+", expression)}
    parts = re.compile(r"_(bucket|count|sum|created)$")
    families = {parts.sub("", name) for name, _ in samples(told())}
    assert {parts.sub("", name) for name in shown} == families


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23


def expressions() -> Iterator[tuple[str, str]]:
    """Yield (expression, legend) of every panel, and the queries of the variables."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            inside = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"])
            assert inside
            yield inside[1], f"{{{{{inside[2]}}}}}"


def samples(metrics: PrometheusMetrics) -> list[tuple[str, dict[str, str]]]:
    return [(one.name, one.labels) for family in metrics.registry.collect() for one in family.samples]


def page(endpoint: Endpoint) -> str:
    with urllib.request.urlopen(endpoint.url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text
