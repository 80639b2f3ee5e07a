"""The joules of a window from a driver's running mean, where a board gives nothing else.

The mean over the last W seconds is A(t) = (S(t) − S(t − W)) / W, S being the energy up to t. Summed in steps of W it
telescopes: W·Σ A(t1 − jW), j = 0 … n, is S(t1) − S(t1 − (n + 1)W). What lies before t0 is taken off with the mean power
there; the same sum forwards from t0, less what lies behind t1, is a second answer. Their disagreement is part of the
interval. This inverts the mean exactly; shifting it by half of W, as is usual, keeps its smear.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

from joulegrid.cluster.power.estimate.known import Bounds
from joulegrid.cluster.power.sensors.series import UnreadError

if TYPE_CHECKING:
    from joulegrid.cluster.power.estimate.integral import Published

USUAL_W_S = 1.0
"""NVML's documentation of nvmlDeviceGetPowerUsage: a one-second average since Ampere."""
UPDATE_S = 0.1
GAP_S = 1.5


def deconvolved(looks: list[Published], t1_s: float, window_s: float | None) -> Bounds:
    """Joules between 0 and `t1_s` from a mean over `window_s`. Raises `UnreadError` where its readings are missing."""
    w = window_s or USUAL_W_S
    steps = math.floor(t1_s / w) + 1
    over = steps * w - t1_s
    back = w * sum(_at(looks, t1_s - j * w) for j in range(steps)) - _at(looks, 0.0) * over
    try:
        forth = w * sum(_at(looks, (j + 1) * w) for j in range(steps)) - _at(looks, t1_s + w) * over
    except UnreadError:  # nobody waits a second longer for it: one answer, and a wider interval
        forth = back + 2 * UPDATE_S * abs(_at(looks, t1_s) - _at(looks, 0.0))
        back -= forth - back
    energy_j = (back + forth) / 2
    late_j = UPDATE_S * (abs(_at(looks, t1_s) - _at(looks, 0.0)) + 0.02 * abs(_at(looks, t1_s)))
    if energy_j <= 0.0:
        raise UnreadError("the averaged power stays at 0 W")
    return Bounds.around(energy_j, abs(back - forth) / 2 + 2 * late_j + 0.01 * energy_j)


def _at(looks: list[Published], t_s: float) -> float:
    """The mean at an instant: published late by half an update on average, a straight line between two."""
    i = bisect_left(looks, t_s + UPDATE_S / 2, key=lambda look: look.t_s)
    if i == 0 or i == len(looks):
        raise UnreadError("no averaged power a second before, inside and a second after the window")
    a, b = looks[i - 1], looks[i]
    if b.t_s - a.t_s > GAP_S:
        raise UnreadError(f"no averaged power for {b.t_s - a.t_s:.1f} s")
    return a.power_w + (b.power_w - a.power_w) * (t_s + UPDATE_S / 2 - a.t_s) / (b.t_s - a.t_s)
