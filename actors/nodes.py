"""The nodes of the Ray cluster that is joined, as placement wants them."""

from __future__ import annotations

from collections import Counter

import ray

from joulegrid.actors.placement import Node


def cluster_nodes() -> list[Node]:
    """Return the living nodes of the Ray cluster that offer CPUs or GPUs, in a stable order.

    Nodes of one name are told apart by the beginning of their id.
    """
    living = [one for one in ray.nodes() if one["Alive"]]  # type: ignore[no-untyped-call]
    names = Counter(one["NodeManagerHostname"] for one in living)
    found = [Node(one["NodeID"], _name(one, names), _count(one, "CPU"), _count(one, "GPU")) for one in living]
    return sorted((node for node in found if node.cpus or node.gpus), key=lambda node: node.name)


def _name(one: dict[str, str], names: Counter[str]) -> str:
    name = one["NodeManagerHostname"]
    return f"{name}-{one['NodeID'][:6]}" if names[name] > 1 else name


def _count(one: dict[str, dict[str, float]], kind: str) -> int:
    return int(one["Resources"].get(kind, 0))
