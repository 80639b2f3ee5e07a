"""Student's t: how wide an interval of a mean must be. No scipy: it costs half a second of import."""

from __future__ import annotations

import math
from functools import lru_cache

CONFIDENCE = 0.95
_EXACT_UP_TO = 200  # degrees of freedom; past it the expansion is exact to 1e-9


@lru_cache(maxsize=256)
def student_t(freedom: int, confidence: float = CONFIDENCE) -> float:
    """Return t with P(|T| <= t) = `confidence` for `freedom` >= 1 degrees of freedom.

    Up to 200 degrees the finite series of Abramowitz & Stegun 26.7.3 (odd) and 26.7.4 (even) is inverted by
    bisection; beyond, the expansion 26.7.5 in 1/freedom.
    """
    if freedom < 1:
        raise ValueError(f"{freedom} degrees of freedom: an interval needs two values at least")
    if freedom > _EXACT_UP_TO:
        return _expansion(freedom, confidence)
    low, high = 0.0, math.pi / 2
    for _ in range(60):  # 60 halvings leave an angle below 2e-18
        middle = (low + high) / 2
        low, high = (middle, high) if _central_probability(middle, freedom) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def two_sided_p(t: float, freedom: int) -> float:
    """Return P(|T| >= |t|) for `freedom` >= 1 degrees of freedom; `t` may be infinite."""
    return 1.0 - _central_probability(math.atan(abs(t) / math.sqrt(freedom)), freedom)


def _central_probability(angle: float, freedom: int) -> float:
    """P(|T| <= sqrt(freedom) * tan(angle)), Abramowitz & Stegun 26.7.3 and 26.7.4."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    if freedom == 1:
        return 2 * angle / math.pi
    term = cosine if odd else 1.0
    series = term
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        series += term
    return 2 / math.pi * (angle + sine * series) if odd else sine * series


def _expansion(freedom: int, confidence: float) -> float:
    from statistics import NormalDist  # 10 ms of import that a small study never needs

    x = NormalDist().inv_cdf((1 + confidence) / 2)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    correction: float = sum(term / freedom**power for power, term in enumerate(terms, start=1))
    return x + correction
