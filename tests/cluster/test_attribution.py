"""Joules of requests from a step log: known coefficients lie inside their intervals; what cannot be told is null."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import pytest

from joulegrid.cluster.power.attribution.least_squares import CollinearError, fit, nonnegative
from joulegrid.cluster.power.attribution.shares import Idle, Measured, RequestShares, shares
from joulegrid.cluster.power.attribution.steps import Part, Step, intervals, trace
from joulegrid.cluster.power.energy import Energy, unknown
from joulegrid.cluster.power.sensors.series import Sample

JOULES = {"prefill_token": 0.08, "decode_token": 0.9, "kv_token": 0.0009}
IDLE_W = 110.0
TICK_NS = 100_000_000
SECONDS = 30


@dataclass
class Served:
    """A made-up service: its step log and the readings of a sensor beside it."""

    steps: list[Step]
    samples: list[Sample]
    total_j: float
    requests_j: float


def served(seed: int, noise: float = 0.02) -> Served:
    """Requests come and go: prefill steps, decode steps of 1 to 12 requests, pauses. Readings have 2 % of noise."""
    draw = random.Random(seed)
    steps: list[Step] = []
    t_ns, number, kv = 0, itertools.count(), dict[str, int]()
    while t_ns < SECONDS * 10**9:
        if len(kv) < 12 and draw.random() < 0.1:
            name, tokens = f"r{next(number)}", draw.randint(50, 900)
            kv[name], length_ns = tokens, tokens * 60_000
            parts: tuple[Part, ...] = (Part(name, (tokens, 0, 0)),)
        elif kv:
            parts = tuple(Part(name, (0, 1, cached)) for name, cached in kv.items())
            length_ns = 20_000_000 + 100_000 * len(kv)
            kv = {name: cached + 1 for name, cached in kv.items() if draw.random() > 0.02}
        else:
            t_ns += draw.randint(10, 400) * 1_000_000
            continue
        steps.append(Step(t_ns, t_ns + length_ns, parts))
        t_ns += length_ns + 200_000
    requests_j = sum(step_joules(step) for step in steps)
    return Served(steps, readings(steps, draw, noise), requests_j + IDLE_W * t_ns / 1e9, requests_j)


def step_joules(step: Step) -> float:
    return sum(count * each for count, each in zip(step.counts, JOULES.values(), strict=True))


def readings(steps: list[Step], draw: random.Random, noise: float) -> list[Sample]:
    """Mean power between ticks, whose period wanders by a tenth."""
    times, t_ns = [0], 0
    while t_ns < steps[-1].t1_ns:
        t_ns += round(TICK_NS * draw.uniform(0.9, 1.1))
        times.append(t_ns)
    joules = [0.0] * (len(times) - 1)
    place = 0
    for step in steps:
        while times[place + 1] <= step.t0_ns:
            place += 1
        for tick in range(place, len(joules)):
            held = min(step.t1_ns, times[tick + 1]) - max(step.t0_ns, times[tick])
            if held <= 0:
                break
            joules[tick] += step_joules(step) * held / (step.t1_ns - step.t0_ns)
    found = [Sample(0, "GPU-a", IDLE_W, "counter", "simulated", "gpu_board")]
    for tick, (then, now) in enumerate(itertools.pairwise(times)):
        seconds = (now - then) / 1e9
        power_w = (joules[tick] / seconds + IDLE_W) * draw.gauss(1, noise)
        found.append(Sample(now, "GPU-a", power_w, "counter", "simulated", "gpu_board"))
    return found


def energy(joules: float) -> Energy:
    kind = {"source": "counter", "provenance": "simulated", "scope": "gpu_board", "device": "GPU-a"}
    return Energy(energy_j=joules, low_j=joules * 0.999, high_j=joules * 1.001, **kind)


def divided(one: Served, idle: Idle | None = None) -> RequestShares:
    t1_ns = one.samples[-1].t_ns
    window = Measured("latency", t1_ns / 1e9, energy(one.total_j), idle)
    return shares(window, one.steps, intervals(one.steps, trace(one.samples), 0, t1_ns))


def test_known_coefficients_lie_inside_their_intervals_in_95_percent_of_runs() -> None:
    inside = 0
    for seed in range(40):
        found = divided(served(seed))
        assert found.reason is None and found.r2 is not None and found.r2 >= 0.9
        inside += all(unit.low_j <= JOULES[unit.unit] <= unit.high_j for unit in found.per_unit)
        assert all(unit.energy_j >= 0 for unit in found.per_unit)
    assert inside >= 38


def test_requests_and_the_idle_power_that_was_measured_apart_come_near_the_total_and_are_not_made_to() -> None:
    one = served(1)
    found = divided(one, Idle(IDLE_W, 1.0))
    assert found.requests_j == pytest.approx(one.requests_j, rel=0.02)
    assert found.requests_j == pytest.approx(sum(request.energy_j for request in found.requests))
    assert found.unattributed_j and found.mismatch_j is not None and found.total_j
    parts = (found.unattributed_j, found.requests_j or 0.0, found.mismatch_j)
    assert sum(parts) == pytest.approx(found.total_j)
    assert abs(found.mismatch_j) < 0.02 * found.total_j
    off = divided(one, Idle(IDLE_W - 30, 1.0))
    assert off.mismatch_j and off.mismatch_j > 0
    assert divided(one).unattributed_j is None and divided(one).mismatch_j is None


def test_a_log_that_does_not_explain_the_readings_gives_no_shares() -> None:
    one = served(2)
    draw = random.Random(0)
    scrambled = [s.power_w for s in one.samples]
    draw.shuffle(scrambled)
    samples = [
        Sample(s.t_ns, s.device, w, s.source, s.provenance, s.scope)
        for s, w in zip(one.samples, scrambled, strict=True)
    ]
    found = divided(Served(one.steps, samples, one.total_j, one.requests_j))
    assert found.reason and "explains" in found.reason and found.requests == () and found.requests_j is None
    assert found.r2 is not None and found.r2 < 0.9


def test_steps_that_are_always_alike_cannot_be_told_from_idle_time() -> None:
    length_ns = 20_000_000
    steps = [Step(n * length_ns, (n + 1) * length_ns, (Part("a", (0, 4, 0)),)) for n in range(1_000)]
    found = divided(Served(steps, readings(steps, random.Random(1), 0.01), 5_000.0, 0.0))
    assert found.reason and ("told apart" in found.reason or "explains" in found.reason)


def test_short_windows_unknown_energies_and_empty_logs_say_why_they_have_no_shares() -> None:
    one = served(3)
    measured = intervals(one.steps, trace(one.samples), 0, one.samples[-1].t_ns)
    window = Measured("latency", 30.0, energy(one.total_j))
    assert "readings cover" in (shares(window, one.steps, measured[:20]).reason or "")
    assert "no tokens" in (shares(window, [], intervals([], trace(one.samples), 0, 10**12)).reason or "")
    lost = shares(Measured("latency", 30.0, unknown("no sensor")), one.steps, measured)
    assert lost.reason == "the window's energy is unknown: no sensor" and lost.total_j is None


def test_a_step_over_a_reading_is_divided_by_time_and_devices_are_added() -> None:
    kind = ("counter", "simulated", "gpu_board")
    samples = [Sample(t * TICK_NS, device, 100.0, *kind) for device in "ab" for t in range(4)]  # type: ignore[arg-type]
    curve = trace(samples)
    assert [round(joules, 6) for _, joules in curve] == [0.0, 20.0, 40.0, 60.0]
    step = Step(TICK_NS // 2, 2 * TICK_NS, (Part("x", (30, 0, 0)),))
    found = intervals([step], curve, 0, 3 * TICK_NS)
    assert [one.counts[0] for one in found] == pytest.approx([10, 20, 0])
    assert trace([]) == [] and intervals([step], [], 0, 1) == []


def test_least_squares_never_give_less_than_0() -> None:
    rows = [(1.0, float(x), 5.0 - x) for x in range(5)]  # the free slope is -1
    found = fit(rows * 5, 5)
    assert found.coefficients[1] == 0.0 and found.coefficients[0] == pytest.approx(3.0)
    with pytest.raises(CollinearError, match="combination"):
        nonnegative([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
