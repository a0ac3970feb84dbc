"""docs/scale.md agrees with the measurements."""

from __future__ import annotations

import json

from generate.scale_page import PAGE, RESULTS, days, page


def test_the_page_is_made_of_the_results():
    assert PAGE.read_text() == page(json.loads(RESULTS.read_text()))


def test_long_times_are_in_the_unit_that_suits_them():
    assert [days(s) for s in (5, 90, 7200, 86400 * 30)] == ["5.0 s", "1.5 minutes", "2.0 hours", "30.0 days"]
