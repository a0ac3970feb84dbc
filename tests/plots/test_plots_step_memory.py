"""The picture of a training step's memory, and the same by category in the page and the tree."""

from __future__ import annotations

import json
import re

import pytest
from matplotlib.patches import Rectangle, StepPatch
from torch import nn

import costlab
from costlab.core.graph import CATEGORIES
from costlab.core.memory import live_bytes, peak_of_step
from costlab.formatting.colours import MEMORY
from costlab.reports import html_data, module_tree


@pytest.fixture(scope="module", params=["adamw", "sharded"])
def step(request):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 10))
    shards = 4 if request.param == "sharded" else 1
    return costlab.profile(network, (2, 3, 16, 16), mode="step", optimizer="adamw", shards=shards)


def test_every_category_has_a_colour():
    assert [category for group in MEMORY for category in group.families if category in CATEGORIES]
    assert {category for group in MEMORY for category in group.families} == set(CATEGORIES)
    assert len({group.colour for group in MEMORY}) == len(MEMORY)


def test_the_bands_add_up_to_everything_that_lives(step):
    ax = costlab.plots.memory(step)
    bands = [patch for patch in ax.patches if isinstance(patch, StepPatch)]
    live = live_bytes(step.trace.step, len(step.ops))
    assert list(bands[-1].get_data().values) == [sum(column) for column in zip(*live.values(), strict=True)]
    for band in bands:
        group = next(group for group in MEMORY if group.name == band.get_label())
        data = band.get_data()
        assert list(data.values - data.baseline) == live[group.families[0]]


def test_the_column_is_the_peak_and_the_phases_are_named(step):
    ax = costlab.plots.memory(step)
    column = [patch.get_height() for patch in ax.patches if isinstance(patch, Rectangle)]
    assert sum(column) == peak_of_step(step.trace).bytes == step.total.peak_bytes
    words = {text.get_text() for text in ax.texts}
    assert {"forward", "backward"} <= words


def test_the_page_has_the_same_bytes_at_every_operator(step):
    listed: list[str] = []

    def words(text):
        listed.append(text)
        return len(listed) - 1

    found = html_data.tensors(step, words)
    live = live_bytes(step.trace.step, len(step.ops))
    alive = [0] * len(step.ops)
    for first, last, size in zip(found["first"], found["last"], found["bytes"], strict=True):
        for position in range(max(first, 0), last + 1):
            alive[position] += size
    assert alive == [sum(column) for column in zip(*live.values(), strict=True)]
    assert {listed[n] for n in found["colour"]} <= {group.colour for group in MEMORY}
    assert all(re.fullmatch(r"[a-z ]+", listed[n]) for n in found["shape"])
    json.dumps(found)


def test_the_tree_has_what_every_module_keeps(step):
    table = module_tree.table(step, None, None, None)
    column = next(column for column in table.columns if column.title == "saved bytes")
    row = step.by_module()
    assert column.cells[0] == costlab.formatting.units.size(step.total.saved_bytes)
    assert sum(each.saved_bytes for each in row.values()) == step.total.saved_bytes > 0


def test_a_forward_pass_has_no_column_of_what_is_kept():
    profile = costlab.profile(nn.Linear(4, 4), (2, 4))
    assert "saved bytes" not in [column.title for column in module_tree.table(profile, None, None, None).columns]
    assert "colour" not in html_data.tensors(profile, lambda text: 0)
