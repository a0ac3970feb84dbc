"""Arithmetic outside contractions: one per output element or element visited, and the factors of the table."""

from __future__ import annotations

from itertools import product
from math import ceil, floor, log2
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import profile_of, total_of
from torch import Tensor, nn

X = (2, 4, 6, 8)
N = 2 * 4 * 6 * 8

# network, inputs, operations
TABLE = {
    "relu": (nn.ReLU(), [X], N),
    "in place": (nn.ReLU(inplace=True), [X], N),
    "gelu": (nn.GELU(), [X], N),
    "hardswish": (nn.Hardswish(), [X], N),
    "glu halves": (nn.GLU(1), [X], N // 2),
    "add": (torch.add, [X, X], N),
    "add, broadcast": (torch.add, [(4, 1), (5,)], 4 * 5),
    "scalar": (lambda x: x * 2 + 1, [X], 2 * N),
    "compare": (torch.gt, [X, X], N),
    "where": (lambda x: torch.where(x > 0, x, 0.1 * x), [X], N + N + N),
    "complex": (lambda x: torch.view_as_complex(x) * 2, [(3, 2)], 3),
    "batch norm": (nn.BatchNorm2d(4), [X], 2 * N),
    "layer norm": (nn.LayerNorm(8), [X], 5 * N),
    "group norm": (nn.GroupNorm(2, 4), [X], 5 * N),
    "instance norm": (nn.InstanceNorm2d(4), [X], 5 * N),
    "softmax": (nn.Softmax(1), [X], 3 * N),
    "log softmax": (nn.LogSoftmax(1), [X], 3 * N),
    "sum": (torch.sum, [X], N),
    "mean": (lambda x: x.mean((2, 3)), [X], N),
    "mean of an expanded tensor visits what it sees": (lambda x: x.expand(5, 4).mean(0), [(1, 4)], 5 * 4),
    "amax": (lambda x: x.amax(1), [X], N),
    "argmax": (lambda x: x.argmax(1), [X], N),
    "cumsum": (lambda x: x.cumsum(1), [X], N),
    "nearest": (nn.Upsample(scale_factor=2), [X], 4 * N),
    "bilinear: four neighbours": (nn.Upsample(scale_factor=2, mode="bilinear"), [X], 4 * 4 * N),
    "bicubic: sixteen": (nn.Upsample(scale_factor=2, mode="bicubic"), [X], 16 * 4 * N),
    "trilinear: eight": (nn.Upsample(scale_factor=2, mode="trilinear"), [(1, 2, 3, 4, 5)], 8 * 8 * 2 * 3 * 4 * 5),
    "grid sample: four": (lambda x, g: F.grid_sample(x, g, align_corners=False), [X, (2, 3, 5, 2)], 4 * 2 * 4 * 3 * 5),
    "scatter that adds": (lambda x, i, v: x.index_add(0, i, v), [(9, 4), torch.zeros(2).long(), (2, 4)], 2 * 4),
    "scatter that replaces": (lambda x, i, v: x.index_copy(0, i, v), [(9, 4), torch.zeros(2).long(), (2, 4)], 0),
    "embedding bag adds up": (nn.EmbeddingBag(9, 4), [torch.zeros(2, 5).long()], 2 * 5 * 4),
    "Fourier: 5 n log n": (lambda x: torch.fft.fft(x), [torch.empty(3, 8, dtype=torch.complex64)], 3 * 5 * 8 * 3),
    "Fourier of real numbers: half": (lambda x: torch.fft.rfft2(x), [(3, 8, 8)], 3 * 5 * 64 * int(log2(64)) // 2),
    "its inverse": (lambda x: torch.fft.irfft2(x), [torch.empty(3, 8, 5, dtype=torch.complex64)], 3 * 5 * 64 * 6 // 2),
    "copies": (lambda x: torch.cat([x.transpose(1, 2).contiguous(), x.transpose(1, 2)]), [X], 0),
    "views": (lambda x: x.view(2, -1).t()[3:], [X], 0),
    "creation": (lambda x: torch.zeros_like(x), [X], 0),
    "lookup": (nn.Embedding(9, 4), [torch.zeros(2, 5).long()], 0),
    "contractions have none": (nn.Conv2d(4, 5, 3), [X], 0),
    "dropout in eval mode": (nn.Dropout(), [X], 0),
}


@pytest.mark.parametrize(("network", "inputs", "operations"), TABLE.values(), ids=TABLE)
def test_table(network: Any, inputs: list[Any], operations: int) -> None:
    total = total_of(network, *inputs)
    assert total.element_wise_ops == operations
    assert total.mult_adds == 0 or isinstance(network, nn.Conv2d)


def test_train_mode_counts_dropout_and_finding_the_statistics() -> None:
    assert total_of(nn.Dropout(), X, mode="train").element_wise_ops == N
    kinds = {op.kind: cost.element_wise_ops for op, cost in costs(nn.BatchNorm2d(4), X, mode="train")}
    assert kinds["batch_norm"] > 2 * N


def costs(network: Any, *inputs: Any, **options: Any) -> list[Any]:
    profile = profile_of(network, *inputs, **options)
    return list(zip(profile.ops, profile.costs, strict=True))


def windows(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> list[list[int]]:
    """For every output position, the input positions that its window covers."""
    starts = [j * stride - padding for j in range(out)]
    return [[p for p in range(s, s + kernel * dilation, dilation) if 0 <= p < size] for s in starts]


def adaptive_windows(size: int, out: int) -> list[list[int]]:
    return [list(range(floor(j * size / out), ceil((j + 1) * size / out))) for j in range(out)]


def pooled(x: Tensor, rows: list[list[int]], columns: list[list[int]], reduce: Any) -> tuple[Tensor, int]:
    """2d pooling one window at a time: its result, and how many elements it looked at."""
    result, visited = torch.zeros(*x.shape[:2], len(rows), len(columns)), 0
    for n, c, (i, row), (j, column) in product(
        range(x.shape[0]), range(x.shape[1]), enumerate(rows), enumerate(columns)
    ):
        seen = torch.stack([x[n, c, p, q] for p in row for q in column])
        result[n, c, i, j] = reduce(seen)
        visited += len(seen)
    return result, visited


POOLS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True},
    {"kernel_size": 3, "stride": 1, "padding": 1},
]


def pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


@pytest.mark.parametrize("options", [*POOLS, {"kernel_size": 2, "stride": 1, "dilation": 2, "padding": 1}])
def test_max_pooling_visits_what_its_windows_cover(options: dict[str, Any]) -> None:
    layer, x = nn.MaxPool2d(**options), torch.randn(2, 2, 7, 8)
    expected = layer(x)
    settings = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    rows, columns = (windows(x.shape[2 + d], expected.shape[2 + d], *(pair(s)[d] for s in settings)) for d in range(2))
    result, visited = pooled(x, rows, columns, torch.max)
    assert torch.equal(result, expected)
    assert total_of(layer, x).element_wise_ops == visited


@pytest.mark.parametrize("options", POOLS)
def test_average_pooling_visits_what_its_windows_cover(options: dict[str, Any]) -> None:
    layer, x = nn.AvgPool2d(**options, count_include_pad=False), torch.randn(2, 2, 7, 8)
    expected = layer(x)
    settings = (layer.kernel_size, layer.stride, layer.padding, 1)
    rows, columns = (windows(x.shape[2 + d], expected.shape[2 + d], *(pair(s)[d] for s in settings)) for d in range(2))
    result, visited = pooled(x, rows, columns, torch.mean)
    assert torch.allclose(result, expected, atol=1e-6)
    assert total_of(layer, x).element_wise_ops == visited


@pytest.mark.parametrize("out", [(1, 1), (3, 4), (7, 8), (5, 3), (None, 2), (9, 11)])
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_adaptive_pooling_visits_its_uneven_windows(out: tuple[int | None, int], kind: str) -> None:
    layer = (nn.AdaptiveAvgPool2d if kind == "avg" else nn.AdaptiveMaxPool2d)(out)
    x = torch.randn(2, 2, 7, 8)
    rows, columns = adaptive_windows(7, out[0] or 7), adaptive_windows(8, out[1])
    result, visited = pooled(x, rows, columns, torch.mean if kind == "avg" else torch.max)
    assert torch.allclose(result, layer(x), atol=1e-6)
    assert total_of(layer, x).element_wise_ops == visited


@pytest.mark.parametrize(
    ("layer", "shape", "visited"),
    [
        (nn.MaxPool1d(3), (2, 3, 9), 2 * 3 * 9),
        (nn.AvgPool1d(3, stride=1), (2, 3, 9), 2 * 3 * 7 * 3),
        (nn.AvgPool1d(3, padding=1, stride=1), (2, 3, 9), 2 * 3 * (9 * 3 - 2)),
        (nn.MaxPool3d(2), (1, 3, 4, 6, 8), 3 * 4 * 6 * 8),
        (nn.AvgPool3d((1, 2, 2)), (1, 3, 4, 6, 8), 3 * 4 * 6 * 8),
        (nn.AdaptiveAvgPool1d(3), (2, 3, 7), 2 * 3 * (3 + 3 + 3)),
        (nn.AdaptiveAvgPool3d(1), (1, 3, 4, 6, 8), 3 * 4 * 6 * 8),
        (nn.MaxPool2d(2), (3, 6, 8), 3 * 6 * 8),
        (nn.MaxPool2d(2, return_indices=True), (1, 3, 6, 8), 3 * 6 * 8),
        (nn.MaxPool2d(2, stride=4), (1, 3, 8, 8), 3 * 2 * 2 * 2 * 2),
    ],
)
def test_pooling_of_other_ranks(layer: nn.Module, shape: tuple[int, ...], visited: int) -> None:
    assert total_of(layer, shape).element_wise_ops == visited


def test_a_fused_activation_costs_no_more_than_one_an_element() -> None:
    for layer in (nn.SiLU(), nn.Mish(), nn.Softplus(), nn.ELU(), nn.Hardsigmoid(), nn.LogSigmoid(), nn.ReLU6()):
        assert total_of(layer, X).element_wise_ops == N, layer


UNSHAPED = (nn.Identity, nn.Tanh, nn.Softmin, nn.Softshrink, nn.Hardshrink, nn.Softsign, nn.Tanhshrink, nn.RReLU)
SHAPED = (
    *(nn.Flatten(), nn.Unflatten(1, (2, 2)), nn.ReflectionPad2d(1), nn.ReplicationPad2d(1), nn.ZeroPad2d(1)),
    *(nn.CircularPad2d(1), nn.LPPool2d(2, 2), nn.PixelShuffle(2), nn.PixelUnshuffle(2), nn.ChannelShuffle(2)),
    *(nn.LocalResponseNorm(2), nn.RMSNorm(8), nn.Unfold(2), nn.Dropout2d(), nn.FeatureAlphaDropout(), nn.CELU()),
    *(nn.CrossMapLRN2d(2), nn.UpsamplingBilinear2d(scale_factor=2), nn.Hardtanh(), nn.Threshold(0.1, 2.0)),
)


@pytest.mark.parametrize("train", [True, False])
def test_no_layer_of_torch_is_uncounted(train: bool) -> None:
    for layer in (*(kind() for kind in UNSHAPED), *SHAPED):
        assert not profile_of(layer, X, mode="train" if train else "eval").uncounted, layer


def test_unpooling_is_counted() -> None:
    def unpool(x: Tensor) -> Tensor:
        small, places = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(small, places, 2)

    total = total_of(unpool, (1, 3, 8, 8))
    assert total.memory_access == (3 * 64 + 2 * 3 * 16) + (2 * 3 * 16 + 3 * 64)
