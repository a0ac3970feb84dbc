"""The hook through which results show themselves in a notebook.

A result's `_repr_html_` calls `html_repr`; the modules that render results register with it and are imported when the
first result is shown, so that nothing below the reports imports them.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

RENDERERS = ["costlab.reports.notebook", "costlab.reports.timings"]  # modules that register with `render`


@functools.singledispatch
def render(result: Any) -> str:
    """The HTML of a result; one registered function for each type of result."""
    raise TypeError(f"nothing renders a {type(result).__name__}")


def html_repr(result: Any) -> str:
    """The HTML that a notebook shows for a result."""
    for name in RENDERERS:
        importlib.import_module(name)
    return render(result)
