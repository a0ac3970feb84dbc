"""Labelled points: a label stands next to its point if there is room, else further away with a line to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.formatting.colours import INK, QUIET
from costlab.formatting.escaping import visible
from costlab.plots.style import GAP, SMALLER

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox
    from numpy.typing import NDArray


class LabelledPoint(NamedTuple):
    """A point with a label, in data coordinates."""

    x: float
    y: float
    name: str
    area: float = 20  # square points
    colour: str = INK


class LabelPosition(NamedTuple):
    """Where a label can stand relative to its point."""

    gap: float  # points between the edge of the point and the label
    right: int  # 1: right of the point, -1: left
    up: int
    ha: str  # the part of the label that is there
    va: str


NEAR, FAR = 3, (14, 26, 38, 54)
ABOVE_OR_BELOW = [(0, up, ha, va) for ha in ("center", "left", "right") for up, va in ((1, "bottom"), (-1, "top"))]
POSITIONS = (
    *(LabelPosition(NEAR, *side) for side in ((1, 0, "left", "center"), (-1, 0, "right", "center"), *ABOVE_OR_BELOW)),
    *(LabelPosition(far, *side) for far in FAR for side in ABOVE_OR_BELOW),
)
PART = {"left": 0, "bottom": 0, "center": 0.5, "right": 1, "top": 1}  # of a label's width or height
HALO = 2  # points of white around a label, so that a line behind it stays legible
PIECES = 50  # of a slanting line, each of them nearly a rectangle
LINE: dict[str, Any] = {"arrowstyle": "-", "color": QUIET, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0}


def scatter(ax: Axes, points: Sequence[LabelledPoint], **style: Any) -> None:
    """Draw points, the first at the back."""
    areas, colours = [p.area for p in points], [p.colour for p in points]
    areas = areas if len(set(areas)) > 1 else areas[:1]  # a single area makes smaller files
    ax.scatter([p.x for p in points], [p.y for p in points], areas, colours, **{"linewidths": 0, "zorder": 3, **style})


def scatter_bubbles(ax: Axes, points: Sequence[LabelledPoint]) -> None:
    """Draw points of different areas, which may overlap."""
    scatter(ax, points, alpha=0.75, edgecolors="white", linewidths=0.5)


def label_points(ax: Axes, points: Sequence[LabelledPoint], most: int, occupied: Iterable[Bbox] = ()) -> None:
    """Label the first `most` points, if there is room beside points, other labels and the boxes `occupied` in pixels.

    The layout of the figure must be final.
    """
    import numpy as np
    from matplotlib.patheffects import withStroke

    room, dots = ax.get_window_extent(), ax.figure.dpi / 72
    centres = ax.transData.transform([(point.x, point.y) for point in points])
    radii = np.sqrt([point.area for point in points]) / 2 * dots
    covered = np.hstack((centres - radii[:, None], centres + radii[:, None]))
    labels = np.reshape([box.extents for box in occupied], (-1, 4))
    directions = np.array([(position.right, position.up) for position in POSITIONS])
    anchors = np.array([(PART[position.ha], PART[position.va]) for position in POSITIONS])
    gaps = np.array([position.gap * dots for position in POSITIONS])
    for point, centre, radius in zip(points[:most], centres, radii, strict=False):
        style: dict[str, Any] = {"xy": (point.x, point.y), "textcoords": "offset points"}
        label = ax.annotate(visible(point.name), xytext=(0, 0), parse_math=False, **style)
        label.set(fontsize=SMALLER, color=INK, path_effects=[withStroke(linewidth=HALO, foreground="white")])
        size = np.array(label.get_window_extent().size)
        edges, nearest = centre + directions * radius, centre + directions * (radius + gaps[:, None])
        corners = nearest - size * anchors
        boxes, lines = np.hstack((corners, corners + size)), np.hstack((edges, nearest))
        inside = (boxes[:, :2] >= room.min).all(axis=1) & (boxes[:, 2:] <= room.max).all(axis=1)
        padded = boxes + GAP * np.array((-1, -1, 1, 1))
        free = inside & ~overlap(padded, covered) & ~overlap(padded, labels) & ~overlap(lines, labels)
        if not free.any():
            label.remove()
            continue
        chosen = int(free.argmax())
        label.set(ha=POSITIONS[chosen].ha, va=POSITIONS[chosen].va)
        label.xyann = tuple((nearest[chosen] - centre) / dots)
        labels = np.vstack((labels, boxes[chosen], lines[chosen]))
        if POSITIONS[chosen].gap > NEAR:
            ax.annotate("", xytext=label.xyann, arrowprops=LINE, **style)


def overlap(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the boxes touch any of the others; a box is two opposite corners (x, y, x, y)."""
    import numpy as np

    low, high = np.minimum(boxes[:, None, :2], boxes[:, None, 2:]), np.maximum(boxes[:, None, :2], boxes[:, None, 2:])
    other_low, other_high = np.minimum(others[:, :2], others[:, 2:]), np.maximum(others[:, :2], others[:, 2:])
    near = ((low.min(axis=0) <= other_high) & (other_low <= high.max(axis=0))).all(axis=1)  # few, even of a million
    touching: NDArray[np.bool_] = ((low <= other_high[near]) & (other_low[near] <= high)).all(axis=2).any(axis=1)
    return touching


def boxes_along(ax: Axes, xs: Sequence[float], ys: Sequence[float], pieces: int = PIECES) -> list[Bbox]:
    """The boxes in pixels that a polyline covers, each segment cut into `pieces`."""
    import numpy as np
    from matplotlib.transforms import Bbox

    corners = ax.transData.transform(np.column_stack((xs, ys)))
    return [
        Bbox([start + (end - start) * i / pieces, start + (end - start) * (i + 1) / pieces])
        for start, end in pairwise(corners)
        for i in range(pieces)
    ]
