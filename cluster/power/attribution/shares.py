"""Joules of each request, from a step log and the energy between readings. An estimate, and labelled as one.

    power of an interval = (a · prefill tokens + b · decode tokens + c · KV tokens read) / seconds + P₀

with a, b, c, P₀ ≥ 0. A request gets a, b, c times its own counts; never more than the fit can bear: below R² 0.9 it is
null with the reason. What belongs to no request (`unattributed`) is not what is left over: it is idle power, measured
by itself, times the window. Whether both add up to the window's joules is shown (`mismatch_j`), never forced.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from joulegrid.cluster.power.attribution.least_squares import CollinearError, Fit, fit
from joulegrid.cluster.power.attribution.steps import UNITS, Interval, Step
from joulegrid.cluster.power.energy import Energy, Part, Provenance, Scope, Source
from joulegrid.student import student_t

R2_LEAST = 0.9
BLOCK_S = 1.0
"""Neighbouring readings hang together over less than this: sensors average over up to a second."""
BLOCKS_LEAST = 8
LISTED = 1_000


class UnitEnergy(Part):
    """Joules of one token of a kind: a coefficient of the fit."""

    unit: str
    """`prefill_token`, `decode_token`, `kv_token` (a cached token that was read once)."""
    energy_j: float
    low_j: float
    """Lower end; the intervals of all units hold together with 95 % (Bonferroni)."""
    high_j: float


class RequestEnergy(Part):
    """Joules that one request is given."""

    request: str
    prefill_tokens: float
    decode_tokens: float
    energy_j: float
    low_j: float
    """Lower end of its 95 % interval, of the fit alone."""
    high_j: float


class RequestShares(Part):
    """The joules of a window, request by request: estimated by regression. Unknown is null and `reason` says why."""

    window: str
    method: Literal["step_log_regression"] = "step_log_regression"
    provenance: Provenance | None = None
    """That of the joules which were divided; the division itself is an estimate."""
    source: Source | None = None
    scope: Scope | None = None
    reason: str | None = None
    """Why there are no shares."""
    n_intervals: int = 0
    """Readings that the fit used."""
    r2: float | None = None
    """1 − residual ÷ total sum of squares; under 0.9 there are no shares."""
    per_unit: tuple[UnitEnergy, ...] = ()
    idle_w: float | None = None
    """Watts that go with time alone: the baseline where one was measured, else a coefficient of the fit."""
    n_requests: int = 0
    requests: tuple[RequestEnergy, ...] = ()
    """The first 1,000 of them."""
    requests_j: float | None = None
    """Sum over all requests."""
    unattributed_j: float | None = None
    """Idle power of the baseline times the window's seconds; null where no baseline was measured."""
    unattributed_u_j: float | None = None
    """Half its 95 % interval."""
    total_j: float | None = None
    """The window's joules, as measured."""
    mismatch_j: float | None = None
    """total − requests − unattributed; nothing is scaled to make it 0."""


@dataclass(frozen=True, slots=True)
class Idle:
    """A baseline that was measured apart."""

    power_w: float
    u_w: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A window that requests share."""

    name: str
    seconds: float
    energy: Energy
    idle: Idle | None = None


def shares(window: Measured, steps: Sequence[Step], measured: Sequence[Interval]) -> RequestShares:
    """Divide a window's joules among its requests; null with the reason where log or readings do not bear it."""
    energy = window.energy
    said = RequestShares(
        window=window.name,
        provenance=energy.provenance,
        source=energy.source,
        scope=energy.scope,
        n_intervals=len(measured),
        total_j=energy.energy_j,
    )
    if energy.energy_j is None:
        return _why(said, f"the window's energy is unknown: {energy.reason}")
    seconds = sum(one.seconds for one in measured)
    if seconds < BLOCKS_LEAST * BLOCK_S:
        return _why(said, f"readings cover {seconds:.1f} s of the window; {BLOCKS_LEAST * BLOCK_S:g} s are needed")
    units = [unit for unit in range(len(UNITS)) if any(one.counts[unit] for one in measured)]
    if not units:
        return _why(said, "the step log has no tokens inside the window")
    rows = [_row(one, units, window.idle) for one in measured]
    try:
        found = fit(rows, max(1, round(BLOCK_S * len(measured) / seconds)))
    except CollinearError as error:
        return _why(said, f"prefill, decode and idle time cannot be told apart in this log: {error}")
    said = said.model_copy(update={"r2": found.r2})
    if found.r2 < R2_LEAST:
        return _why(said, f"the step log explains {found.r2:.2f} of the readings' variance; {R2_LEAST} is the least")
    return _divided(said, window, steps, _Model(tuple(units), found))


def _why(said: RequestShares, reason: str) -> RequestShares:
    return said.model_copy(update={"reason": reason})


def _row(one: Interval, units: Sequence[int], idle: Idle | None) -> tuple[float, ...]:
    """Rates, so that readings of unlike length do not pass for explained; without a baseline, idle power is fitted."""
    counts, power_w = [one.counts[unit] / one.seconds for unit in units], one.energy_j / one.seconds
    return (*counts, 1.0, power_w) if idle is None else (*counts, power_w - idle.power_w)


@dataclass(frozen=True, slots=True)
class _Model:
    units: tuple[int, ...]
    fit: Fit

    def energy(self, counts: Sequence[float]) -> tuple[float, float]:
        """Joules of so many tokens, and half the 95 % interval."""
        weights = [counts[unit] for unit in self.units]
        weights += [0.0] * (len(self.fit.coefficients) - len(weights))
        value = sum(weight * c for weight, c in zip(weights, self.fit.coefficients, strict=True))
        return value, student_t(self.fit.freedom) * self.fit.spread(weights)

    def per_unit(self) -> tuple[UnitEnergy, ...]:
        t = student_t(self.fit.freedom, 1 - 0.05 / len(self.fit.coefficients))
        found = []
        for place, unit in enumerate(self.units):
            value = self.fit.coefficients[place]
            u_j = t * self.fit.covariance[place][place] ** 0.5
            found.append(UnitEnergy(unit=UNITS[unit], energy_j=value, low_j=max(0.0, value - u_j), high_j=value + u_j))
        return tuple(found)


def _divided(said: RequestShares, window: Measured, steps: Sequence[Step], model: _Model) -> RequestShares:
    counts: defaultdict[str, list[float]] = defaultdict(lambda: [0.0] * len(UNITS))
    for step in steps:
        for part in step.parts:
            for unit, count in enumerate(part.counts):
                counts[part.request][unit] += count
    requests_j = sum(model.energy(own)[0] for own in counts.values())
    idle, total_j = window.idle, window.energy.energy_j or 0.0
    unattributed_j = None if idle is None else idle.power_w * window.seconds
    return said.model_copy(
        update={
            "per_unit": model.per_unit(),
            "idle_w": model.fit.coefficients[-1] if idle is None else idle.power_w,
            "n_requests": len(counts),
            "requests": tuple(_request(name, counts[name], model) for name in list(counts)[:LISTED]),
            "requests_j": requests_j,
            "unattributed_j": unattributed_j,
            "unattributed_u_j": None if idle is None else idle.u_w * window.seconds,
            "mismatch_j": None if unattributed_j is None else total_j - requests_j - unattributed_j,
        }
    )


def _request(name: str, own: Sequence[float], model: _Model) -> RequestEnergy:
    value, u_j = model.energy(own)
    prefill, decode, _ = own
    return RequestEnergy(
        request=name,
        prefill_tokens=prefill,
        decode_tokens=decode,
        energy_j=value,
        low_j=max(0.0, value - u_j),
        high_j=value + u_j,
    )
