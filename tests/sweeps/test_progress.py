"""The bar of a sweep: on a terminal and in a notebook, and nowhere else."""

import io

import pytest
from rich.console import Console

from costlab.formatting import progress as bars
from costlab.sweeps.progress import progress_bar
from costlab.sweeps.results import SweepState


def console_of(monkeypatch, **kind) -> io.StringIO:
    """Every console writes to a buffer, and is of a kind."""
    written = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda stderr: Console(file=written, **kind))
    return written


@pytest.mark.parametrize(("kind", "shown"), [({"force_terminal": True}, True), ({}, False)])
def test_a_bar_is_for_terminals(kind, shown, monkeypatch):
    written = console_of(monkeypatch, width=80, **kind)
    with progress_bar() as show:
        for computed in range(4):
            show(SweepState(rows=3, computed=computed, failed=1))
    assert ("3/3" in written.getvalue()) == shown
    assert ("1 failed" in written.getvalue()) == shown


def test_a_bar_is_for_notebooks(monkeypatch):
    console_of(monkeypatch, width=80, force_jupyter=True)
    with bars.progress() as bar:
        assert not bar.disable
