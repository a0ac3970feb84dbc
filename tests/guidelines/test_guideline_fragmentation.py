"""G3: blocks, their width, and what their parallel branches read several times."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import profile_of
from helpers.long_profiles import long_profile
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import costlab
from costlab.guidelines.analysis.antichains import levels, max_antichain_size
from costlab.guidelines.analysis.blocks import Block, blocks
from costlab.models import ModelSpec
from costlab.models import profile_of as profile_named

# Antichains and chains, against a search of all subsets.


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[int, list[int]], set[int]]:
    size = draw(st.integers(1, 8))
    before = {node: [i for i in range(node) if draw(st.booleans())] if node else [] for node in range(size)}
    return before, {node for node in range(size) if draw(st.booleans())}


@given(graphs())
def test_max_antichain_and_chain_equal_a_search_of_all_subsets(graph):
    before, chosen = graph
    ancestors: dict[int, set[int]] = {}
    for node, previous in before.items():
        ancestors[node] = set().union(*(ancestors[p] | {p} for p in previous))
    antichain = chain = 0
    for size in range(len(chosen) + 1):
        for subset in itertools.combinations(sorted(chosen), size):
            ordered = [a in ancestors[b] for a, b in itertools.combinations(subset, 2)]
            antichain = max(antichain, size if not any(ordered) else 0)
            chain = max(chain, size if all(ordered) else 0)
    assert max_antichain_size(range(len(before)), before, chosen) == antichain
    assert len(levels(range(len(before)), before, chosen)) == chain


@pytest.mark.parametrize(
    ("before", "width"),
    [
        ({n: [n - 1] if n else [] for n in range(10_000)}, 1),
        ({n: [n - 1000] if n >= 1000 else [] for n in range(10_000)}, 1000),
        ({n: [p for p in (n - 3, n - 5) if p >= 0] for n in range(10_000)}, 3),
        ({n: [] if not n else [0] if n < 9_999 else list(range(1, n)) for n in range(10_000)}, 9_998),
    ],
    ids=["a chain", "1000 chains", "crossing chains", "one fork"],
)
def test_max_antichain_of_ten_thousand_nodes(before, width):
    assert max_antichain_size(range(10_000), before, set(before)) == width


# Blocks.


class Branches(nn.Module):
    """Branches of so many 1x1 convolutions that read one value and are added."""

    def __init__(self, *lengths: int, channels: int = 8) -> None:
        super().__init__()
        for i, length in enumerate(lengths):
            layers = (nn.Conv2d(channels, channels, 1) for _ in range(length))
            self.add_module(f"branch{i}", nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        return sum(branch(x) for branch in self.children())


SHAPE = (2, 8, 5, 5)
ELEMENTS = 2 * 8 * 5 * 5


def only(network: nn.Module, *shapes: tuple[int, ...]) -> Block:
    (block,) = blocks(profile_of(network, *shapes))
    return block


@pytest.mark.parametrize(
    ("lengths", "degree", "width", "chain"),
    [((1, 1), 2, 2, 1), ((3, 0), 3, 1, 3), ((1, 2, 3), 6, 3, 3), ((1, 1, 1, 1), 4, 4, 1)],
)
def test_degree_width_and_chain_of_branches(lengths, degree, width, chain):
    block = only(nn.Sequential(nn.ReLU(), Branches(*lengths)), SHAPE)
    assert (block.path, block.degree, block.width, block.chain) == ("1", degree, width, chain)


def test_the_price_is_what_all_but_one_branch_read():
    network = nn.Sequential(nn.ReLU(), Branches(1, 2, 3))
    (finding,) = costlab.lint(profile_of(network, SHAPE), select=["G3"]).findings
    assert finding.excess_memory_access == (3 - 1) * ELEMENTS
    assert finding.excess_bytes == 4 * (3 - 1) * ELEMENTS
    assert finding.excess_launches == (1 + 2 + 3) - 3


def test_a_shortcut_is_not_parallel_to_its_branch():
    block = only(nn.Sequential(nn.ReLU(), Branches(2, 0)), SHAPE)
    assert block.repeated_elements == 0


def test_merging_branches_into_one_operator_saves_the_price():
    """Four 1x1 convolutions of one tensor against one with their outputs concatenated."""

    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.d = (nn.Conv2d(8, 4, 1) for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([branch(x) for branch in self.children()], 1)

    apart, merged = profile_of(nn.Sequential(nn.ReLU(), Apart()), SHAPE), profile_of(nn.Conv2d(8, 16, 1), SHAPE)
    (finding,) = costlab.lint(apart, select=["G3"]).findings
    convolutions = sum(c.memory_access for op, c in zip(apart.ops, apart.costs, strict=True) if op.kind == "conv2d")
    assert finding.excess_memory_access == convolutions - merged.total.memory_access
    assert finding.excess_launches == 4 - 1


class NoBlock(nn.Module):
    """Branches that never meet."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(8, 8, 1) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.a(x), self.b(x), self.c(x)


@pytest.mark.parametrize("network", [NoBlock(), nn.Sequential(*(nn.Conv2d(8, 8, 1) for _ in range(4)))])
def test_a_module_without_branches_that_meet_is_not_a_block(network):
    assert blocks(profile_of(network, SHAPE)) == []


def test_fragments_of_an_inner_block_count_for_it_alone():
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.before = Branches(1, 1, 1), nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.inner(self.before(x))

    outer, inner = blocks(profile_of(nn.Sequential(nn.ReLU(), Outer()), SHAPE))
    assert (outer.path, outer.degree, outer.width) == ("1", 1, 1)
    assert (inner.path, inner.degree, inner.width) == ("1.inner", 3, 3)


def test_independent_calls_of_a_shared_block_are_not_parallel():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Branches(1, 1)

        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return self.block(x), self.block(y)

    block = only(Twice(), SHAPE, SHAPE)
    assert (block.path, block.degree, block.width) == ("block", 2, 2)


def test_poolings_and_matrix_products_are_fragments_and_activations_are_not():
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.act, self.linear = nn.AvgPool2d(3, 1, 1), nn.ReLU(), nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.pool(x) + self.act(x) + self.linear(x) + F.max_pool2d(x, 1)

    block = only(nn.Sequential(nn.ReLU(), Mixed()), SHAPE)
    assert (block.degree, block.width) == (3, 3)


# Networks: broken blocks, blocks, and the width of the widest.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "broken", "of", "widest"),
    [
        ("timm:nasnetalarge", 22, 23, 8),
        ("timm:pnasnet5large", 14, 19, 9),
        ("torchvision:googlenet", 9, 9, 4),
        ("torchvision:inception_v3", 11, 11, 6),
        ("torchvision:resnet50", 0, 16, 2),
        ("torchvision:resnext50_32x4d", 0, 16, 2),
        ("torchvision:densenet121", 0, 4, 1),
        ("torchvision:vgg11", 0, 0, 0),
        ("torchvision:vit_b_32", 0, 12, 1),
        ("zoo:mobilenet_v2", 0, 10, 1),
        ("zoo:shufflenet_v1", 0, 16, 2),
        ("zoo:shufflenet_v2", 0, 16, 2),
    ],
)
def test_blocks_of_published_networks(name, broken, of, widest):
    found = blocks(profile_named(ModelSpec(name)).fused("bn"))
    wide = [block for block in found if block.width >= 3]
    assert (len(wide), len(found), max((b.width for b in found), default=0)) == (broken, of, widest)


def test_a_nasnet_cell_has_the_13_fragments_of_the_paper():
    profile = profile_named(ModelSpec("timm:nasnetalarge"))
    cell = next(b for b in blocks(profile.fused("bn")) if b.path == "cell_1")
    kinds = [op.kind for op in profile.ops if op.module.startswith("cell_1.")]
    depthwise = sum(
        op.kind == "conv2d" and op["weight"].shape[1] == 1 for op in profile.ops if op.module.startswith("cell_1.")
    )
    poolings = kinds.count("avg_pool2d")
    assert depthwise + poolings == 13  # a separable convolution counts once: the paper's number
    assert cell.degree == 2 * depthwise + poolings + 2 == 25  # and two 1x1 convolutions adapt the inputs
    assert cell.width == 8


def test_a_resnet_bottleneck_has_the_3_fragments_of_the_paper():
    found = {b.path: b.degree for b in blocks(profile_named(ModelSpec("torchvision:resnet50")).fused("bn"))}
    assert found["layer1.1"] == 3
    assert found["layer1.0"] == 3 + 1  # the convolution of the shortcut


def test_blocks_of_ten_thousand_operators():
    network = long_profile(50)
    assert len(network.ops) > 10_000
    assert len(blocks(network)) == 16 * 50
