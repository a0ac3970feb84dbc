"""Memory access in elements, traffic in bytes and parameters, against sums written out by hand.

Each input as the operator sees it, plus each output; views are free; indexing counts what it touches.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import INDEX, indices, only, profile_of, total_of
from torch import Tensor, nn

from costlab.core.cost import Cost
from costlab.core.graph import ITEM_BYTES

# network, inputs, memory access: positions * (inputs + outputs) + weights + bias
LAYERS = {
    "convolution": (
        nn.Conv2d(18, 120, 3, padding=1, bias=False),
        [(1, 18, 8, 8)],
        8 * 8 * (18 + 120) + 3 * 3 * 18 * 120,
    ),
    "grouped": (
        nn.Conv2d(12, 24, 3, padding=1, groups=3, bias=False),
        [(1, 12, 8, 8)],
        8 * 8 * (12 + 24) + 3 * 3 * 12 * 24 // 3,
    ),
    "with a bias": (nn.Conv2d(12, 24, 1), [(1, 12, 8, 8)], 8 * 8 * (12 + 24) + 12 * 24 + 24),
    "batch": (nn.Conv2d(12, 24, 1), [(2, 12, 8, 8)], 2 * 8 * 8 * (12 + 24) + 12 * 24 + 24),
    "a strided one reads its whole input": (
        nn.Conv2d(12, 24, 1, stride=2, bias=False),
        [(1, 12, 8, 8)],
        12 * 8 * 8 + 24 * 4 * 4 + 12 * 24,
    ),
    "transposed": (
        nn.ConvTranspose2d(6, 8, 3, stride=2, groups=2),
        [(1, 6, 5, 5)],
        6 * 5 * 5 + 8 * 11 * 11 + 6 * 4 * 3 * 3 + 8,
    ),
    "linear": (nn.Linear(7, 5), [(2, 3, 7)], 6 * 7 + 6 * 5 + 7 * 5 + 5),
    "matmul": (torch.matmul, [(2, 1, 3, 4), (6, 4, 5)], 2 * 3 * 4 + 6 * 4 * 5 + 2 * 6 * 3 * 5),
    "a matrix times itself is read twice": (lambda x: x @ x, [(4, 4)], 4 * 4 + 4 * 4 + 4 * 4),
    "batch norm reads its statistics": (nn.BatchNorm2d(3), [(2, 3, 4, 5)], 2 * (2 * 3 * 4 * 5) + 3 + 3 + 3 + 3),
    "batch norm without scale": (nn.BatchNorm2d(3, affine=False), [(2, 3, 4, 5)], 2 * (2 * 3 * 4 * 5) + 3 + 3),
    "instance norm": (nn.InstanceNorm2d(3, affine=True), [(2, 3, 4, 5)], 2 * (2 * 3 * 4 * 5) + 3 + 3),
    "layer norm": (nn.LayerNorm(9), [(2, 3, 9)], 2 * (2 * 3 * 9) + 9 + 9),
    "group norm": (nn.GroupNorm(2, 4), [(2, 4, 5)], 2 * (2 * 4 * 5) + 4 + 4),
    "relu": (nn.ReLU(), [(3, 4)], 12 + 12),
    "relu in place": (nn.ReLU(inplace=True), [(3, 4)], 12 + 12),
    "prelu": (nn.PReLU(4), [(3, 4)], 12 + 4 + 12),
    "softmax": (nn.Softmax(-1), [(3, 4)], 12 + 12),
    "max pooling": (nn.MaxPool2d(2), [(1, 3, 8, 8)], 3 * 8 * 8 + 3 * 4 * 4),
    "max pooling with places": (nn.MaxPool2d(2, return_indices=True), [(1, 3, 8, 8)], 3 * 8 * 8 + 2 * 3 * 4 * 4),
    "global pooling": (nn.AdaptiveAvgPool2d(1), [(1, 3, 8, 8)], 3 * 8 * 8 + 3),
    "upsampling": (nn.Upsample(scale_factor=2, mode="bilinear"), [(1, 3, 4, 4)], 3 * 4 * 4 + 3 * 8 * 8),
    "dropout does nothing": (nn.Dropout(), [(3, 4)], 0),
    "identity does nothing": (nn.Identity(), [(3, 4)], 0),
    # q, k, v, mask and output; the scores never leave the chip
    "attention": (
        F.scaled_dot_product_attention,
        [(2, 4, 5, 8), (2, 4, 6, 8), (2, 4, 6, 7)],
        2 * 4 * (5 * 8 + 6 * 8 + 6 * 7 + 5 * 7),
    ),
    "masked attention": (
        lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m.expand(2, 4, 5, 6)),
        [(2, 4, 5, 8), (2, 4, 6, 8), (2, 4, 6, 8), (5, 6)],
        2 * 4 * (5 * 8 + 6 * 8 + 6 * 8 + 5 * 8) + 5 * 6,
    ),
    "attention written out: every step counts": (
        lambda q, k, v: torch.bmm(torch.bmm(q, k.mT).softmax(-1), v),
        [(2, 5, 8), (2, 6, 8), (2, 6, 7)],
        2 * (5 * 8 + 6 * 8 + 5 * 6) + 2 * (5 * 6 + 5 * 6) + 2 * (5 * 6 + 6 * 7 + 5 * 7),
    ),
    # weights once per layer and direction, and the states in and out
    "lstm": (
        nn.LSTM(3, 4, num_layers=2, bidirectional=True),
        [(5, 2, 3), ((torch.empty(4, 2, 4), torch.empty(4, 2, 4)))],
        5 * 2 * (3 + 2 * 4) + 4 * (4 * 2 * 4) + 2 * (16 * 3 + 16 * 4 + 16 + 16) + 2 * (16 * 8 + 16 * 4 + 16 + 16),
    ),
    "gru cell": (nn.GRUCell(3, 4), [(2, 3), (2, 4)], 2 * 3 + 2 * 4 + 12 * 3 + 12 * 4 + 12 + 12 + 2 * 4),
    "einsum": (lambda x, y: torch.einsum("ij,jk->ik", x, y), [(3, 4), (4, 5)], 3 * 4 + 4 * 5 + 3 * 5),
}


@pytest.mark.parametrize(("network", "inputs", "memory_access"), LAYERS.values(), ids=LAYERS)
def test_layers(network: Any, inputs: list[Any], memory_access: int) -> None:
    assert total_of(network, *inputs).memory_access == memory_access


# function, inputs, memory access: what is read, what is written
MOVEMENTS = {
    "a transpose is free": (lambda x: x.t(), [(3, 4)], 0),
    "a reshape that shares memory is free": (lambda x: x.reshape(12), [(3, 4)], 0),
    "a reshape of a transpose copies": (lambda x: x.t().reshape(12), [(3, 4)], 12 + 12),
    "flatten of a permutation copies": (lambda x: x.permute(0, 2, 1).flatten(1), [(2, 3, 4)], 24 + 24),
    "contiguous of what is contiguous is free": (lambda x: x.contiguous(), [(3, 4)], 0),
    "contiguous of a transpose copies": (lambda x: x.t().contiguous(), [(3, 4)], 12 + 12),
    "a cast to the same type is free": (lambda x: x.to(torch.float32), [(3, 4)], 0),
    "a cast copies": (lambda x: x.half(), [(3, 4)], 12 + 12),
    "splitting is free": (lambda x: torch.split(x, 2, 1), [(3, 4)], 0),
    "chunking is free": (lambda x: x.chunk(2), [(4, 4)], 0),
    "expanding is free": (lambda x: x.expand(5, 3, 4), [(3, 4)], 0),
    "einsum that only views is free": (lambda x: torch.einsum("ij->ji", x), [(3, 4)], 0),
    "concatenation": (lambda x, y: torch.cat([x, y], 1), [(3, 4), (3, 2)], 12 + 6 + 18),
    "stack": (lambda x, y: torch.stack([x, y]), [(3, 4), (3, 4)], 12 + 12 + 24),
    "padding": (lambda x: F.pad(x, (1, 1)), [(3, 4)], 12 + 18),
    "repeat": (lambda x: x.repeat(3, 1), [(1, 4)], 4 + 12),
    "channel shuffle": (
        lambda x: x.view(1, 2, 3, 4, 4).transpose(1, 2).reshape(1, 6, 4, 4),
        [(1, 6, 4, 4)],
        6 * 4 * 4 + 6 * 4 * 4,
    ),
    "a slice counts its slice": (lambda x: x[:, :2] + 1, [(3, 4)], 6 + 6),
    "a part of a split counts its part": (lambda x: x.chunk(2, 1)[0] * 2, [(3, 4)], 6 + 6),
    "a row": (lambda x: x[1] * 2, [(3, 4)], 4 + 4),
    "an expanded dimension counts once": (lambda x, y: x + y.expand(3, 4), [(3, 4), (1, 4)], 12 + 4 + 12),
    "broadcasting reads what there is": (torch.add, [(3, 4), (4,)], 12 + 4 + 12),
    "a scalar costs nothing": (lambda x: x * 2, [(3, 4)], 12 + 12),
    "in place, as out of place": (lambda x: (x * 2).add_(x), [(3, 4)], 12 + 12 + 12 + 12 + 12),
    "in place on a slice": (lambda x: (x * 2)[:, 0].add_(1), [(3, 4)], 12 + 12 + 3 + 3),
    "out=": (lambda x: torch.add(x, 1, out=torch.empty(3, 4)), [(3, 4)], 12 + 12),
    "allocating writes nothing": (lambda x: torch.empty(3, 4), [(3, 4)], 0),
    "zeros are written": (lambda x: torch.zeros(3, 4), [(3, 4)], 12),
    "what is shaped after a tensor does not read it": (lambda x: torch.zeros_like(x), [(3, 4)], 12),
    "filling a slice": (lambda x: (x * 2)[:2].zero_(), [(3, 4)], 12 + 12 + 8),
    "assigning to a slice": (lambda x, v: assign(x, slice(0, 2), v), [(3, 4), (4,)], 12 + 12 + 4 + 8),
    "where": (torch.where, [torch.zeros(3, 4, dtype=torch.bool), (3, 4), (4,)], 12 + 12 + 4 + 12),
    "masked fill": (lambda x, m: x.masked_fill(m, 0.0), [(3, 4), torch.zeros(4, dtype=torch.bool)], 12 + 4 + 12),
    "sum": (torch.sum, [(3, 4)], 12 + 1),
    "mean over one dimension": (lambda x: x.mean(1), [(3, 4)], 12 + 3),
    "maximum with its place": (lambda x: x.max(1), [(3, 4)], 12 + 3 + 3),
    "Fourier": (lambda x: torch.fft.rfft(x), [(3, 8)], 3 * 8 + 3 * 5),
    "one-hot": (lambda i: F.one_hot(i, 5), [indices(3)], 3 + 3 * 5),
}


def assign(x: Tensor, place: Any, value: Any) -> Tensor:
    y = x * 1
    y[place] = value
    return y


@pytest.mark.parametrize(("function", "inputs", "memory_access"), MOVEMENTS.values(), ids=MOVEMENTS)
def test_movements(function: Any, inputs: list[Any], memory_access: int) -> None:
    assert total_of(function, *inputs).memory_access == memory_access


MASK = torch.tensor([True, False, True])
GRID_MASK = torch.tensor([[True, False, True, False]] * 3)

# function, inputs, elements of indices, further elements read, elements written
INDEXING = {
    "embedding": (nn.Embedding(100, 7), [indices(2, 5)], 10, 70, 70),
    "embedding bag": (nn.EmbeddingBag(100, 7), [indices(10), torch.tensor([0, 4])], 10 + 2, 70, 14),
    "gather": (lambda x, i: x.gather(1, i), [(30, 4), indices(30, 2)], 60, 60, 60),
    "take": (torch.take, [(30, 4), indices(5)], 5, 5, 5),
    "take_along_dim": (lambda x, i: x.take_along_dim(i, 1), [(30, 4), indices(30, 2)], 60, 60, 60),
    "index_select": (lambda x, i: x.index_select(0, i), [(30, 4), indices(2)], 2, 8, 8),
    "x[i]": (lambda x, i: x[i], [(30, 4), indices(2)], 2, 8, 8),
    "x[:, i]": (lambda x, i: x[:, i], [(30, 4), indices(2)], 2, 60, 60),
    "x[i, j]": (lambda x, i, j: x[i, j], [(30, 4), indices(2), indices(2)], 4, 2, 2),
    "x[i[:, None], j]": (lambda x, i, j: x[i[:, None], j], [(30, 4, 6), indices(2), indices(3)], 5, 36, 36),
    "x[mask]": (lambda x, m: x[m], [(3, 4), MASK], 3, 8, 8),
    "x[:, mask]": (lambda x, m: x[:, m], [(5, 3), MASK], 3, 10, 10),
    "masked_select": (lambda x, m: x.masked_select(m), [(3, 4), GRID_MASK], 12, 6, 6),
    "scatter": (lambda x, i, v: x.scatter(1, i, v), [(3, 4), indices(3, 2), (3, 2)], 6, 6, 6),
    "scatter of a number": (lambda x, i: x.scatter(1, i, 1.0), [(3, 4), indices(3, 2)], 6, 0, 6),
    "scatter reads of its source what it writes": (
        lambda x, i, v: x.scatter(1, i, v),
        [(3, 4), indices(3, 1), (3, 4)],
        *(3, 3, 3),
    ),
    "scatter_add reads what it adds to": (
        lambda x, i, v: x.scatter_add(1, i, v),
        [(3, 4), indices(3, 2), (3, 2)],
        *(6, 6 + 6, 6),
    ),
    "scatter_reduce": (
        lambda x, i, v: x.scatter_reduce(1, i, v, "amax"),
        [(3, 4), indices(3, 2), (3, 2)],
        *(6, 6 + 6, 6),
    ),
    "index_add": (lambda x, i, v: x.index_add(0, i, v), [(30, 4), indices(2), (2, 4)], 2, 8 + 8, 8),
    "index_copy": (lambda x, i, v: x.index_copy(0, i, v), [(30, 4), indices(2), (2, 4)], 2, 8, 8),
    "index_fill": (lambda x, i: x.index_fill(0, i, 0.0), [(30, 4), indices(2)], 2, 0, 8),
    "index_put": (lambda x, i, v: x.index_put((i,), v), [(30, 4), indices(2), (2, 4)], 2, 8, 8),
    "index_put of one row": (lambda x, i, v: x.index_put((i,), v), [(30, 4), indices(2), (4,)], 2, 4, 8),
    "index_put that adds": (
        lambda x, i, v: x.index_put((i,), v, accumulate=True),
        [(30, 4), indices(2), (2, 4)],
        *(2, 8 + 8, 8),
    ),
    "index_put in two dimensions": (
        lambda x, i, j, v: x.index_put((i[:, None], j), v),
        [(30, 4, 6), indices(2), indices(3), (2, 3, 6)],
        *(5, 36, 36),
    ),
    "index_put in the last dimension": (
        lambda x, i, v: torch.ops.aten.index_put(x, [None, i], v),
        [(30, 4), indices(2), (30, 2)],
        *(2, 60, 60),
    ),
    "index_put by a mask": (lambda x, m, v: x.index_put((m,), v), [(3, 4), MASK, (2, 4)], 3, 8, 8),
    "index_put of one row by a mask": (lambda x, m, v: x.index_put((m,), v), [(3, 4), MASK, (4,)], 3, 4, 12),
    "index_put of a number by a mask": (lambda x, m, v: x.index_put((m,), v), [(3, 4), GRID_MASK, ()], *(12, 1, 12)),
    "masked_scatter": (lambda x, m, v: x.masked_scatter(m, v), [(3, 4), GRID_MASK, (6,)], 12, 6, 6),
}


@pytest.mark.parametrize(("function", "inputs", "indexed", "read", "written"), INDEXING.values(), ids=INDEXING)
def test_indexing_counts_indices_and_touched_elements(
    function: Any, inputs: list[Any], indexed: int, read: int, written: int
) -> None:
    inputs = [torch.empty((), device="meta") if i == () else i for i in inputs]
    profile = profile_of(function, *inputs)
    cost = profile.total
    assert not profile.uncounted
    assert not profile.estimated
    assert cost.memory_access == indexed + read + written
    assert cost.write_bytes == 4 * written


def test_a_lookup_costs_the_same_whatever_the_size_of_its_table() -> None:
    small, large = (total_of(nn.Embedding(rows, 8), indices(4)) for rows in (10, 100_000))
    assert small.memory_access == large.memory_access
    assert (small.params, large.params) == (80, 800_000)


def test_weights_read_by_two_operators_count_twice_in_traffic_and_once_in_parameters() -> None:
    layer = nn.Linear(6, 6, bias=False)
    once, twice = total_of(layer, (1, 6)), total_of(nn.Sequential(layer, layer), (1, 6))
    assert twice.memory_access == 2 * once.memory_access == 2 * (6 + 6 + 36)
    assert twice.params == once.params == 36


@pytest.mark.parametrize(
    ("dtype", "size"),
    [(torch.float16, 2), (torch.bfloat16, 2), (torch.float32, 4), (torch.float64, 8), (torch.complex64, 8)],
)
def test_bytes_follow_the_type_of_each_tensor(dtype: torch.dtype, size: int) -> None:
    total = total_of(nn.Linear(7, 5, dtype=dtype), torch.empty(2, 7, dtype=dtype, device="meta"))
    assert total.memory_access == 14 + 35 + 5 + 10
    assert (total.read_bytes, total.write_bytes) == (size * (14 + 35 + 5), size * 10)
    assert (total.param_bytes, total.activation_bytes) == (size * 40, size * 10)
    assert total.bytes_accessed == size * 64


def test_bytes_of_mixed_types() -> None:
    lookup = total_of(nn.Embedding(100, 7).half(), indices(2, 5))
    assert (lookup.read_bytes, lookup.write_bytes) == (10 * 8 + 70 * 2, 70 * 2)
    compare = total_of(torch.gt, (3, 4), (4,))
    assert (compare.read_bytes, compare.write_bytes) == (12 * 4 + 4 * 4, 12 * 1)
    cast = total_of(lambda x: x.to(torch.bfloat16), (3, 4))
    assert (cast.read_bytes, cast.write_bytes) == (48, 24)
    places = total_of(lambda x: x.max(1), (3, 4))
    assert (places.read_bytes, places.write_bytes) == (48, 3 * 4 + 3 * 8)
    spectrum = total_of(lambda x: torch.fft.rfft(x), (3, 8))
    assert (spectrum.read_bytes, spectrum.write_bytes) == (3 * 8 * 4, 3 * 5 * 8)


def test_every_type_of_torch_has_its_size() -> None:
    sizes = {str(t).removeprefix("torch."): t.itemsize for t in vars(torch).values() if isinstance(t, torch.dtype)}
    assert {name: sizes[name] for name in ITEM_BYTES} == ITEM_BYTES
    narrow = ("bits", "int1", "int2", "int3", "int4", "int5", "int6", "int7")  # shells without any operator
    assert {n for n in sizes.keys() - ITEM_BYTES.keys() if not n.removeprefix("u").startswith(narrow)} == set()


def test_batch_norm_in_train_mode_updates_its_statistics() -> None:
    profile = profile_of(nn.BatchNorm2d(3), (2, 3, 4, 5), mode="train")
    _, cost = only(profile, "batch_norm")
    assert cost.memory_access == 2 * (2 * 3 * 4 * 5) + 3 * 4 + 3 * 2
    assert cost.write_bytes == 4 * (2 * 3 * 4 * 5 + 3 * 2)


class Tied(nn.Module):
    """An embedding whose table is also the weight of the last layer, and parameters that nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.unused = nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.ones(5))
        self.out = nn.Linear(4, 10, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.embed(x))


def test_parameters_count_once_at_their_first_user_or_their_owner() -> None:
    network = Tied()
    profile = profile_of(network, indices(2, 3))
    assert profile.params == 10 * 4 + (3 * 2 + 2) + 5 == sum(p.numel() for p in network.parameters())
    assert profile.total.unused_params == 3 * 2 + 2 + 5
    rows = {path: (row.params, row.unused_params) for path, row in profile.by_module().items()}
    assert rows == {"": (5, 5), "embed": (40, 0), "unused": (8, 8), "out": (0, 0)}
    by_op = {op.kind: op.params for op in profile.ops}
    assert by_op == {"embedding": 40, "linear": 0}


def test_a_parameter_seen_through_a_view_is_that_parameter() -> None:
    layer = nn.Linear(4, 6, bias=False)

    class Transposed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.layer.weight.t()[:, :3]

    profile = profile_of(Transposed(), (2, 4))
    assert (profile.params, profile.total.unused_params) == (24, 0)
    assert only(profile, "matmul")[1].memory_access == 8 + 4 * 3 + 6


def test_buffers_are_not_parameters() -> None:
    assert total_of(nn.BatchNorm2d(3), (2, 3, 4, 5)).params == 3 + 3


def test_an_uncounted_operator_keeps_its_parameters() -> None:
    class Unknown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.special.bessel_j0(self.weight) @ x

    profile = profile_of(Unknown(), (3, 2))
    assert list(profile.uncounted.values()) == [1]
    assert (profile.params, profile.total.unused_params) == (9, 0)
    assert profile.by_module()[""].params == 9


def test_costs_add_field_by_field() -> None:
    one, two = Cost(*range(1, 10)), Cost(*range(10, 100, 10))
    assert one + two == Cost(11, 22, 33, 44, 55, 66, 77, 88, 99)
    assert one + Cost() == one


def test_arithmetic_intensity_is_flops_per_byte() -> None:
    total = total_of(nn.Linear(7, 5, bias=False), (2, 7))
    assert total.arithmetic_intensity == 2 * (2 * 7 * 5) / (4 * (14 + 35 + 10))
    assert total_of(lambda x: x.t(), (3, 4)).arithmetic_intensity is None


def test_indices_of_32_bits_are_half_the_bytes() -> None:
    long, short = (total_of(nn.Embedding(9, 4), indices(6).to(t)) for t in (INDEX, torch.int32))
    assert long.read_bytes - short.read_bytes == 6 * 4
