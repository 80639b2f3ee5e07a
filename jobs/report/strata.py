"""The strata of a run: environments whose numbers are not comparable, told apart by a letter.

A run may have been continued after an update (`--allow-env-drift`), or its nodes may be unlike. Which facts count is
said in `joulegrid.cluster.drift`; a task on a CPU lane and one on a GPU lane of like nodes are of one stratum.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from joulegrid.cluster.drift import differences, fingerprint
from joulegrid.jobs.report.hardware import lane_gpus
from joulegrid.jobs.study_result import Stratum

if TYPE_CHECKING:
    from joulegrid.actors.result import ExperimentResult
    from joulegrid.jsontypes import Json

_DEVICE = ("gpus", "driver", "cuda")
_NODES_KEPT = 20


@dataclass(slots=True)
class _Seen:
    """One fingerprint and what was met of it."""

    fingerprint: dict[str, Json]
    started_at: str
    n_done: int = 0
    nodes: set[str] = field(default_factory=set)

    def join(self, other: _Seen) -> None:
        self.started_at = min(self.started_at, other.started_at)
        self.n_done += other.n_done
        self.nodes |= other.nodes


@dataclass(slots=True)
class Strata:
    """Numbers results by their stratum as they come; gives letters when all have come."""

    _numbers: dict[str, int] = field(default_factory=dict)
    _seen: list[_Seen] = field(default_factory=list)

    def number(self, result: ExperimentResult) -> int:
        """Return the number of a result's stratum, and count the result."""
        known = stratum_of(result)
        at = self._numbers.setdefault(json.dumps(known, sort_keys=True), len(self._seen))
        if at == len(self._seen):
            self._seen.append(_Seen(known, result.timing.started_at))
        one = _Seen(known, result.timing.started_at, 1, {result.environment.hostname})
        self._seen[at].join(one)
        return at

    def told(self) -> tuple[list[Stratum], dict[int, str]]:
        """Return the strata, the one that was measured first first, and each number's letter; no letter for one."""
        merged, target = self._merged()
        ordered = sorted(merged, key=lambda at: (merged[at].started_at, at))
        names = {at: _letters(place) for place, at in enumerate(ordered)}
        strata = [
            Stratum(
                letter=names[at],
                n_done=merged[at].n_done,
                first_started_at=merged[at].started_at,
                nodes=sorted(merged[at].nodes)[:_NODES_KEPT],
                environment=merged[at].fingerprint,
                differences=differences(merged[ordered[0]].fingerprint, merged[at].fingerprint),
            )
            for at in ordered
        ]
        return strata, {at: names[to] for at, to in target.items()} if len(strata) > 1 else {}

    def _merged(self) -> tuple[dict[int, _Seen], dict[int, int]]:
        """Join what was measured on CPU lanes to the stratum of GPU lanes that is alike but for the GPUs."""
        target = {at: at for at in range(len(self._seen))}
        for at, one in enumerate(self._seen):
            alike = [
                other
                for other, its in enumerate(self._seen)
                if its.fingerprint["gpus"] and _without_device(its.fingerprint) == _without_device(one.fingerprint)
            ]
            if not one.fingerprint["gpus"] and len(alike) == 1:
                target[at] = alike[0]
        merged: dict[int, _Seen] = {}
        for at in sorted(target, key=lambda at: target[at] != at):
            one = self._seen[at]
            known = merged.setdefault(target[at], _Seen(one.fingerprint, one.started_at))
            known.join(one)
        return merged, target


def stratum_of(result: ExperimentResult) -> dict[str, Json]:
    """Return the fingerprint of a result's environment, of GPUs those of its lane."""
    lane = result.lane
    described = [gpu.name for gpu in lane_gpus(result.environment, lane)]
    return fingerprint(result.environment, described or [None] * len(lane.gpu_uuids))


def _without_device(known: dict[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in known.items() if name not in _DEVICE}


def _letters(place: int) -> str:
    """A, B, …, Z, AA, AB, …"""
    text = ""
    place += 1
    while place:
        place, digit = divmod(place - 1, 26)
        text = chr(ord("A") + digit) + text
    return text
