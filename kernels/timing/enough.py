"""When has been timed enough: fresh processes are added until the ratios are as narrow as was asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence

from joulegrid.kernels.timing.afterwards import CANDIDATE, SAME, TRUSTED
from joulegrid.kernels.timing.bootstrap import Resampling, half_width, ratio_bounds
from joulegrid.kernels.timing.pairs import Sample, durations
from joulegrid.kernels.timing.result import TimingSettings

LOOK_RESAMPLES = 2_000
"""Draws to look with; the result is drawn anew, oftener."""


def enough(samples: Sequence[Sample], settings: TimingSettings, began_s: float) -> bool:
    """Say whether another set of fresh processes is not worth its time. `began_s` is of the monotonic clock.

    Only the width of the intervals is looked at, never where they lie: a comparison does not end because it came out
    well. What it does to their coverage is simulated in `tests/kernels/timing/test_bootstrap.py`.
    """
    processes, members = (len({getattr(sample, name) for sample in samples}) for name in ("process", "member"))
    if processes < settings.processes:
        return False
    spent_s = time.monotonic() - began_s
    if processes >= settings.most_processes or spent_s * (processes + 1) / processes > settings.budget_s:
        return True
    # who is forked first is a little faster: each member was so as often as the others
    return processes % members == 0 and widest(samples, settings.confidence) <= settings.precision


def widest(samples: Sequence[Sample], confidence: float) -> float:
    """Return the half-width of the widest interval: of the ratios to the strongest baseline, else to eager."""
    found = {name: durations(samples, name) for name in sorted({sample.member for sample in samples})}
    trusted = [one for name, one in found.items() if name != CANDIDATE]
    held = SAME if SAME in found else TRUSTED
    how = Resampling(confidence, LOOK_RESAMPLES)
    widths = [half_width(ratio_bounds(one, found[held], trusted, how)) for name, one in found.items() if name != held]
    return max(widths, default=0.0)
