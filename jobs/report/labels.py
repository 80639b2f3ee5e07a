"""Labels beside points that touch neither each other nor a point: the first free place around each, else none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLACES = (
    (6, 5, "left", "bottom"),
    (6, -5, "left", "top"),
    (-6, 5, "right", "bottom"),
    (-6, -5, "right", "top"),
    (8, 0, "left", "center"),
    (-8, 0, "right", "center"),
    (0, 9, "center", "bottom"),
    (0, -9, "center", "top"),
    (16, 16, "left", "bottom"),
    (-16, 16, "right", "bottom"),
    (16, -16, "left", "top"),
    (-16, -16, "right", "top"),
)
"""Offset in points and the alignments that go with it, the best first."""
_POINT_PX = 5.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A point, the ends of its error bars (x, then y), and its name where it shall have one."""

    x: float
    y: float
    bars: tuple[tuple[float, float], tuple[float, float]]
    name: str | None = None


def place_labels(panel: Any, marks: Sequence[Mark]) -> int:
    """Write each name beside its mark, in the order given; return how many found no room.

    A name crosses an error bar only where it finds no other place. The panel's limits and layout are final before this.
    """
    renderer = panel.figure.canvas.get_renderer()
    inside = panel.get_window_extent(renderer)
    taken: list[Any] = [_around(panel, mark) for mark in marks]
    bars = [box for mark in marks for box in _bars(panel, mark)]
    missed = 0
    for mark in marks:
        own = _around(panel, mark)
        places = [(place, avoided) for avoided in (bars, []) for place in _PLACES] if mark.name is not None else []
        for (dx, dy, ha, va), avoided in places:
            at = {"textcoords": "offset points", "ha": ha, "va": va, "fontsize": 8}
            drawn = panel.annotate(mark.name, (mark.x, mark.y), (dx, dy), **at)
            box = drawn.get_window_extent(renderer)
            others = [*(other for other in taken if other.bounds != own.bounds), *avoided]
            if _is_within(box, inside) and not box.count_overlaps(others):
                taken.append(box)
                break
            drawn.remove()
        else:
            missed += mark.name is not None
    return missed


def _is_within(box: Any, outer: Any) -> bool:
    return bool(outer.contains(box.x0, box.y0) and outer.contains(box.x1, box.y1))


def _bars(panel: Any, mark: Mark) -> list[Any]:
    (left, right), (low, high) = mark.bars
    return [_box(panel, (left, mark.y), (right, mark.y)), _box(panel, (mark.x, low), (mark.x, high))]


def _around(panel: Any, mark: Mark) -> Any:
    return _box(panel, (mark.x, mark.y), (mark.x, mark.y)).padded(_POINT_PX)


def _box(panel: Any, low: tuple[float, float], high: tuple[float, float]) -> Any:
    from matplotlib.transforms import Bbox

    return Bbox([panel.transData.transform(low), panel.transData.transform(high)]).padded(1.0)
