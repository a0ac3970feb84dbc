"""Mult-adds of every contraction, against products written out by hand."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import only, profile_of, total_of
from torch import nn

from costlab.core.cost import FAMILIES, RULES
from costlab.tracing.decompositions import multi_head_attention, transformer_encoder_layer

# network, input shapes, mult-adds: batch * outputs * positions * one group's inputs * kernel
CONVOLUTIONS = {
    "2d": (nn.Conv2d(18, 120, 3), (2, 18, 8, 10), 2 * 120 * 6 * 8 * 18 * 3 * 3),
    "1d": (nn.Conv1d(5, 7, 4), (3, 5, 11), 3 * 7 * 8 * 5 * 4),
    "3d": (nn.Conv3d(2, 3, (1, 2, 3)), (2, 2, 4, 5, 6), 2 * 3 * 4 * 4 * 4 * 2 * 1 * 2 * 3),
    "1x1": (nn.Conv2d(24, 16, 1, bias=False), (1, 24, 7, 7), 16 * 7 * 7 * 24),
    "padded": (nn.Conv2d(3, 4, 3, padding=1), (1, 3, 5, 5), 4 * 5 * 5 * 3 * 3 * 3),
    "strided": (nn.Conv2d(3, 4, 3, stride=2, padding=1), (1, 3, 9, 7), 4 * 5 * 4 * 3 * 3 * 3),
    "dilated": (nn.Conv2d(3, 4, 3, dilation=2), (1, 3, 9, 9), 4 * 5 * 5 * 3 * 3 * 3),
    "grouped": (nn.Conv2d(12, 18, 3, groups=3), (1, 12, 5, 5), 18 * 3 * 3 * (12 // 3) * 3 * 3),
    "depthwise": (nn.Conv2d(12, 12, 3, padding=1, groups=12), (2, 12, 5, 5), 2 * 12 * 5 * 5 * 1 * 3 * 3),
    "depthwise, two outputs a channel": (nn.Conv2d(12, 24, 3, groups=12), (1, 12, 5, 5), 24 * 3 * 3 * 1 * 3 * 3),
    "padding='same'": (nn.Conv2d(6, 8, (3, 2), padding="same", dilation=2), (2, 6, 8, 8), 2 * 8 * 8 * 8 * 6 * 3 * 2),
    "reflected padding": (nn.Conv2d(6, 8, 3, padding=1, padding_mode="reflect"), (1, 6, 8, 8), 8 * 8 * 8 * 6 * 3 * 3),
    "without a batch": (nn.Conv2d(18, 120, 3), (18, 8, 8), 120 * 6 * 6 * 18 * 3 * 3),
    "functional": (lambda x: F.conv2d(x, torch.ones(4, 3, 2, 2)), (1, 3, 5, 5), 4 * 4 * 4 * 3 * 2 * 2),
    # A transposed one spreads every input over the kernel and one group's outputs.
    "transposed": (nn.ConvTranspose2d(6, 8, 3, stride=2), (2, 6, 5, 4), 2 * 6 * 5 * 4 * 8 * 3 * 3),
    "transposed, grouped": (
        nn.ConvTranspose2d(6, 8, 3, stride=2, groups=2, output_padding=1),
        (2, 6, 5, 5),
        2 * 6 * 5 * 5 * (8 // 2) * 3 * 3,
    ),
    "transposed 1d without a batch": (nn.ConvTranspose1d(6, 8, 3, stride=2), (6, 5), 6 * 5 * 8 * 3),
    "transposed 3d": (nn.ConvTranspose3d(2, 3, 2), (1, 2, 3, 4, 5), 2 * 3 * 4 * 5 * 3 * 2 * 2 * 2),
}


@pytest.mark.parametrize(("network", "shape", "mult_adds"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_convolutions(network: Any, shape: tuple[int, ...], mult_adds: int) -> None:
    assert total_of(network, shape).mult_adds == mult_adds


def loops(x: torch.Tensor, w: torch.Tensor, stride: int, padding: int, dilation: int) -> tuple[torch.Tensor, int]:
    """A grouped 2d convolution one multiplication at a time: its result, and how many there were."""
    n, c, height, width = x.shape
    o, i, kh, kw = w.shape
    padded = torch.zeros(n, c, height + 2 * padding, width + 2 * padding)
    padded[:, :, padding : padding + height, padding : padding + width] = x
    out_h = (padded.shape[2] - dilation * (kh - 1) - 1) // stride + 1
    out_w = (padded.shape[3] - dilation * (kw - 1) - 1) // stride + 1
    result, count = torch.zeros(n, o, out_h, out_w), 0
    outputs_per_group = o // (c // i)
    cells = product(range(n), range(o), range(out_h), range(out_w), range(i), range(kh), range(kw))
    for b, f, y, z, channel, dy, dz in cells:
        source = f // outputs_per_group * i + channel
        result[b, f, y, z] += (
            w[f, channel, dy, dz] * padded[b, source, y * stride + dy * dilation, z * stride + dz * dilation]
        )
        count += 1
    return result, count


@pytest.mark.parametrize(
    ("groups", "stride", "padding", "dilation"), [(1, 1, 0, 1), (2, 2, 1, 1), (4, 1, 2, 2), (1, 3, 1, 1)]
)
def test_a_convolution_costs_the_multiplications_of_its_loops(
    groups: int, stride: int, padding: int, dilation: int
) -> None:
    layer = nn.Conv2d(4, 8, (3, 2), stride, padding, dilation, groups, bias=False)
    x = torch.randn(1, 4, 6, 5)
    result, count = loops(x, layer.weight.detach(), stride, padding, dilation)
    assert torch.allclose(result, layer(x), atol=1e-5)
    assert total_of(layer, x).mult_adds == count


def test_a_transposed_convolution_costs_the_multiplications_of_its_loops() -> None:
    layer = nn.ConvTranspose2d(4, 6, (2, 3), stride=2, groups=2, bias=False)
    x, w = torch.randn(1, 4, 3, 4), layer.weight.detach()
    result, count = torch.zeros(1, 6, 6, 9), 0
    for i, y, z, o, dy, dz in product(range(4), range(3), range(4), range(3), range(2), range(3)):
        result[0, i // 2 * 3 + o, 2 * y + dy, 2 * z + dz] += x[0, i, y, z] * w[i, o, dy, dz]
        count += 1
    assert torch.allclose(result, layer(x), atol=1e-5)
    assert total_of(layer, x).mult_adds == count


# function, input shapes, mult-adds: outputs * summands
PRODUCTS = {
    "linear": (nn.Linear(7, 5), [(2, 7)], 2 * 5 * 7),
    "linear, rank 1": (nn.Linear(7, 5), [(7,)], 5 * 7),
    "linear, rank 4": (nn.Linear(7, 5, bias=False), [(2, 3, 4, 7)], 2 * 3 * 4 * 5 * 7),
    "mm": (torch.mm, [(3, 4), (4, 5)], 3 * 5 * 4),
    "bmm": (torch.bmm, [(2, 3, 4), (2, 4, 5)], 2 * 3 * 5 * 4),
    "matrix times vector": (torch.matmul, [(3, 4), (4,)], 3 * 4),
    "vector times matrix": (torch.matmul, [(4,), (4, 5)], 5 * 4),
    "vector times vector": (torch.matmul, [(4,), (4,)], 4),
    "mv": (torch.mv, [(3, 4), (4,)], 3 * 4),
    "dot": (torch.dot, [(4,), (4,)], 4),
    "matmul, both broadcast": (torch.matmul, [(2, 1, 3, 4), (6, 4, 5)], 2 * 6 * 3 * 5 * 4),
    "matmul, vector times batch": (torch.matmul, [(4,), (6, 4, 5)], 6 * 5 * 4),
    "matmul, batch times vector": (torch.matmul, [(6, 5, 4), (4,)], 6 * 5 * 4),
    "addmm": (torch.addmm, [(5,), (3, 4), (4, 5)], 3 * 5 * 4),
    "addmv": (torch.addmv, [(3,), (3, 4), (4,)], 3 * 4),
    "baddbmm": (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 2 * 3 * 5 * 4),
    "addbmm sums over the batch": (torch.addbmm, [(3, 5), (2, 3, 4), (2, 4, 5)], 2 * 3 * 5 * 4),
    "tensordot": (lambda x, y: torch.tensordot(x, y, dims=2), [(2, 3, 4), (3, 4, 5)], 2 * 5 * 3 * 4),
    "inner": (torch.inner, [(2, 4), (3, 4)], 2 * 3 * 4),
    "chain": (lambda x, y, z: torch.linalg.multi_dot([x, y, z]), [(2, 4), (4, 5), (5, 6)], 2 * 4 * 5 + 2 * 5 * 6),
    "matrix power": (lambda x: torch.linalg.matrix_power(x, 3), [(4, 4)], 4 * 4 * 4 + 4 * 4 * 4),
    "bilinear": (nn.Bilinear(3, 4, 5), [(2, 6, 3), (2, 6, 4)], 2 * 6 * 5 * 3 * 4 + 2 * 6 * 5 * 4),
    "affine grid": (lambda t: F.affine_grid(t, (2, 3, 4, 5), align_corners=False), [(2, 2, 3)], 2 * 4 * 5 * 2 * 3),
    "an outer product sums nothing": (torch.outer, [(4,), (5,)], 0),
    "a Kronecker product sums nothing": (torch.kron, [(2, 4), (3, 4)], 0),
}


@pytest.mark.parametrize(("function", "shapes", "mult_adds"), PRODUCTS.values(), ids=PRODUCTS)
def test_matrix_products(function: Any, shapes: list[tuple[int, ...]], mult_adds: int) -> None:
    assert total_of(function, *shapes).mult_adds == mult_adds


GROUPED = {
    "rows meet their group's matrix": ([(6, 8), (3, 8, 16)], [2, 4, 6], 6 * 8 * 16),
    "groups of summands": ([(8, 6), (6, 16)], [2, 4, 6], 8 * 6 * 16),
    "groups of columns": ([(3, 8, 16), (16, 6)], [2, 4, 6], 8 * 16 * 6),
    "a batch": ([(3, 4, 8), (3, 8, 16)], None, 3 * 4 * 8 * 16),
}


@pytest.mark.parametrize(("shapes", "ends", "mult_adds"), GROUPED.values(), ids=GROUPED)
def test_grouped_matrix_products(shapes: list[tuple[int, ...]], ends: list[int] | None, mult_adds: int) -> None:
    a, b = (torch.empty(shape, device="meta", dtype=torch.bfloat16) for shape in shapes)
    offsets = None if ends is None else torch.tensor(ends, dtype=torch.int32)
    assert total_of(lambda x, y: torch._grouped_mm(x, y, offs=offsets), a, b).mult_adds == mult_adds


# equation, shapes, mult-adds, element-wise operations
EINSUMS = [
    ("ij,jk->ik", [(3, 4), (4, 5)], 3 * 4 * 5, 0),
    ("ij,jk", [(3, 4), (4, 5)], 3 * 4 * 5, 0),  # implicit: what occurs once, in alphabetical order
    ("ba,ab", [(3, 4), (4, 3)], 3 * 4, 0),
    ("bhqd,bhkd->bhqk", [(2, 3, 5, 4), (2, 3, 6, 4)], 2 * 3 * 5 * 6 * 4, 0),
    ("...ij,...jk->...ik", [(2, 6, 3, 4), (6, 4, 5)], 2 * 6 * 3 * 4 * 5, 0),  # broadcast batch
    ("...d,d->...", [(2, 3, 4), (4,)], 2 * 3 * 4, 0),
    ("b...,b...->b", [(2, 3, 4), (2, 3, 4)], 2 * 3 * 4, 0),
    ("ij,ij->", [(3, 4), (3, 4)], 3 * 4, 0),
    ("ij,jk,kl->il", [(3, 4), (4, 5), (5, 6)], 3 * 4 * 5 + 3 * 5 * 6, 0),
    ("bn,anm,bm->ba", [(2, 5), (3, 5, 4), (2, 4)], 2 * 3 * 5 * 4 + 2 * 3 * 4, 0),
    ("ii,ij->j", [(4, 4), (4, 5)], 4 * 5, 0),  # a diagonal, then a product
    ("i,j->ij", [(3,), (5,)], 0, 3 * 5),  # an outer product
    ("ij,ij->ij", [(3, 4), (3, 4)], 0, 3 * 4),
    ("a,b,c->abc", [(2,), (3,), (4,)], 0, 2 * 3 + 2 * 3 * 4),
    ("ij,jk,j->ik", [(3, 4), (4, 5), (4,)], 3 * 4 * 5, 3 * 4 * 5),  # j is needed later: nothing is summed at first
    ("ij,kl->il", [(3, 4), (5, 6)], 0, 3 * 4 + 5 * 6 + 3 * 6),  # j and k are summed alone
    ("ii->", [(4, 4)], 0, 4),  # a trace
    ("ij->j", [(3, 4)], 0, 3 * 4),
    ("ii->i", [(4, 4)], 0, 0),  # a view of the diagonal
    ("ij->ji", [(3, 4)], 0, 0),
]


@pytest.mark.parametrize(("equation", "shapes", "mult_adds", "element_wise"), EINSUMS, ids=[e[0] for e in EINSUMS])
def test_einsum(equation: str, shapes: list[tuple[int, ...]], mult_adds: int, element_wise: int) -> None:
    total = total_of(lambda *operands: torch.einsum(equation, *operands), *shapes)
    assert (total.mult_adds, total.element_wise_ops) == (mult_adds, element_wise)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("...i,ki->...k", [(0, 3), (0, 3)]),
        ("i...,i...->...", [(2, 1, 0, 1), (2, 1, 0, 1)]),
        ("aab,b->a", [(0, 0, 3), (3,)]),
    ],
)
def test_an_einsum_over_nothing_costs_nothing(equation: str, shapes: list[tuple[int, ...]]) -> None:
    total = total_of(lambda *operands: torch.einsum(equation, *operands), *map(torch.zeros, shapes))
    assert (total.mult_adds, total.element_wise_ops) == (0, 0)


sdpa = F.scaled_dot_product_attention

# function, shapes of q [n, h, l, e], k [n, h, s, e], v [n, h, s, f], mult-adds: n h l s (e + f)
ATTENTIONS = {
    "own length of keys, own width of values": (
        sdpa,
        [(2, 4, 5, 8), (2, 4, 6, 8), (2, 4, 6, 7)],
        2 * 4 * 5 * 6 * (8 + 7),
    ),
    "causal counts in full": (
        lambda q, k, v: sdpa(q, k, v, is_causal=True),
        [(2, 4, 5, 8)] * 3,
        2 * 4 * 5 * 5 * (8 + 8),
    ),
    "grouped queries": (
        lambda q, k, v: sdpa(q, k, v, enable_gqa=True),
        [(2, 4, 5, 8), (2, 2, 6, 8), (2, 2, 6, 8)],
        2 * 4 * 5 * 6 * (8 + 8),
    ),
    "one key head for all": (sdpa, [(2, 4, 5, 8), (2, 1, 6, 8), (2, 1, 6, 8)], 2 * 4 * 5 * 6 * (8 + 8)),
    "one query for the whole batch": (sdpa, [(1, 4, 5, 8), (2, 4, 6, 8), (2, 4, 6, 8)], 2 * 4 * 5 * 6 * (8 + 8)),
    "no keys in the batch, for which torch returns zeros": (
        lambda q, k, v: sdpa(q, k[:0], v[:0]),
        [(1, 4, 5, 8), (1, 4, 6, 8), (1, 4, 6, 8)],
        0,
    ),
    "without heads": (sdpa, [(2, 5, 8), (2, 6, 8), (2, 6, 8)], 2 * 5 * 6 * (8 + 8)),
    "masked": (
        lambda q, k, v, m: sdpa(q, k, v, attn_mask=m),
        [(2, 4, 5, 8), (2, 4, 6, 8), (2, 4, 6, 8), (5, 6)],
        2 * 4 * 5 * 6 * (8 + 8),
    ),
}


@pytest.mark.parametrize(("function", "shapes", "mult_adds"), ATTENTIONS.values(), ids=ATTENTIONS)
def test_attention(function: Any, shapes: list[tuple[int, ...]], mult_adds: int) -> None:
    profile = profile_of(function, *shapes)
    op, cost = only(profile, "scaled_dot_product_attention")
    assert cost.mult_adds == mult_adds == profile.mult_adds
    scores = mult_adds // (shapes[0][-1] + shapes[2][-1])
    assert cost.element_wise_ops == scores * (4 if op.find("attn_mask") else 3)


def test_attention_costs_the_two_products_it_is_made_of() -> None:
    shapes = [(2, 4, 5, 8), (2, 4, 6, 8), (2, 4, 6, 7)]
    written_out = total_of(lambda q, k, v: (q @ k.mT).softmax(-1) @ v, *shapes)
    fused = total_of(sdpa, *shapes)
    assert (fused.mult_adds, fused.element_wise_ops) == (written_out.mult_adds, written_out.element_wise_ops)
    assert fused.memory_access < written_out.memory_access  # the scores stay on the chip


# A batch of 3, length 5 (keys 6), width 8, 2 heads: three projections in, attention, one projection out.
SELF = 3 * 5 * 8 * 8 * 3 + 3 * 2 * 5 * 5 * (4 + 4) + 3 * 5 * 8 * 8
FEED = 3 * 5 * 8 * 16 + 3 * 5 * 16 * 8
CROSS = 3 * 5 * 8 * 8 + 3 * 6 * 8 * 8 * 2 + 3 * 2 * 5 * 6 * (4 + 4) + 3 * 5 * 8 * 8


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(("keys", "mult_adds"), [(5, SELF), (6, CROSS)])
def test_multihead_attention(keys: int, mult_adds: int, need_weights: bool) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    total = total_of(layer, (3, 5, 8), (3, keys, 8), (3, keys, 8), kwargs={"need_weights": need_weights})
    assert total.mult_adds == mult_adds


def test_multihead_attention_with_keys_and_values_of_other_widths() -> None:
    layer = nn.MultiheadAttention(8, 2, kdim=6, vdim=7, batch_first=True)
    inputs = 3 * 5 * 8 * 8 + 3 * 6 * 6 * 8 + 3 * 6 * 7 * 8
    total = total_of(layer, (3, 5, 8), (3, 6, 6), (3, 6, 7))
    assert total.mult_adds == inputs + 3 * 2 * 5 * 6 * (4 + 4) + 3 * 5 * 8 * 8


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("train", [True, False])
def test_encoder_layer(norm_first: bool, train: bool) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first)
    assert total_of(layer, (3, 5, 8), mode="train" if train else "eval").mult_adds == SELF + FEED


def test_decoder_layer() -> None:
    layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    assert total_of(layer, (3, 5, 8), (3, 6, 8)).mult_adds == SELF + CROSS + FEED


def projections(layer: nn.MultiheadAttention) -> tuple[torch.Tensor, ...]:
    return layer.in_proj_weight, layer.in_proj_bias, layer.out_proj.weight, layer.out_proj.bias


def attention_arguments(layer: nn.MultiheadAttention, x: torch.Tensor) -> tuple[Any, ...]:
    return x, x, x, 8, 2, *projections(layer)


def encoder_arguments(layer: nn.TransformerEncoderLayer, x: torch.Tensor) -> tuple[Any, ...]:
    norms = layer.norm1.weight, layer.norm1.bias, layer.norm2.weight, layer.norm2.bias
    feed_forward = layer.linear1.weight, layer.linear1.bias, layer.linear2.weight, layer.linear2.bias
    return x, 8, 2, *projections(layer.self_attn), False, layer.norm_first, 1e-5, *norms, *feed_forward


PADDING = torch.tensor([[False] * 5, [False] * 4 + [True], [False] * 3 + [True] * 2])
CAUSAL = torch.ones(5, 5, dtype=torch.bool).triu(1)
MASKS: list[dict[str, Any]] = [{}, {"mask": PADDING, "mask_type": 1}, {"mask": CAUSAL, "mask_type": 0}]


class FastPath(nn.Module):
    """A layer by torch's fused inference kernel."""

    def __init__(self, layer: nn.Module, arguments: Any, kernel: Any, **options: Any) -> None:
        super().__init__()
        self.layer, self.arguments, self.kernel, self.options = layer, arguments, kernel, options

    def forward(self, x: torch.Tensor) -> Any:
        return self.kernel(*self.arguments(self.layer, x), **self.options)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("need_weights", [True, False])
def test_the_fast_path_of_attention(mask: dict[str, Any], need_weights: bool) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    options = {**mask, "need_weights": need_weights}
    total = total_of(FastPath(layer, attention_arguments, torch._native_multi_head_attention, **options), (3, 5, 8))
    assert (total.mult_adds, total.unused_params) == (SELF, 0)
    x = torch.randn(3, 5, 8)
    with torch.inference_mode():
        fused = torch._native_multi_head_attention(*attention_arguments(layer, x), **options)
        ours = multi_head_attention(*attention_arguments(layer, x), **options)
    assert torch.allclose(ours[0], fused[0], atol=1e-5)
    assert not need_weights or torch.allclose(ours[1], fused[1], atol=1e-5)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("norm_first", [True, False])
def test_the_fast_path_of_an_encoder(mask: dict[str, Any], norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=norm_first).eval()
    kernel = torch._transformer_encoder_layer_fwd
    total = total_of(FastPath(layer, encoder_arguments, kernel, **mask), (3, 5, 8))
    assert (total.mult_adds, total.unused_params) == (SELF + FEED, 0)
    x = torch.randn(3, 5, 8)
    with torch.inference_mode():
        fused = kernel(*encoder_arguments(layer, x), **mask)
        ours = transformer_encoder_layer(*encoder_arguments(layer, x), **mask)
    assert torch.allclose(ours, fused, atol=1e-5)


# layer, input shape, mult-adds: steps * batch * (weights on the input and on the state), per layer and direction
RECURRENT = {
    "lstm": (nn.LSTM(3, 4), (5, 2, 3), 5 * 2 * (16 * 3 + 16 * 4)),
    "gru": (nn.GRU(3, 4), (5, 2, 3), 5 * 2 * (12 * 3 + 12 * 4)),
    "rnn": (nn.RNN(3, 4), (5, 2, 3), 5 * 2 * (4 * 3 + 4 * 4)),
    "rnn with relu": (nn.RNN(3, 4, nonlinearity="relu"), (5, 2, 3), 5 * 2 * (4 * 3 + 4 * 4)),
    "without biases": (nn.LSTM(3, 4, bias=False), (5, 2, 3), 5 * 2 * (16 * 3 + 16 * 4)),
    "without a batch": (nn.LSTM(3, 4), (5, 3), 5 * (16 * 3 + 16 * 4)),
    "batch first": (nn.GRU(3, 4, batch_first=True), (2, 5, 3), 2 * 5 * (12 * 3 + 12 * 4)),
    "two layers": (nn.LSTM(3, 4, num_layers=2), (5, 2, 3), 5 * 2 * (16 * 3 + 16 * 4 + 16 * 4 + 16 * 4)),
    "both directions": (nn.LSTM(3, 4, bidirectional=True), (5, 2, 3), 5 * 2 * 2 * (16 * 3 + 16 * 4)),
    "two layers, both directions": (
        nn.GRU(3, 4, num_layers=2, bidirectional=True),
        (5, 2, 3),
        5 * 2 * 2 * (12 * 3 + 12 * 4 + 12 * 8 + 12 * 4),
    ),
    "projected": (
        nn.LSTM(3, 4, num_layers=2, proj_size=2),
        (5, 2, 3),
        5 * 2 * (16 * 3 + 16 * 2 + 2 * 4 + 16 * 2 + 16 * 2 + 2 * 4),
    ),
    "lstm cell": (nn.LSTMCell(3, 4), (2, 3), 2 * (16 * 3 + 16 * 4)),
    "gru cell": (nn.GRUCell(3, 4), (2, 3), 2 * (12 * 3 + 12 * 4)),
    "rnn cell": (nn.RNNCell(3, 4), (2, 3), 2 * (4 * 3 + 4 * 4)),
    "rnn cell with relu, without a batch": (nn.RNNCell(3, 4, nonlinearity="relu"), (3,), 4 * 3 + 4 * 4),
}


@pytest.mark.parametrize(("layer", "shape", "mult_adds"), RECURRENT.values(), ids=RECURRENT)
def test_recurrent_layers(layer: nn.Module, shape: tuple[int, ...], mult_adds: int) -> None:
    total = total_of(layer, shape)
    assert total.mult_adds == mult_adds
    assert (total.params, total.unused_params) == (sum(p.numel() for p in layer.parameters()), 0)


class Packed(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        padded, lengths = nn.utils.rnn.pad_packed_sequence(self.layer(packed)[0], batch_first=True)
        return padded[torch.arange(padded.shape[1]) < lengths[:, None]]


@pytest.mark.parametrize(
    ("layer", "weights"),
    [
        (nn.LSTM(3, 4, batch_first=True, bidirectional=True), 2 * (16 * 3 + 16 * 4)),
        (nn.GRU(3, 4, batch_first=True), 12 * 3 + 12 * 4),
        (nn.RNN(3, 4, batch_first=True), 4 * 3 + 4 * 4),
    ],
    ids=["lstm", "gru", "rnn"],
)
def test_packed_sequences_cost_their_real_steps(layer: nn.Module, weights: int) -> None:
    profile = profile_of(Packed(layer), (3, 6, 3), torch.tensor([2, 5, 4]))
    assert profile.mult_adds == (2 + 5 + 4) * weights
    assert not profile.estimated
    assert not profile.uncounted
    real = Packed(layer)(torch.randn(3, 6, 3), torch.tensor([2, 5, 4]))
    assert profile.by_module()[""].output_shape == tuple(real.shape)


def lstm_step(x: torch.Tensor, h: torch.Tensor, c: torch.Tensor, w: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    i, f, g, o = (F.linear(x, w) + F.linear(h, u)).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh()


def gru_step(x: torch.Tensor, h: torch.Tensor, w: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    (xr, xz, xn), (hr, hz, hn) = F.linear(x, w).chunk(3, -1), F.linear(h, u).chunk(3, -1)
    r, z = (xr + hr).sigmoid(), (xz + hz).sigmoid()
    n = (xn + r * hn).tanh()
    return (1 - z) * n + z * h


def rnn_step(x: torch.Tensor, h: torch.Tensor, w: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    return (F.linear(x, w) + F.linear(h, u)).tanh()


@pytest.mark.parametrize(
    ("cell", "step", "states"),
    [
        (nn.LSTMCell(3, 4, bias=False), lstm_step, 2),
        (nn.GRUCell(3, 4, bias=False), gru_step, 1),
        (nn.RNNCell(3, 4, bias=False), rnn_step, 1),
    ],
    ids=["lstm", "gru", "rnn"],
)
def test_a_cell_costs_what_it_costs_written_out(cell: nn.Module, step: Any, states: int) -> None:
    weights = (cell.weight_ih.detach(), cell.weight_hh.detach())
    x, state = torch.randn(2, 3), [torch.randn(2, 4) for _ in range(states)]
    expected = cell(x, tuple(state) if states > 1 else state[0])
    assert torch.allclose(step(x, *state, *weights), expected[0] if states > 1 else expected, atol=1e-6)
    fused = total_of(cell, x, tuple(state) if states > 1 else state[0])
    written_out = total_of(step, x, *state, *weights)
    assert (fused.mult_adds, fused.element_wise_ops) == (written_out.mult_adds, written_out.element_wise_ops)


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
def test_a_recurrent_layer_costs_its_cells(layer: Any, options: dict[str, Any]) -> None:
    cell = {nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell, nn.RNN: nn.RNNCell}[layer]
    directions, layers = (2 if options.get("bidirectional") else 1), options.get("num_layers", 1)
    widths = [3] + [4 * directions] * (layers - 1)
    cells = [total_of(cell(width, 4), (2, width)) for width in widths for _ in range(directions)]
    total = total_of(layer(3, 4, **options), (5, 2, 3))
    assert total.mult_adds == 5 * sum(c.mult_adds for c in cells)
    assert total.element_wise_ops == 5 * sum(c.element_wise_ops for c in cells)


def test_a_projection_adds_no_element_wise_operations() -> None:
    plain, projected = (total_of(nn.LSTM(3, 16, proj_size=p), (5, 2, 3)) for p in (0, 12))
    assert plain.element_wise_ops == projected.element_wise_ops == 5 * 2 * 16 * 13


@pytest.mark.parametrize(
    ("function", "shapes", "activations"),
    [
        (nn.Conv2d(3, 4, 3), [(2, 3, 8, 8)], 2 * 4 * 6 * 6),
        (nn.ConvTranspose2d(3, 4, 3), [(2, 3, 8, 8)], 2 * 4 * 10 * 10),
        (nn.Linear(7, 5), [(2, 3, 7)], 2 * 3 * 5),
        (torch.matmul, [(2, 1, 3, 4), (6, 4, 5)], 2 * 6 * 3 * 5),
        (sdpa, [(2, 4, 5, 8)] * 3, 2 * 4 * 5 * 8),
        (nn.LSTM(3, 4), [(5, 2, 3)], 5 * 2 * 4),
        (lambda x: torch.einsum("ij,ij->ij", x, x), [(3, 4)], 0),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)), [(1, 3, 8, 8)], 4 * 8 * 8),
    ],
)
def test_activations_are_what_contractions_write(function: Any, shapes: list[Any], activations: int) -> None:
    assert total_of(function, *shapes).activations == activations


def test_complex_and_half_precision_count_as_any_other() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.complex64):
        x = torch.empty(2, 4, dtype=dtype, device="meta")
        assert total_of(nn.Linear(4, 5, dtype=dtype), x).mult_adds == 2 * 4 * 5


def test_a_kind_has_one_rule() -> None:
    assert sum(len(rules) for rules in FAMILIES.values()) == len(RULES)


def test_mult_adds_leave_out_biases() -> None:
    for layer in (nn.Conv2d, nn.ConvTranspose2d):
        with_bias, without = (total_of(layer(3, 4, 3, bias=bias), (1, 3, 8, 8)) for bias in (True, False))
        assert with_bias.mult_adds == without.mult_adds
        assert with_bias.memory_access == without.memory_access + 4


def test_flops_are_twice_the_mult_adds() -> None:
    total = total_of(nn.Linear(7, 5), (2, 7))
    assert total.flops == 2 * prod((2, 7, 5))
