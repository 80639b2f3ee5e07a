"""What power did after an edge: P(t) = B + A·exp(−(t − edge)/τ), fitted to the ticks that follow.

For each τ of a grid, A and B have a Gaussian posterior in closed form (linear least squares with weak priors); the
τ are weighted by their marginal likelihood. A sharp step is the limit of small τ, a load that goes on the one of A = 0,
so nothing is decided beforehand, and models that the ticks cannot tell apart widen the result by their disagreement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from joulegrid.cluster.power.estimate.edge import Amount, Forecast, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

TAUS_S = tuple(0.003 * 1.13**k for k in range(46))
"""3 ms to 0.73 s: shorter ends inside any interval, longer is a load that drifts."""
KNOWN = 0.1
"""Standard deviation of the logarithm of a time constant that calibration has found: no tail is exactly exponential."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The fitted power after an edge."""

    first: Amount
    """Joules between the edge and the next tick."""
    remembered: Amount
    """Joules that are counted behind that tick and above `base_w`, less those of `base_w` up to it: what a window has
    beyond its count at that tick if the tail is a sensor's memory."""
    excess: Amount
    """A·τ: joules above the power that is reached in the end."""
    base_w: float
    tau_s: float


@dataclass(frozen=True, slots=True)
class _Fit:
    log_weight: float
    first: Amount
    remembered: Amount
    excess: Amount
    base_w: float
    tau_s: float


def fit_tail(spans: Sequence[Span], edge_s: float, before: Forecast, tau_s: float | None = None) -> Tail | None:
    """Fit the intervals behind the one that the edge divides; `before` is the power up to the edge. `None` without.

    `tau_s`: the time constant where calibration knows it, 0 for a fall at once.
    """
    return _mixed(_fits(spans, edge_s, before, tau_s)) if spans else None


def tail_evidence(spans: Sequence[Span], edge_s: float, before: Forecast) -> tuple[float, ...]:
    """Log likelihood of each of `TAUS_S`; empty without intervals."""
    return tuple(fit.log_weight for fit in _fits(spans, edge_s, before, None)) if spans else ()


def _fits(spans: Sequence[Span], edge_s: float, before: Forecast, tau_s: float | None) -> list[_Fit]:
    """One fit for each τ, with noise as large as the best one's misfit shows."""
    scale = 1.0
    for _ in range(2):
        noise = [_noise(span) * scale for span in spans]
        prior = _Prior.of(spans, before)
        fits = [_fit(spans, noise, edge_s, tau, prior) for tau in TAUS_S]
        best = max(fits, key=lambda fit: fit[0].log_weight)
        freedom = len(spans) - 2
        if freedom < 1 or best[1] <= 2 * freedom:
            break
        scale = best[1] / freedom
    return [_believed(fit, tau, tau_s) for (fit, _), tau in zip(fits, TAUS_S, strict=True)]


def _believed(fit: _Fit, tau: float, known_s: float | None) -> _Fit:
    """Weigh a fit by what is known of its time constant."""
    if known_s is None:
        return fit
    off = math.log(tau / max(known_s, TAUS_S[0])) / KNOWN
    return replace(fit, log_weight=fit.log_weight - off * off / 2)


@dataclass(frozen=True, slots=True)
class _Prior:
    """Weak beliefs: power falls from where it was, or by a part of that at once, to where it is in the end."""

    base_w: float
    base_off_w: float
    fall_w: float
    fall_off_w: float

    @staticmethod
    def of(spans: Sequence[Span], before: Forecast) -> _Prior:
        base = spans[-1].power_w
        fall = before.power_w - base
        return _Prior(base, 0.3 * abs(base) + 0.3 * abs(fall) + 1.0, 0.6 * fall, 0.4 * abs(fall) + before.off_w)


def _noise(span: Span) -> float:
    return span.off_j**2 + (0.002 * span.joules) ** 2


def _fit(spans: Sequence[Span], noise: list[float], edge_s: float, tau: float, prior: _Prior) -> tuple[_Fit, float]:
    """Posterior of (A, B) given τ: normal equations of two unknowns; beside it the misfit of the data."""
    aa, bb = 1 / prior.fall_off_w**2, 1 / prior.base_off_w**2
    ab, ay, by = 0.0, prior.fall_w * aa, prior.base_w * bb
    log = -0.5 * (math.log(prior.fall_off_w**2) + math.log(prior.base_off_w**2))
    rows = []
    for span, variance in zip(spans, noise, strict=True):
        a = tau * (math.exp((edge_s - span.start.t_s) / tau) - math.exp((edge_s - span.end.t_s) / tau))
        b, y = span.seconds, span.joules
        aa, ab, bb = aa + a * a / variance, ab + a * b / variance, bb + b * b / variance
        ay, by = ay + a * y / variance, by + b * y / variance
        log -= 0.5 * math.log(variance)
        rows.append((a, b, y, variance))
    det = aa * bb - ab * ab
    fall, base = (bb * ay - ab * by) / det, (aa * by - ab * ay) / det
    misfit = sum((y - fall * a - base * b) ** 2 / variance for a, b, y, variance in rows)
    strain = ((fall - prior.fall_w) / prior.fall_off_w) ** 2 + ((base - prior.base_w) / prior.base_off_w) ** 2
    first_s = spans[0].start.t_s - edge_s
    left = math.exp(-first_s / tau)

    def amount(a: float, b: float, power_w: float) -> Amount:
        """A·a + B·b, with the variance that it has in the posterior."""
        return Amount(fall * a + base * b, (a * a * bb - 2 * a * b * ab + b * b * aa) / det, power_w)

    parts = (
        amount(tau * (1 - left), first_s, base + fall * left),
        amount(tau * left, -first_s, base),
        amount(tau, 0.0, fall),
    )
    return _Fit(log - 0.5 * (misfit + strain + math.log(det)), *parts, base, tau), misfit


def _mixed(fits: list[_Fit]) -> Tail:
    top = max(fit.log_weight for fit in fits)
    weights = [math.exp(fit.log_weight - top) for fit in fits]
    whole = sum(weights)
    weights = [weight / whole for weight in weights]
    return Tail(
        _mixture(weights, [fit.first for fit in fits]),
        _mixture(weights, [fit.remembered for fit in fits]),
        _mixture(weights, [fit.excess for fit in fits]),
        sum(w * fit.base_w for w, fit in zip(weights, fits, strict=True)),
        sum(w * fit.tau_s for w, fit in zip(weights, fits, strict=True)),
    )


def _mixture(weights: list[float], amounts: list[Amount]) -> Amount:
    mean = sum(w * amount.joules for w, amount in zip(weights, amounts, strict=True))
    variance = sum(
        w * (amount.variance + (amount.joules - mean) ** 2) for w, amount in zip(weights, amounts, strict=True)
    )
    return Amount(mean, variance, sum(w * amount.power_w for w, amount in zip(weights, amounts, strict=True)))
