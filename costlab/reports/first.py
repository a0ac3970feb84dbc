"""What to do first, as lines of a header."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from costlab.formatting import units
from costlab.formatting.facts import Fact

if TYPE_CHECKING:
    from costlab.guidelines.what_ifs import WhatIfs

LABEL = "do first"


def facts(what_ifs: WhatIfs | None) -> Iterator[Fact]:
    """The changes that save most, best first, or that none is worth it; nothing without a device."""
    if what_ifs is None:
        return
    if not what_ifs.changes:
        from costlab.guidelines.what_ifs import WORTH

        yield Fact(LABEL, f"nothing here is worth more than {WORTH:.0%} of {units.seconds(what_ifs.predicted_seconds)}")
    for number, each in enumerate(what_ifs.changes, 1):
        saved, left = units.seconds(each.seconds_saved), units.seconds(each.predicted_seconds)
        saving = f"saves {saved} ({units.percent(each.share)}), leaves {left}"
        yield Fact(LABEL, f"{number}. {each.change}: {saving}; {each.how}")
