"""Names beside the points of a plot: where there is room, next to the point, else further off with a line to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from costlab.formatting.colours import INK, QUIET
from costlab.formatting.escaping import visible
from costlab.plots.canvas import GAP, SMALLER, extent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox


class Point(NamedTuple):
    """A point with a name."""

    x: float
    y: float
    name: str
    area: float = 20  # square points


class Place(NamedTuple):
    """Where a name may stand."""

    gap: float  # points between the edge of the point and the name
    right: int  # of the point, or -1 to its left
    up: int
    ha: str  # which part of the name is there
    va: str


NEAR, FAR = 3, (14, 26, 38, 54)
ABOVE_OR_BELOW = [(0, up, ha, va) for ha in ("center", "left", "right") for up, va in ((1, "bottom"), (-1, "top"))]
PLACES = (
    *(Place(NEAR, *side) for side in ((1, 0, "left", "center"), (-1, 0, "right", "center"), *ABOVE_OR_BELOW)),
    *(Place(far, *side) for far in FAR for side in ABOVE_OR_BELOW),
)
PART = {"left": 0, "bottom": 0, "center": 0.5, "right": 1, "top": 1}  # of a name's width or height
HALO = 2  # points of white around a name, so that a line behind it does not strike it through
PIECES = 50  # of a slanting line, each of which is nearly a rectangle
LINE: dict[str, Any] = {"arrowstyle": "-", "color": QUIET, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0}


def name_points(ax: Axes, points: Sequence[Point], most: int, taken: Iterable[Bbox] = ()) -> None:
    """Names beside the first points, as far as they find room among points, other names and places `taken`, in pixels.

    Everything has to be in its final place.
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    room, dots = ax.get_window_extent(), ax.figure.dpi / 72
    centres = [ax.transData.transform((point.x, point.y)) for point in points]
    radii = [sqrt(point.area) / 2 * dots for point in points]
    covered = [Bbox([centre - r, centre + r]) for centre, r in zip(centres, radii, strict=True)]
    names = list(taken)
    for point, centre, radius in zip(points[:most], centres, radii, strict=False):
        style: dict[str, Any] = {"xy": (point.x, point.y), "textcoords": "offset points"}
        label = ax.annotate(visible(point.name), xytext=(0, 0), parse_math=False, **style)
        label.set(fontsize=SMALLER, color=INK, path_effects=[withStroke(linewidth=HALO, foreground="white")])
        size = np.array(extent(label).size)
        for place in PLACES:
            edge, nearest = (centre + np.array((place.right, place.up)) * (radius + g) for g in (0, place.gap * dots))
            corner = nearest - size * np.array((PART[place.ha], PART[place.va]))
            box, line = Bbox([corner, corner + size]), Bbox([edge, nearest])
            inside = room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1
            hides = any(box.padded(GAP).overlaps(other) for other in covered + names)
            if inside and not hides and not any(line.overlaps(name) for name in names):
                label.set(ha=place.ha, va=place.va)
                label.xyann = tuple((nearest - centre) / dots)
                names += [box, line]
                if place.gap > NEAR:
                    ax.annotate("", xytext=label.xyann, arrowprops=LINE, **style)
                break
        else:
            label.remove()


def along(ax: Axes, xs: Sequence[float], ys: Sequence[float], pieces: int = PIECES) -> list[Bbox]:
    """The places in pixels that a line of straight pieces covers, each of them cut into so many."""
    from matplotlib.transforms import Bbox

    corners = ax.transData.transform(np.column_stack((xs, ys)))
    return [
        Bbox([start + (end - start) * i / pieces, start + (end - start) * (i + 1) / pieces])
        for start, end in pairwise(corners)
        for i in range(pieces)
    ]
