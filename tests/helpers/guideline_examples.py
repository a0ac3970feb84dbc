"""The networks that stand in the guidelines' own pages."""

from __future__ import annotations

import functools
from typing import Any

from costlab.core.profile import Profile
from costlab.guidelines import GUIDELINES
from costlab.guidelines.model import Example
from costlab.tracing._profile import profile


@functools.cache
def profiled(example: Example) -> Profile:
    """The profile of an example, which is Python source that defines `network` and `inputs`."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example.code, example.title, "exec"), names)
    return profile(names["network"], names["inputs"])


def examples(label: str) -> list[tuple[str, Example]]:
    """The code of each guideline with each of its bad or good networks."""
    return [(g.code, example) for g in GUIDELINES.values() for example in getattr(g, label)]
