"""The paper's two experiments on trained networks reproduce the numbers in docs/rewriting.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import costlab
from costlab.rewrite import dac

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "rewriting.md"
WIDTHS = (16, 16, 0, 32, 32, 0, 32, 32)  # 0 is a pooling
TRAINING, EPOCHS, BATCH = 1297, 8, 64  # of 1797 images; the other 500 are for testing
SEEDS = range(5)
SHAPE = (1, 1, 8, 8)
TOLERANCE = 0.02  # of an accuracy


class Trained:
    """A small network of six 3x3 convolutions, trained on 8x8 digits, and the images that it has not seen.

    In float64, where another order of sums changes nothing that shows after so few steps: machines train the same.
    """

    def __init__(self, seed: int) -> None:
        images, labels = load_digits(return_X_y=True)
        x = torch.tensor(images, dtype=torch.float64).reshape(-1, 1, 8, 8) / 16
        y = torch.tensor(labels)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        train, test = order[:TRAINING], order[TRAINING:]
        torch.manual_seed(seed)
        self.model = network().double()
        optimiser = torch.optim.AdamW(self.model.parameters())
        steps = EPOCHS * -(-TRAINING // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, total_steps=steps)
        for _ in range(EPOCHS):
            for batch in train[torch.randperm(TRAINING)].split(BATCH):
                optimiser.zero_grad()
                nn.functional.cross_entropy(self.model(x[batch]), y[batch]).backward()
                optimiser.step()
                schedule.step()
        self.model.eval()
        self.images, self.labels = x[test], y[test]
        self.layers = [path for path, module in self.model.named_modules() if isinstance(module, nn.Conv2d)]

    def accuracy(self, model: nn.Module) -> float:
        with torch.no_grad():
            return float((model(self.images).argmax(1) == self.labels).double().mean())

    def at_rank(self, rank: int, layers: list[str]) -> float:
        return self.accuracy(dac(self.model, rank=rank, only=layers).model)


def network() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 1
    for width in WIDTHS:
        if width:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


@pytest.fixture(scope="module")
def trained() -> Iterator[list[Trained]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # faster than several, for layers this small
    with torch.random.fork_rng():
        yield [Trained(seed) for seed in SEEDS]
    torch.set_num_threads(threads)


def documented(heading: str) -> list[list[float]]:
    """The numbers of the table below a heading of the page, row by row; percentages as parts of one."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|(.*)\|$", section, re.M)[2:]
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    return [[float(c.rstrip("%x")) / (100 if c.endswith("%") else 1) for c in row] for row in cells]


def medians(measured: list[list[float]]) -> list[float]:
    """Column by column, over the seeds."""
    return [median(column) for column in zip(*measured, strict=True)]


def test_the_networks_are_trained(trained):
    assert min(t.accuracy(t.model) for t in trained) > 0.98


def test_rank_1_hurts_the_first_layer_most_and_the_last_least(trained):
    measured = medians([[t.at_rank(1, [layer]) for layer in t.layers] for t in trained])
    table = documented("One layer at rank 1")
    assert [row[0] for row in table] == [1, 2, 3, 4, 5, 6]
    assert measured == pytest.approx([row[1] for row in table], abs=TOLERANCE)
    assert min(measured) == measured[0]
    assert max(measured) == measured[-1] > 0.95


def test_the_first_k_layers_hurt_more_than_the_last_k(trained):
    numbers = range(1, len(trained[0].layers) + 1)
    table = documented("The first k layers, and the last k")
    assert [row[0] for row in table] == list(numbers)
    for column, rank in ((1, 1), (3, 4)):
        first = medians([[t.at_rank(rank, t.layers[:k]) for k in numbers] for t in trained])
        last = medians([[t.at_rank(rank, t.layers[-k:]) for k in numbers] for t in trained])
        assert first == pytest.approx([row[column] for row in table], abs=TOLERANCE)
        assert last == pytest.approx([row[column + 1] for row in table], abs=TOLERANCE)
        assert all(late >= early for early, late in zip(first, last, strict=True))
        assert max(late - early for early, late in zip(first, last, strict=True)) > 0.3


def test_chosen_ranks_keep_more_than_one_rank_for_all_at_the_same_cost(trained):
    table = documented("Equal ranks and chosen ranks")
    for rank, part, *accuracies in table:
        measured = medians([at_equal_cost(t, int(rank)) for t in trained])
        assert measured == pytest.approx([part, *accuracies], abs=TOLERANCE)
        assert measured[3] > max(measured[1:3]) - 0.01
    assert max(chosen - max(same, even) for _, _, same, even, chosen in table) > 0.15


def at_equal_cost(trained: Trained, rank: int) -> list[float]:
    """Part of the mult-adds left at one rank for all layers, and the accuracy there; then for no more mult-adds that of
    the lowest weight error that every layer can keep, and that of ranks chosen for the target."""

    def mult_adds(model: nn.Module) -> int:
        return costlab.profile(model, SHAPE).mult_adds

    same = dac(trained.model, rank=rank).model
    budget = mult_adds(same)
    low, high = 0.0, 1.0
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (low, middle) if mult_adds(dac(trained.model, max_error=middle).model) <= budget else (middle, high)
    even = dac(trained.model, max_error=high).model
    part = budget / mult_adds(trained.model)
    chosen = dac(trained.model, target_mult_adds=f"{part + 1e-9:.9f}", inputs=SHAPE).model
    return [part, *map(trained.accuracy, (same, even, chosen))]
