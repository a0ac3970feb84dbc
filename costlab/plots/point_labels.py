"""Labelled points: a label stands next to its point if there is room, else further away with a line to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.formatting.colours import INK, QUIET
from costlab.formatting.escaping import visible
from costlab.plots.style import GAP, SMALLER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox


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
    from matplotlib.transforms import Bbox

    room, dots = ax.get_window_extent(), ax.figure.dpi / 72
    centres = [ax.transData.transform((point.x, point.y)) for point in points]
    radii = [sqrt(point.area) / 2 * dots for point in points]
    covered = [Bbox([centre - r, centre + r]) for centre, r in zip(centres, radii, strict=True)]
    labels = list(occupied)
    for point, centre, radius in zip(points[:most], centres, radii, strict=False):
        style: dict[str, Any] = {"xy": (point.x, point.y), "textcoords": "offset points"}
        label = ax.annotate(visible(point.name), xytext=(0, 0), parse_math=False, **style)
        label.set(fontsize=SMALLER, color=INK, path_effects=[withStroke(linewidth=HALO, foreground="white")])
        size = np.array(label.get_window_extent().size)
        for position in POSITIONS:
            direction = np.array((position.right, position.up))
            edge, nearest = (centre + direction * (radius + gap) for gap in (0, position.gap * dots))
            corner = nearest - size * np.array((PART[position.ha], PART[position.va]))
            box, line = Bbox([corner, corner + size]), Bbox([edge, nearest])
            inside = room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1
            hides = any(box.padded(GAP).overlaps(other) for other in covered + labels)
            if inside and not hides and not any(line.overlaps(other) for other in labels):
                label.set(ha=position.ha, va=position.va)
                label.xyann = tuple((nearest - centre) / dots)
                labels += [box, line]
                if position.gap > NEAR:
                    ax.annotate("", xytext=label.xyann, arrowprops=LINE, **style)
                break
        else:
            label.remove()


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
