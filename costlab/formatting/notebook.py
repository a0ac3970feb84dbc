"""Notebooks: the hook through which results show themselves, and the page that they become.

The modules that render results register with `render` and are imported when the first result is shown, so that nothing
below the reports imports them.
"""

import functools
import importlib
from typing import Any

from costlab.formatting.escaping import html_text

RENDERERS = (  # modules that register with `render`
    "costlab.reports.adaptation",
    "costlab.reports.choice",
    "costlab.reports.comparison",
    "costlab.reports.generation",
    "costlab.reports.growth",
    "costlab.reports.notebook",
    "costlab.reports.profile",
    "costlab.reports.timings",
)

# Text takes its colour from the notebook, light or dark. Rules by class override the notebook's own for td and th.
STYLE = """
.costlab {overflow-x: auto}
.costlab table {border-collapse: collapse; font-variant-numeric: tabular-nums}
.costlab th, .costlab td {padding: 1px 10px 1px 0; text-align: right; vertical-align: top; white-space: nowrap;
  background: none}
.costlab td.left, .costlab th.left {text-align: left}
.costlab td.left:last-child {white-space: normal}
.costlab .quiet, .costlab .zero, .costlab th {opacity: 0.65; font-weight: normal}
.costlab .alarm, .costlab .uncounted {color: #d33; font-weight: bold}
.costlab .estimate {color: #b80}
.costlab thead, .costlab tfoot {border: solid currentColor; border-width: 0 0 1px}
.costlab tfoot {border-width: 1px 0 0; font-weight: bold}
.costlab .bar {min-width: 8em}
.costlab .bar i {display: block; height: 0.7em; background: #4a90d9}
"""


@functools.singledispatch
def render(result: Any) -> str:
    """The HTML of a result; one registered function for each type of result."""
    raise TypeError(f"no renderer is registered for {type(result).__name__}")


class ShownInNotebooks:
    """A result that a notebook shows as HTML."""

    def _repr_html_(self) -> str:
        for name in RENDERERS:
            importlib.import_module(name)
        return render(self)


def page(heading: str, *tables: str) -> str:
    """A heading and tables below it, with their own style and no script."""
    style, body = f"<style>{STYLE}</style>", "<br>".join(filter(None, tables))
    return f'<div class="costlab">{style}<strong>{html_text(heading)}</strong>{body}</div>'
