"""docs/guidelines.md agrees with the guidelines."""

from __future__ import annotations

from pathlib import Path

import pytest
from generate.guideline_pages import guidelines_page

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
def test_the_page_of_the_guidelines_is_up_to_date():
    """`make verdicts` regenerates it."""
    assert (DOCS / "guidelines.md").read_text(encoding="utf-8") == guidelines_page()
