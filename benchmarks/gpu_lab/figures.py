"""What the steps come to: a table, geometric means, and kernels whose compiled code promised something else. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from joulegrid.kernels.scores import Judged, scores

SLOW, NEAR = 0.5, 0.8
"""Shares of the roof below which a faultless kernel, and above which a faulty one, has to be explained."""
Steps = Mapping[str, Mapping[str, Any]]


def points(done: Steps) -> list[Mapping[str, Any]]:
    """Return the points among what was done."""
    return [one for one in done.values() if one["step"]["kind"] == "point"]


def table(done: Steps) -> Iterator[str]:
    """Yield a line for each point: call and device time, ratios, share of the roof, joules."""
    yield (
        f"{'kernel':32} {'shape':10} {'dtype':5} {'verdict':14} {'call µs':>9} {'device µs':>9} {'eager':>7}"
        f" {'strongest':>9} {'':28} {'A/A ±':>6} {'roof':>5} {'J/call':>9}"
    )
    for one in points(done):
        step = one["step"]
        name = f"{step['case']:32} {step['shape']:10} {step['dtype']:5}"
        if one.get("error"):
            yield f"{name} {'error':14} {one['error'].splitlines()[0][:90]}"
        elif one.get("claim") is None:
            why = (one.get("evidence") or [{}])[0].get("found", "")
            yield f"{name} {one.get('verdict') or one.get('verification') or '?':14} {why[:90]}"
        else:
            yield f"{name} {'passed':14} {_numbers(one)}"


def _numbers(one: Mapping[str, Any]) -> str:
    member, same = one["members"]["candidate"], one["same"]
    spread = max(abs(same["low"] - 1), abs(same["high"] - 1))
    ratio = one["ratios"][one["strongest"]]
    joules = (one.get("energy") or {}).get("energy_j")
    return (
        f"{member['call_s']['estimate'] * 1e6:9.2f} {_or_dash(member['device_s'], 1e6, '9.2f')}"
        f" {one['ratios']['eager']['estimate']:7.3f} {ratio['estimate']:9.3f}"
        f" {one['strongest']:>14} [{ratio['low']:.3f},{ratio['high']:.3f}] {spread:6.3f}"
        f" {_or_dash(one['roof_share'], 1.0, '5.2f')} {_or_dash(joules, 1.0, '9.3g')}"
    )


def _or_dash(value: float | None, scale: float, form: str) -> str:
    return format(value * scale, form) if value is not None else format("–", f">{form.partition('.')[0]}")


def means(done: Steps, weights: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    """Return geometric means against eager and against the strongest baseline, each case counting the same."""

    def judged(against: str) -> Iterator[Judged]:
        for one in points(done):
            if one.get("error"):
                continue
            step, passed = one["step"], one.get("claim") is not None
            name = one.get("strongest") if against == "strongest" else against
            ratio = one["ratios"][name]["estimate"] if passed else None
            yield Judged(step["case"], step["case"], weights[step["case"], step["shape"]], passed, ratio)

    found = {}
    for against in ("eager", "strongest"):
        figures = scores(judged(against))
        mean = figures.geometric_mean
        found[against] = {"kernels": figures.n_kernels, "passed": figures.n_passed, "fast_p": figures.fast}
        found[against]["geometric_mean"] = None if mean is None else asdict(mean)
    return found


def unexplained(done: Steps, ahead: Mapping[str, Any]) -> list[str]:
    """Return where compiled code and measured time disagree: each needs a sentence by somebody who looked.

    `ahead` is `benchmarks/results/aot-sm90.json`. Calls that are mostly launching are left out: their code does not
    decide their time.
    """
    found = []
    for one in points(done):
        step, share = one["step"], one.get("roof_share")
        faults = _faults(ahead, step["case"], step["shape"], step["dtype"])
        if share is None or faults is None or one.get("launch_bound") is not False:
            continue
        where = f"{step['case']}, {step['shape']}, {step['dtype']}: {share:.0%} of the roof"
        if not faults and share < SLOW:
            found.append(f"{where}, though nothing stood in its way when it was compiled")
        if faults and share > NEAR:
            found.append(f"{where}, in spite of: {'; '.join(faults)}")
    return found


def _faults(ahead: Mapping[str, Any], case: str, shape: str, dtype: str) -> list[str] | None:
    """What compiling found fault with; `None` where it was not compiled."""
    for call in ahead.get("kernels", {}).get(case, {}).get("calls", []):
        if (call["shape"], call["dtype"]) == (shape, dtype):
            return [words for kernel in call["kernels"] for words in kernel["advice"]]
    return None


def attack_lines(done: Steps) -> Iterator[str]:
    """Yield what became of each attack, with and without the static gate."""
    for one in done.values():
        if one["step"]["kind"] == "attack":
            timed = one.get("timed") or {}
            beside = f", timed: {timed.get('verdict')} {timed.get('claim')}" if timed else ""
            told = (
                one.get("error") or f"{one.get('with_gate')} with the gate, {one.get('without_gate')} without{beside}"
            )
            yield f"{one['step']['file'].rpartition('/')[2]:28} {told}"


def smoke_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield each question of the smoke step with its answer in a line."""
    for one in answer.get("questions", []):
        told = f"FAILED: {one['error']}" if one["error"] else str(one["answer"])
        yield f"{one['seconds']:7.1f} s  {one['question']:36} {told[:300]}"
