"""Which lanes a study gets, and which needs no node can serve."""

from __future__ import annotations

from joulegrid.actors.placement import Node, Pair, largest_need, place_lanes, split_needs

SMALL = Node("a" * 56, "small", 8, 1)
LARGE = Node("b" * 56, "large", 64, 4)
PLAIN = Node("c" * 56, "plain", 128, 0)


def test_needs_that_a_node_can_serve_are_kept_in_their_order() -> None:
    pairs: list[Pair] = [(1, 4), (None, None), (2, None), (1, 4)]
    assert split_needs([SMALL, LARGE], pairs) == ([(1, 4), (None, None), (2, None)], {})


def test_a_need_that_fits_no_node_is_named_with_what_the_cluster_has() -> None:
    served, refused = split_needs([SMALL, LARGE], [(1, None), (8, None)])
    assert served == [(1, None)]
    assert refused == {
        (8, None): "it needs 8 GPUs and any number of CPUs on one node, but the cluster has "
        "small: 1 GPUs, 8 CPUs; large: 4 GPUs, 64 CPUs"
    }
    assert place_lanes([SMALL, LARGE], largest_need(served))


def test_needs_that_fit_different_nodes_but_no_common_lane_are_not_served_together() -> None:
    served, refused = split_needs([SMALL, PLAIN], [(1, 2), (0, 100)])
    assert served == [(1, 2)]
    assert "lanes that also serve 1 GPUs and 2 CPUs fit no node" in refused[(0, 100)]
    assert "a study of its own" in refused[(0, 100)]
    assert split_needs([SMALL, PLAIN], [(0, 100)]) == ([(0, 100)], {})


def test_without_nodes_nothing_is_served() -> None:
    served, refused = split_needs([], [(None, None)])
    assert served == []
    assert "but the cluster has no node" in refused[(None, None)]
