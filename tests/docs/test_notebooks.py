"""Notebooks run from a clean kernel; their saved outputs are complete, up to date, small, and reveal no machine."""

from __future__ import annotations

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from generate.notebook_pages import FOLDER, NOTEBOOKS, RICHER, executed, read, sources_digest, tidy
from helpers.html_page import Page

import costlab
from costlab.sweeps.results import SHOWN

LARGEST = 100_000  # bytes of a picture
HEAVIEST = 700_000  # of a notebook
MACHINE = re.compile(r"/(tmp|home|root|Users|usr|work|mnt|opt|var)/|[A-Z]:\\\\|ipykernel_\d|\bfile://")
FACTORY = """
from torch import nn


def net(note, width):
    return nn.Conv2d(3, width, 1)
"""
LINK = re.compile(r"\]\(([^)\s#]+)\)")


def ids(path: Path) -> str:
    return path.name


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def text_of(output: Any) -> str:
    """All that an output says in words."""
    data = output.get("data", {})
    return "\n".join([output.get("text", ""), *(data[kind] for kind in data if kind.startswith("text/"))])


def check(notebook: Any) -> None:
    """What holds of a notebook with its outputs, wherever it ran."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        if "costlab.plots." in cell.source:
            assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source
    for output in outputs(notebook):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", text_of(output)
        assert not MACHINE.search(text_of(output)), text_of(output)
        data = output.get("data", {})
        assert set(data) <= {*RICHER, "text/plain"}
        assert "Figure(" not in text_of(output), "a picture is only named"
        assert "<Figure" not in text_of(output), "a picture is only named"
        if "text/html" in data:
            assert "script" not in Page(data["text/html"]).tags
        if "image/png" in data:
            assert len(base64.b64decode(data["image/png"])) <= LARGEST


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
@pytest.mark.slow
def test_notebooks_run_from_a_clean_kernel(path):
    check(tidy(executed(path, quick=True)))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_outputs_that_are_kept_are_whole_and_say_nothing_of_a_machine(path):
    check(read(path))
    assert path.stat().st_size <= HEAVIEST


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_outputs_that_are_kept_are_those_of_the_cells_beside_them(path):
    notebook = read(path)
    assert notebook.metadata["costlab"]["sources"] == sources_digest(notebook), "make notebooks"
    assert json.loads(path.read_text())["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_every_cell_that_shows_something_follows_words(path):
    before = "markdown"
    for cell in read(path).cells:
        if cell.cell_type == "code" and any("image/png" in output.get("data", {}) for output in cell.outputs):
            assert before == "markdown"
        before = cell.cell_type


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ids)
def test_links_lead_to_files(path):
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            for target in LINK.findall(cell.source):
                assert "://" in target or (FOLDER / target).exists(), target


def test_a_notebook_shows_the_rows_of_a_sweep_without_script_or_markup_of_names(tmp_path, capsys):
    (tmp_path / "<b>.py").write_text(FACTORY)
    space = {"factory": f"{tmp_path}/<b>.py:net", "arguments": {"note": ["<script>", "plain"], "width": "1:8"}}
    with ThreadPoolExecutor(1) as executor:
        found = costlab.sweep({**space, "input": "1,3,8,8"}, executor)
    page = Page(found._repr_html_())
    assert set(page.tags) <= set("div style strong table thead tbody tr th td".split())
    assert set(page.attributes) <= {"class"}
    head, first, *_, others = page.rows
    assert head == ["note", "width", "params", "mult-adds", "memory access", "peak memory", "broken"]
    assert first[:4] == ["<script>", "1", "4", "192"]
    assert others[0] == f"{len(found) - SHOWN} others"
    assert "<b>.py:net, 16 networks" in page.text
    assert str(tmp_path) not in page.text
    assert "others" not in found.where("width<=2")._repr_html_()
    assert capsys.readouterr() == ("", "")


def test_these_are_all_notebooks():
    names = [
        *("1-tour", "2-guidelines", "3-latency", "4-designing-a-network", "5-netadapt", "6-language-models"),
        *("7-training", "8-choosing", "9-growth"),
    ]
    assert [path.stem for path in NOTEBOOKS] == names
