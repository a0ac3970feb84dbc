"""The common look of all plots: axes, headline, legend, ticks, and text that never overlaps."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from costlab.core.profile import Profile
from costlab.formatting.colours import GROUPS, INK, QUIET, Group
from costlab.formatting.escaping import visible
from costlab.formatting.facts import title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.text import Text
    from matplotlib.transforms import BboxBase

SMALLER, SMALL, NORMAL, LARGE = 7, 8, 9, 11  # points
LONGEST = 60  # characters of a name
GAP = 2  # pixels between two texts
SHORT = 2000  # a logarithmic axis with a smaller ratio of its ends has ticks at 2 and 5 as well
LIGHT: dict[
    Any, Any
] = {  # a picture is a white page with dark words, whatever style the user has set: words are in these colours
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "white"),
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), INK),
}
TRAILING_ZEROS = re.compile(r"\.0+ ")  # of a tick: 500.0 us becomes 500 us


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """`ax` itself, or the axes of a new figure of this size in inches."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    pyplot.draw_if_interactive()  # loads the backend: a notebook's turns a setting on, which the context would restore
    with pyplot.rc_context(LIGHT):
        return pyplot.figure(figsize=(width, height), layout="constrained").add_subplot()


def panel_in(ax: Axes, bounds: tuple[float, float, float, float]) -> Axes:
    """Axes inside others, at bounds relative to them."""
    from matplotlib import pyplot

    with pyplot.rc_context(LIGHT):
        return ax.inset_axes(bounds)


def headline(ax: Axes, of: Profile | str, what: str) -> None:
    """The network above the axes, and below it what the plot shows."""
    name = shortened(title(of) if isinstance(of, Profile) else of)
    ax.set_title(name, loc="left", pad=20, fontsize=LARGE, fontweight="bold", color=INK, parse_math=False)
    style: dict[str, Any] = {"fontsize": NORMAL, "color": QUIET, "parse_math": False}
    ax.annotate(what, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", **style)


def add_text(ax: Axes, x: float, y: float, text: str, **style: Any) -> Text:
    """Text in data coordinates, drawn literally: no formulas, no control characters."""
    lines = "\n".join(shortened(line) for line in text.split("\n"))
    return ax.text(x, y, lines, **{"fontsize": SMALL, "color": INK, "parse_math": False, "clip_on": False, **style})


def shortened(name: str, longest: int = LONGEST) -> str:
    """A printable name; a long one keeps its end, which says more than its beginning."""
    name = visible(name)
    if len(name) <= longest:
        return name
    end = name[1 - longest :]
    return f"…{end.partition('.')[2] or end}"


def only_spines(ax: Axes, *sides: str) -> None:
    """Remove the lines around the axes except those of `sides`, and make the ticks small and grey."""
    for side, spine in ax.spines.items():
        spine.set_visible(side in sides)
        spine.set_color(QUIET)
    ax.tick_params(labelsize=SMALL, colors=QUIET, labelcolor=INK)


def legend(ax: Axes, present: Collection[Group], groups: Sequence[Group] = GROUPS) -> None:
    """The meaning of the colours, below the axes."""
    from matplotlib.patches import Patch

    patches = [Patch(color=group.colour, label=group.name) for group in groups if group in present]
    rows = 1 + (len(patches) > 5)
    style = {"frameon": False, "fontsize": SMALL, "handlelength": 1, "handleheight": 1, "labelcolor": INK}
    if patches:
        ax.figure.legend(handles=patches, loc="outside lower left", ncols=-(-len(patches) // rows), **style)


def fix_layout(ax: Axes) -> None:
    """Move everything to its final position, so that it can be measured."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()


def fits(text: Text, room: BboxBase) -> bool:
    """Whether a text is smaller than a box in pixels."""
    box = text.get_window_extent()
    return box.width + 2 * GAP <= room.width and box.height + 2 * GAP <= room.height


def remove_overlapping(texts: Sequence[Text], within: BboxBase | None = None) -> None:
    """Remove every text that would touch an earlier one or a side of `within`."""
    boxes: list[BboxBase] = []
    for text in texts:
        box = text.get_window_extent().padded(GAP)
        inside = within is None or (within.x0 <= box.x0 and box.x1 <= within.x1)
        if inside and not any(box.overlaps(other) for other in boxes):
            boxes.append(box)
        else:
            text.remove()


def format_ticks(axis: Axis, write: Callable[[float], str]) -> None:
    """Ticks written by `write`; on a logarithmic axis at powers of ten, and the more between them the shorter it is."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if axis.get_scale() == "log":
        low, high = axis.get_view_interval()
        between = (1, 2, 3, 5, 7) if high < 10 * low else (1, 2, 5) if high < SHORT * low else (1,)
        axis.set_major_locator(LogLocator(subs=between))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(lambda value, _: TRAILING_ZEROS.sub(" ", write(value)).strip())
