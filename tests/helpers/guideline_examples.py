"""The networks in the guidelines' documentation pages."""

from __future__ import annotations

import functools
from typing import Any

import costlab
from costlab.core.profile import Profile
from costlab.guidelines import GUIDELINES


@functools.cache
def profile_example(code: str, mode: str = "eval") -> Profile:
    """The profile of an example: Python source that defines `network` and `inputs`."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "example", "exec"), names)
    return costlab.profile(names["network"], names["inputs"], mode=mode)


def examples(label: str) -> list[tuple[str, str, str]]:
    """Rule, title and code of every bad or good example."""
    return [(g.code, *item) for g in GUIDELINES.values() for item in getattr(g, label).items()]


def device_of(rule: str) -> str | None:
    """The device of a rule that needs one: those of phones need a phone's cores."""
    if rule in ("X18", "X19"):
        return "raspberry-pi-4"
    return "rtx3090" if GUIDELINES[rule].check_on else None
