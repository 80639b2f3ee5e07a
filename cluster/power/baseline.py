"""Idle power of a device, and a window's joules above it. Pure arithmetic.

Net = gross − idle power × seconds. It is never clamped at 0: a baseline that has drifted upwards shows as a negative
net, and a zero in its place would hide that.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from pydantic import model_validator

from joulegrid.cluster.power.energy import Energy, Net, Part, Provenance, Scope, net_sums
from joulegrid.cluster.power.sensors.series import Sample
from joulegrid.student import student_t

Kind = Literal["bare_idle", "loaded_idle"]
BLOCKS = 8
"""Readings within a second hang together: the spread is that of so many block means (batch means), not of readings."""


class Baseline(Part):
    """Idle power of one device. Unknown is null, never 0, and then `reason` says why."""

    kind: Kind
    """`bare_idle`: no process holds the device; `loaded_idle`: the weights are resident and nothing computes."""
    device: str | None = None
    """GPU UUID or package name; null where no device could be looked at."""
    scope: Scope | None = None
    """The hardware that the watts belong to."""
    provenance: Provenance | None = None
    power_w: float | None = None
    """Mean watts."""
    u_w: float | None = None
    """Half the width of its 95 % interval in watts: edges of the look and spread inside it."""
    seconds: float | None = None
    """How long it was looked at."""
    measured_at: str | None = None
    """ISO 8601, UTC."""
    reused: bool = False
    """Whether an earlier run measured it; a short look before this run found it still valid."""
    reason: str | None = None
    """Why it is unknown."""

    @model_validator(mode="after")
    def _unknown_is_explained(self) -> Baseline:
        if (self.power_w is None) == (self.reason is None):
            raise ValueError("a baseline has a power or a reason why not")
        return self


def baselines_of(
    kind: Kind, energy: Energy, seconds: float, samples: Sequence[Sample] = (), measured_at: str | None = None
) -> list[Baseline]:
    """Return the idle power of each device of an energy that was taken over `seconds` of idleness.

    `samples` are the power readings of the same time; without them the interval covers the edges alone.
    """
    return [_one(kind, part, seconds, samples, measured_at) for part in energy.parts or (energy,)]


def _one(kind: Kind, energy: Energy, seconds: float, samples: Sequence[Sample], measured_at: str | None) -> Baseline:
    about = {"kind": kind, "device": energy.device, "scope": energy.scope, "measured_at": measured_at}
    reason = energy.reason if energy.energy_j is None else None
    if energy.provenance == "modelled":
        reason = "the joules are modelled from active CPU time: there is no idle power in them"
    if reason is not None or energy.energy_j is None or seconds <= 0:
        return Baseline(**about, reason=reason or "no time was spent idle")
    return Baseline(
        **about,
        provenance=energy.provenance,
        power_w=energy.energy_j / seconds,
        u_w=math.hypot(_edge_u_j(energy) / seconds, spread_w([s for s in samples if s.device == energy.device])),
        seconds=seconds,
    )


def spread_w(samples: Sequence[Sample]) -> float:
    """Return half the 95 % interval of a mean power by batch means: t · s / √m over m block means; 0 for too few."""
    n_blocks = min(BLOCKS, len(samples) // 2)
    if n_blocks < 2:
        return 0.0
    powers = [sample.power_w for sample in sorted(samples, key=lambda sample: sample.t_ns)]
    cuts = [round(block * len(powers) / n_blocks) for block in range(n_blocks + 1)]
    means = [statistics.fmean(powers[low:high]) for low, high in pairwise(cuts)]
    return student_t(n_blocks - 1) * statistics.stdev(means) / math.sqrt(n_blocks)


def with_net(energy: Energy, seconds: float, baselines: Sequence[Baseline]) -> Energy:
    """Return a window's energy with its nets, device by device; a sum has those that all of its devices have.

    A modelled or unknown energy has none; watts are taken only from joules of the same device, scope and provenance.
    """
    if energy.energy_j is None or energy.provenance == "modelled":
        return energy
    if energy.parts:
        parts = tuple(with_net(part, seconds, baselines) for part in energy.parts)
        return energy.model_copy(update={"parts": parts, "net": net_sums(parts)})
    kind = (energy.device, energy.scope, energy.provenance)
    own = [one for one in baselines if (one.device, one.scope, one.provenance) == kind]
    return energy.model_copy(update={"net": tuple(net for one in own if (net := _net(energy, seconds, one)))})


def _net(energy: Energy, seconds: float, baseline: Baseline) -> Net | None:
    """Edges of the window and the baseline's own interval are independent: in quadrature."""
    if energy.energy_j is None or baseline.power_w is None or baseline.seconds is None:
        return None
    u_w = baseline.u_w or 0.0
    net_j = energy.energy_j - baseline.power_w * seconds
    known = energy.low_j is not None and energy.high_j is not None
    low_u_j = math.hypot(energy.energy_j - (energy.low_j or 0.0), u_w * seconds)
    high_u_j = math.hypot((energy.high_j or 0.0) - energy.energy_j, u_w * seconds)
    return Net(
        baseline=baseline.kind,
        baseline_power_w=baseline.power_w,
        baseline_u_w=u_w,
        baseline_seconds=baseline.seconds,
        energy_adjusted_j=net_j,
        low_j=net_j - low_u_j if known else None,
        high_j=net_j + high_u_j if known else None,
    )


def _edge_u_j(energy: Energy) -> float:
    if energy.low_j is None or energy.high_j is None:
        return 0.0
    return (energy.high_j - energy.low_j) / 2


def still_valid(known: Baseline, seen: Baseline, slack: float = 0.03) -> bool:
    """Whether a short look agrees with a baseline of an earlier run: within both intervals and a slack (3 %, 1 W)."""
    if known.power_w is None or seen.power_w is None or known.provenance != seen.provenance:
        return False
    bound_w = (known.u_w or 0.0) + (seen.u_w or 0.0) + max(1.0, slack * known.power_w)
    return abs(known.power_w - seen.power_w) <= bound_w
