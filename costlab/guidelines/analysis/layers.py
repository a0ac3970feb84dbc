"""Convolutions and linear layers by their widths, whatever operator computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import Op, Tensor

PRODUCTS = ("addmm", "matmul", "mm")


class Layer(NamedTuple):
    """Maps `inputs` channels to `outputs` channels, in so many groups."""

    inputs: int
    outputs: int
    groups: int
    positions_read: int  # batch and space together, or rows
    positions: int  # of the output
    moves: bool  # keeps no positions: strided or transposed
    reads_model_input: bool

    @property
    def depthwise(self) -> bool:
        """Every channel is a group of its own."""
        return 1 < self.groups == self.inputs


def layer_of(op: Op) -> Layer | None:
    """The layer that an operator computes; None where it is no convolution or linear layer with a weight."""
    if op.free or not op.outputs:
        return None
    if FAMILY_OF.get(op.kind) == "convolution":
        return convolution_of(op)
    if op.kind == "linear":
        return linear_of(op, transposed=True)
    if op.kind in PRODUCTS and len(op.inputs) > 1 and op.inputs[-1].role == "parameter":
        return linear_of(op, transposed=False)
    return None


def convolution_of(op: Op) -> Layer | None:
    """x [n, c1, ...] and weight [c2, c1/g, ...], or [c1, c2/g, ...] where it is transposed."""
    x, weight = op.find("input"), op.find("weight")
    if x is None or weight is None:
        return None
    spatial = len(weight.shape) - 2
    if spatial < 1 or min(len(x.shape), len(op.output.shape)) <= spatial:
        return None
    inputs, outputs = x.shape[-spatial - 1], op.output.shape[-spatial - 1]
    transposed = op.kind.startswith("conv_transpose")
    per_group = weight.shape[1]
    if not per_group or not inputs or not outputs:
        return None
    groups = (outputs if transposed else inputs) // per_group
    if not groups or inputs % groups or outputs % groups:
        return None
    stride = op.attrs.get("stride")
    strided = isinstance(stride, (list, tuple)) and any(step != 1 for step in stride)
    return Layer(
        inputs=inputs,
        outputs=outputs,
        groups=groups,
        positions_read=x.numel // inputs,
        positions=op.output.numel // outputs,
        moves=transposed or strided,
        reads_model_input=x.role == "input",
    )


def linear_of(op: Op, transposed: bool) -> Layer | None:
    """x [..., c1] and weight [c2, c1], or [c1, c2] where it is not transposed."""
    x, weight = (op.find("input"), op.find("weight")) if transposed else op.inputs[-2:]
    if x is None or weight is None or len(weight.shape) != 2:
        return None
    inputs, outputs = weight.shape[::-1] if transposed else weight.shape
    if not inputs or not outputs:
        return None
    return Layer(
        inputs, outputs, 1, x.numel // inputs, op.output.numel // outputs, False, reads_model_input=x.role == "input"
    )


def resized(op: Op, layer: Layer, inputs: int, outputs: int, groups: int) -> Op | None:
    """The operator of a layer with other widths and groups; None where it reads more than x, a weight and a bias."""
    if op.kind in PRODUCTS:
        *rest, x, weight = op.inputs
        sizes: tuple[int, ...] = (inputs, outputs)
        channel = -1
    else:
        x, weight = op["input"], op["weight"]
        rest = [t for t in op.inputs if t is not x and t is not weight]
        if any(t.name != "bias" for t in rest):
            return None
        transposed = op.kind.startswith("conv_transpose")
        first, second = (inputs, outputs) if transposed else (outputs, inputs)
        sizes = (first, second // groups, *weight.shape[2:])
        channel = 1 - len(weight.shape)
    changed = {
        **{t.name: with_channels(t, -1, outputs) for t in rest if t.shape and t.shape[-1] == layer.outputs},
        x.name: with_channels(x, channel, inputs),
        weight.name: with_shape(weight, sizes),
    }
    return replace(
        op,
        inputs=tuple(changed.get(t.name, t) for t in op.inputs),
        outputs=(with_channels(op.output, channel, outputs), *op.outputs[1:]),
        attrs={**op.attrs, "groups": groups} if groups != layer.groups else op.attrs,
    )


def with_channels(tensor: Tensor, dim: int, channels: int) -> Tensor:
    shape = list(tensor.shape)
    shape[dim] = channels
    return with_shape(tensor, shape)


def with_shape(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """The tensor in another size; broadcast dimensions stay as they are."""
    return tensor._replace(shape=tuple(shape), elements=tensor.elements * prod(shape) // max(1, tensor.numel))


def place_text(layer: Layer) -> str:
    """The widths of a layer in words: `144 to 24 channels in 3 groups at 3136 positions`."""
    groups = f" in {layer.groups} groups" if layer.groups > 1 else ""
    where = "position" if layer.positions == 1 else "positions"
    return f"{layer.inputs} to {layer.outputs} channels{groups} at {layer.positions} {where}"
