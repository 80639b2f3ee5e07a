"""Simulated boards whose constants are drawn anew for each round: nothing here is known to any estimator."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.cluster.nvml_simulated.build import COUNTER_SENSED_ONLY, Board
from tests.cluster.nvml_simulated.layout import COUNTER_INTEGRATES, STAMP_CALL, STAMP_CONSTANT, STAMP_MOVES, STAMP_ZERO

DECAY, ABRUPT, LAG, SENSED = "integrating, decay", "integrating, abrupt", "integrating, lag", "sensed only"
MODES = (DECAY, DECAY, DECAY, ABRUPT, LAG, LAG, SENSED, SENSED)
"""Of the eight boards: three whose power decays after a load, one where it falls at once, two whose sensor lags behind
power that falls at once, two whose counter adds up only what it senses."""
STAMPS = (STAMP_MOVES, STAMP_CONSTANT, STAMP_ZERO, STAMP_CALL)
CALL_US = 30.0


@dataclass(frozen=True, slots=True)
class Drawn:
    """A board, what kind it is, and the power that loads drive it to."""

    mode: str
    board: Board
    peak_w: float


def draw(random: Random) -> list[Drawn]:
    """Draw eight boards, one of each place in `MODES`."""
    return [Drawn(mode, _board(random, mode), random.uniform(400.0, 680.0)) for mode in MODES]


def _board(random: Random, mode: str) -> Board:
    tick_ms = random.uniform(90.0, 110.0)
    apart = random.random() < 0.5
    return Board(
        idle_w=random.uniform(60.0, 110.0),
        tick_ms=tick_ms,
        phase_ms=random.uniform(0.0, tick_ms),
        jitter_ms=random.uniform(0.0, 2.0),
        power_tick_ms=random.uniform(90.0, 110.0) if apart else 0.0,
        power_phase_ms=random.uniform(0.0, 90.0) if apart else 0.0,
        window_ms=random.uniform(18.0, 30.0),
        decay_ms=random.uniform(50.0, 200.0) if mode in (DECAY, SENSED) else 0.0,
        lag_ms=random.uniform(30.0, 150.0) if mode == LAG else 0.0,
        counter_mode=COUNTER_SENSED_ONLY if mode == SENSED else COUNTER_INTEGRATES,
        stamp_mode=random.choice(STAMPS),
        call_us=CALL_US,
        seed=random.randrange(1, 2**31),
    )
