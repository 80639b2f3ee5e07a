"""Which lanes a study gets on which nodes. Pure: from counts of GPUs and CPUs to places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from joulegrid.errors import PreFlightError

Pair = tuple[int | None, int | None]
"""(gpus, cpus) that an experiment asks for; `None` where it leaves them open."""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster, as Ray counts it."""

    node_id: str
    name: str
    cpus: int
    gpus: int


@dataclass(frozen=True, slots=True)
class Need:
    """The largest resources that any experiment of the study asks for; `None` where all leave it open."""

    gpus: int | None
    cpus: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """One lane's share of one node."""

    lane: str
    node: Node
    gpus: int
    cpus: int
    first_cpu: int
    """Position of its first core among those that the node offers."""


def largest_need(resources: Iterable[Pair]) -> Need:
    """Return the componentwise maximum of (gpus, cpus): a lane that fits it fits every experiment."""
    pairs = list(resources)
    gpus = [gpus for gpus, _ in pairs if gpus is not None]
    cpus = [cpus for _, cpus in pairs if cpus is not None]
    open_gpus = any(one is None for one, _ in pairs)
    most = max(gpus, default=None)
    return Need(gpus=None if open_gpus and (most or 0) <= 1 else most, cpus=max(cpus, default=None))


def split_needs(nodes: Sequence[Node], pairs: Iterable[Pair]) -> tuple[list[Pair], dict[Pair, str]]:
    """Split distinct needs into those that one set of lanes can serve, and the others, each with the reason in words.

    Lanes have one size. So a need is also refused when it fits some node alone, but not together with those before
    it: two nodes that each serve a part of a study do not make one lane. `place_lanes` serves the first list.
    """
    served: list[Pair] = []
    refused: dict[Pair, str] = {}
    for pair in dict.fromkeys(pairs):
        if _fits(nodes, [*served, pair]):
            served.append(pair)
        elif _fits(nodes, [pair]):
            others = " and ".join(_words(one) for one in served)
            refused[pair] = (
                f"it needs {_words(pair)}, and lanes that also serve {others} fit no node ({_offer(nodes)}); "
                "run it as a study of its own"
            )
        else:
            refused[pair] = f"it needs {_words(pair)} on one node, but the cluster has {_offer(nodes)}"
    return served, refused


def place_lanes(nodes: Sequence[Node], need: Need) -> list[Place]:
    """Return the lanes: one per GPU (or per `need.gpus` of them); where there is none, one per share of CPU cores.

    A CPU lane without a stated number of cores owns the whole node, because two that shared it would disturb each
    other's measurement.

    Raises:
        PreFlightError: when no node fits the need.
    """
    with_gpus = need.gpus is None and any(node.gpus for node in nodes)
    per_lane = need.gpus if need.gpus is not None else int(with_gpus)
    places = [place for node in nodes for place in _on(node, per_lane, need.cpus)]
    if not places:
        raise PreFlightError(
            f"resources: a task needs {_words((per_lane, need.cpus))} on one node, "
            f"but the cluster has {_offer(nodes)}; ask for less, or join a larger cluster with --address"
        )
    return places


def _fits(nodes: Sequence[Node], pairs: list[Pair]) -> bool:
    try:
        return bool(place_lanes(nodes, largest_need(pairs)))
    except PreFlightError:
        return False


def _words(pair: Pair) -> str:
    gpus, cpus = ("any number of" if one is None else one for one in pair)
    return f"{gpus} GPUs and {cpus} CPUs"


def _offer(nodes: Sequence[Node]) -> str:
    return "; ".join(f"{node.name}: {node.gpus} GPUs, {node.cpus} CPUs" for node in nodes) or "no node"


def _on(node: Node, gpus: int, cpus: int | None) -> list[Place]:
    by_gpu = node.gpus // gpus if gpus else None
    by_cpu = node.cpus // cpus if cpus else None
    if by_gpu is None and by_cpu is None:
        count = 1 if node.cpus else 0
    else:
        count = min(one for one in (by_gpu, by_cpu) if one is not None)
    share = cpus or (node.cpus // count if count else 0)
    kind = "gpu" if gpus else "cpu"
    return [Place(f"{node.name}/{kind}{number}", node, gpus, share, number * share) for number in range(count)]
