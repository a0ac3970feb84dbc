"""docs/verdicts.md agrees with the guidelines; `make verdicts` regenerates it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from generate.guideline_pages import cells, judged

from costlab.models import ModelSpec, profile_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def soak() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verdicts", ROOT / "tests" / "soak" / "verdicts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_verdicts_are_of_every_network():
    page = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")
    expected = [text for chosen in soak().targets().values() for text, _ in chosen]
    assert re.findall(r"^\| `([^`]+)` \|", page, re.M) == expected
    assert len(expected) >= 80


@pytest.mark.parametrize("position", range(0, 80, 8))
def test_the_verdicts_are_up_to_date(position):
    page = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8").splitlines()
    for chosen in soak().targets().values():
        for text, arguments in chosen[position : position + 1]:
            assert cells(judged(text, profile_of(ModelSpec(text.split()[0], arguments)))) in page
