"""The text boxes of a drawn figure."""

from __future__ import annotations


def visible_boxes(ax) -> list:
    """The places of all words of a figure but those of the key, which matplotlib sets itself."""
    figure = ax.figure
    figure.draw_without_rendering()
    found = []
    for axes in (ax, *ax.child_axes):
        texts = [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        if axes.axison:
            texts += [tick.label1 for axis in (axes.xaxis, axes.yaxis) for tick in axis._update_ticks()]
        found += [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text().strip() and t.get_visible()]
    return found
