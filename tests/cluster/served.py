"""A made-up LLM service of known joules per token: its step log, and a sensor's readings beside it, on no clock."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

from joulegrid.cluster.power.attribution.shares import Idle, Measured, RequestShares, shares
from joulegrid.cluster.power.attribution.steps import Part, Step, intervals, trace
from joulegrid.cluster.power.energy import Energy
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
