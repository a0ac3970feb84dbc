"""Convolutions and linear layers by their channels, whichever operator computes them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import Op, Tensor
from costlab.core.profile import Profile
from costlab.guidelines.model import Channels, Fix

PRODUCTS = ("addmm", "matmul", "mm")


class LayerShape(NamedTuple):
    """A layer that maps input channels to output channels."""

    inputs: int  # channels
    outputs: int  # channels
    groups: int
    positions_read: int  # batch x height x width of the input, or rows
    positions: int  # batch x height x width of the output, or rows
    changes_positions: bool  # strided or transposed
    reads_model_input: bool

    @property
    def depthwise(self) -> bool:
        """Whether every channel is a group."""
        return 1 < self.groups == self.inputs


def layer_shape(op: Op) -> LayerShape | None:
    """The layer that an operator computes; None if it is not a convolution or linear layer with a weight."""
    if op.free or not op.outputs:
        return None
    if FAMILY_OF.get(op.kind) == "convolution":
        return convolution_shape(op)
    if op.kind == "linear":
        return linear_shape(op, transposed=True)
    if op.kind in PRODUCTS and len(op.inputs) > 1 and op.inputs[-1].role == "parameter":
        return linear_shape(op, transposed=False)
    return None


def layers_of(profile: Profile, uncounted: bool = False) -> Iterator[tuple[int, Op, LayerShape]]:
    """The layers of a network with their positions; those without a cost only if `uncounted`."""
    for position, (op, cost) in enumerate(zip(profile.ops, profile.costs, strict=True)):
        layer = layer_shape(op)
        if layer is not None and (cost is not None or uncounted):
            yield position, op, layer


def convolution_shape(op: Op) -> LayerShape | None:
    """x [n, c1, ...] and weight [c2, c1/g, ...], or [c1, c2/g, ...] if transposed."""
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
    return LayerShape(
        inputs=inputs,
        outputs=outputs,
        groups=groups,
        positions_read=x.numel // inputs,
        positions=op.output.numel // outputs,
        changes_positions=transposed or strided,
        reads_model_input=x.role == "input",
    )


def linear_shape(op: Op, transposed: bool) -> LayerShape | None:
    """x [..., c1] and weight [c2, c1], or [c1, c2] if not transposed."""
    x, weight = (op.find("input"), op.find("weight")) if transposed else op.inputs[-2:]
    if x is None or weight is None or len(weight.shape) != 2:
        return None
    inputs, outputs = weight.shape[::-1] if transposed else weight.shape
    if not inputs or not outputs:
        return None
    return LayerShape(
        inputs, outputs, 1, x.numel // inputs, op.output.numel // outputs, False, reads_model_input=x.role == "input"
    )


def resized(op: Op, layer: LayerShape, inputs: int, outputs: int, groups: int) -> Op | None:
    """The operator of a layer with other channels and groups; None if it reads more than x, a weight and a bias."""
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
    if min(len(x.shape), len(op.output.shape)) < -channel:  # a saved profile may say so of a product
        return None
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


def resize_fix(op: Op, layer: LayerShape, inputs: int, outputs: int, groups: int) -> Fix | None:
    """The fix that gives a layer other channels and groups; None if it cannot be resized."""
    fits = resized(op, layer, inputs, outputs, groups)
    return Fix(resized={op.name: Channels(inputs, outputs, groups)}) if fits else None


def is_head(op: Op, profile: Profile) -> bool:
    """Whether an operator is a linear layer that writes what the network returns: the task decides its outputs."""
    return FAMILY_OF.get(op.kind) == "matmul" and any(t.storage in profile.trace.outputs for t in op.outputs)


def with_channels(tensor: Tensor, dim: int, channels: int) -> Tensor:
    """The tensor with another size of one dimension."""
    shape = list(tensor.shape)
    shape[dim] = channels
    return with_shape(tensor, shape)


def with_shape(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """The tensor with another shape; broadcast dimensions stay broadcast."""
    return tensor._replace(shape=tuple(shape), elements=tensor.elements * prod(shape) // max(1, tensor.numel))


def describe_layer(layer: LayerShape) -> str:
    """A layer as text: `144 to 24 channels in 3 groups at 3136 positions`."""
    groups = f" in {layer.groups} groups" if layer.groups > 1 else ""
    where = "position" if layer.positions == 1 else "positions"
    return f"{layer.inputs} to {layer.outputs} channels{groups} at {layer.positions} {where}"
