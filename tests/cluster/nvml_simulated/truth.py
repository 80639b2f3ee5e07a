"""The true power and energy of a simulated board: the arithmetic of its pieces, apart from the library's.

Power follows its target at once upwards and falls to it exponentially; a sensor that lags sees it through a
first-order filter. Each piece carries the state at its start, so any instant is worked out from one piece.
"""

from __future__ import annotations

from bisect import bisect_right
from math import exp
from typing import TYPE_CHECKING

from tests.cluster.nvml_simulated.layout import Piece

if TYPE_CHECKING:
    from tests.cluster.nvml_simulated.layout import Gpu

S = 1_000_000_000


def first_piece(t_ns: int, power_w: float) -> Piece:
    """Power that has been constant for ever."""
    return Piece(t_ns, power_w, 0.0, power_w, 0.0, power_w)


def following(gpu: Gpu, before: Piece, t_ns: int, target_w: float, slope_w_s: float = 0.0) -> Piece:
    """The piece that begins at `t_ns` with what is left of the one before it."""
    power_w = _power_w(gpu, before, t_ns)
    return Piece(
        t_ns,
        target_w,
        slope_w_s,
        max(power_w, target_w),
        _energy_j(gpu, before, t_ns),
        _lagged_w(gpu, before, t_ns),
    )


def energy_j(gpu: Gpu, t0_ns: int, t1_ns: int) -> float:
    """True joules of a window."""
    return _energy_j(gpu, _piece_at(gpu, t1_ns), t1_ns) - _energy_j(gpu, _piece_at(gpu, t0_ns), t0_ns)


def power_w(gpu: Gpu, t_ns: int) -> float:
    """True watts at an instant."""
    return _power_w(gpu, _piece_at(gpu, t_ns), t_ns)


def _piece_at(gpu: Gpu, t_ns: int) -> Piece:
    number = bisect_right(range(gpu.n_steps), t_ns, key=lambda i: gpu.steps[i].t_ns)
    piece: Piece = gpu.steps[max(0, number - 1)]
    return piece


def _parts(gpu: Gpu, piece: Piece, t_ns: int) -> tuple[float, float, float]:
    """Seconds into the piece, the excess at its start, and the seconds with which the excess decays."""
    return (t_ns - piece.t_ns) / S, max(0.0, piece.power_w - piece.target_w), gpu.sensor.decay_ns / S


def _power_w(gpu: Gpu, piece: Piece, t_ns: int) -> float:
    s, excess_w, decay_s = _parts(gpu, piece, t_ns)
    left_w = excess_w * exp(-s / decay_s) if decay_s and s >= 0 else 0.0
    return float(piece.target_w + piece.slope_w_s * s + left_w)


def _energy_j(gpu: Gpu, piece: Piece, t_ns: int) -> float:
    s, excess_w, decay_s = _parts(gpu, piece, t_ns)
    decayed_j = excess_w * decay_s * (1 - exp(-s / decay_s)) if decay_s and s >= 0 else 0.0
    return float(piece.energy_j + piece.target_w * s + piece.slope_w_s * s * s / 2 + decayed_j)


def _lagged_w(gpu: Gpu, piece: Piece, t_ns: int) -> float:
    lag_s = gpu.sensor.lag_ns / S
    s, excess_w, decay_s = _parts(gpu, piece, t_ns)
    if not lag_s:
        return _power_w(gpu, piece, t_ns)
    if decay_s and abs(decay_s / lag_s - 1) < 1e-3:
        decay_s *= 1.002  # as in board.c: the closed form has a pole there
    share_w = excess_w * decay_s / (decay_s - lag_s) if decay_s else 0.0
    rest_w = piece.lagged_w - (piece.target_w - piece.slope_w_s * lag_s + share_w)
    following_w = piece.target_w + piece.slope_w_s * (s - lag_s)
    return float(following_w + (share_w * exp(-s / decay_s) if decay_s else 0.0) + rest_w * exp(-s / lag_s))
