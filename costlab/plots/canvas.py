"""Where plots are drawn: one look for all of them, and words that never run into one another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from costlab.core.profile import Profile
from costlab.formatting.colours import INK, QUIET, Group
from costlab.formatting.escaping import visible
from costlab.formatting.facts import title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox, BboxBase

SMALLER, SMALL, NORMAL, LARGE = 7, 8, 9, 11  # points
LONGEST = 60  # characters of a name
GAP = 2  # pixels between two labels
SHORT = 2000  # the ends of a logarithmic axis, one over the other, that leaves room for ticks at 2 and 5
ROUND = re.compile(r"\.0+ ")  # of a tick: 500.0 us is 500 us


def axes_of(ax: Axes | None, width: float, height: float) -> Axes:
    """`ax` itself, or the axes of a new figure of so many inches."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.figure(figsize=(width, height), layout="constrained").add_subplot()


def headline(ax: Axes, of: Profile | str, what: str) -> None:
    """The network above the axes, and below its name what is shown."""
    name = shortened(title(of) if isinstance(of, Profile) else of)
    ax.set_title(name, loc="left", pad=20, fontsize=LARGE, fontweight="bold", color=INK, parse_math=False)
    style: dict[str, Any] = {"fontsize": NORMAL, "color": QUIET, "parse_math": False}
    ax.annotate(what, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", **style)


def words(ax: Axes, x: float, y: float, text: str, **style: Any) -> Text:
    """Text at a place of the data, which stays what it says: no formula, no control characters."""
    lines = "\n".join(shortened(line) for line in text.split("\n"))
    return ax.text(x, y, lines, **{"fontsize": SMALL, "color": INK, "parse_math": False, "clip_on": False, **style})


def shortened(name: str, longest: int = LONGEST) -> str:
    """A name as plain text; the end of a long one says more than its beginning."""
    name = visible(name)
    if len(name) <= longest:
        return name
    end = name[1 - longest :]
    return f"…{end.partition('.')[2] or end}"


def plain(ax: Axes, *sides: str) -> None:
    """Leave no line around the axes but those of `sides`, and small quiet ticks."""
    for side, spine in ax.spines.items():
        spine.set_visible(side in sides)
        spine.set_color(QUIET)
    ax.tick_params(labelsize=SMALL, colors=QUIET, labelcolor=INK)


def key(ax: Axes, groups: Iterable[Group]) -> None:
    """What the colours mean, below the axes."""
    from matplotlib.patches import Patch

    patches = [Patch(color=group.colour, label=group.name) for group in groups]
    rows = 1 + (len(patches) > 5)
    style = {"frameon": False, "fontsize": SMALL, "handlelength": 1, "handleheight": 1}
    if patches:
        ax.figure.legend(handles=patches, loc="outside lower left", ncols=-(-len(patches) // rows), **style)


def settled(ax: Axes) -> None:
    """Give everything its final place, so that it can be measured."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()


def extent(text: Text) -> Bbox:
    """The place of a text in pixels."""
    return text.get_window_extent()


def fits(text: Text, room: BboxBase) -> bool:
    """Whether a text stays inside a place in pixels."""
    box = extent(text)
    return box.width + 2 * GAP <= room.width and box.height + 2 * GAP <= room.height


def keep_apart(texts: Sequence[Text], taken: Iterable[Bbox] = (), within: BboxBase | None = None) -> list[Text]:
    """Remove every text that would touch an earlier one, a place that is taken, or the edge; those that stay."""
    boxes = list(taken)
    kept = []
    for text in texts:
        box = extent(text).padded(GAP)
        inside = within is None or (within.x0 <= box.x0 and box.x1 <= within.x1)
        if inside and not any(box.overlaps(other) for other in boxes):
            boxes.append(box)
            kept.append(text)
        else:
            text.remove()
    return kept


def in_units(axis: Axis, write: Callable[[float], str]) -> None:
    """Ticks in the words of `write`; on a logarithmic axis at powers of ten, and at 2 and 5 where it is short."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if axis.get_scale() == "log":
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < SHORT * low else (1,)))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(lambda value, _: ROUND.sub(" ", write(value)).strip())
