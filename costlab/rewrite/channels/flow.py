"""Where the channels of a network go: rules that carry the labels of channels through each operator.

A rule gives the labels of an operator's outputs and ties labels that can only be removed together. Where labels are
lost, they are tied to a reason, and an axis without labels never shrinks.
"""

import math
from collections.abc import Callable

import numpy as np
import torch

from costlab.core.cost import FAMILY_OF
from costlab.rewrite.channels.labels import Axis, Labels, Operand, Step, Ties

Rule = Callable[[Ties, Step], "list[Axis | None]"]


def flow(ties: Ties, step: Step) -> list[Axis | None]:
    """The labels of the results of an operator."""
    if all(o.axis is None and o.weight is None for o in step.operands.values()):
        return [None] * len(step.shapes)
    rule = RULES.get(step.kind) or FAMILY_RULES.get(FAMILY_OF.get(step.kind, ""), unknown)
    return rule(ties, step)


def unknown(ties: Ties, step: Step) -> list[Axis | None]:
    """Labels are lost."""
    for operand in step.operands.values():
        ties.keep(operand, f"{step.kind} in {step.where} reads it")
    return [None] * len(step.shapes)


def first_of(step: Step) -> Operand:
    """The first tensor that an operator reads."""
    return next(iter(step.operands.values()))


def element_wise(ties: Ties, step: Step) -> list[Axis | None]:
    """Channels at the same position of a broadcast shape are tied."""
    rank = max((len(shape) for shape in step.shapes), default=0)
    main = next((o for o in step.operands.values() if o.axis is not None), None)
    if main is None or main.axis is None or any(len(shape) != rank for shape in step.shapes):
        return unknown(ties, step)
    axis, labels = main.axis.axis + rank - len(main.shape), main.axis.labels
    for operand in step.operands.values():
        own = axis - (rank - len(operand.shape))
        if operand is main or own < 0 or operand.shape[own] == 1:
            continue
        if operand.axis is None and operand.weight is not None:
            ties.tie(labels, ties.weight(operand, own))
        else:
            ties.tie(labels, ties.along(operand, own, f"{step.kind} in {step.where} with a tensor of fixed size"))
    return [Axis(axis, labels) if shape[axis] == len(labels) else None for shape in step.shapes]


def convolution(ties: Ties, step: Step) -> list[Axis | None]:
    """Inputs are tied to the weight's inputs; outputs begin. All channels of one group are tied."""
    x, weight, bias = (step.operands.get(name) for name in ("input", "weight", "bias"))
    if x is None or weight is None or weight.weight is None:
        return unknown(ties, step)
    transposed = step.kind.startswith("conv_transpose")
    groups = int(step.attrs.get("groups", 1))
    axis = len(x.shape) - len(weight.shape) + 1
    inputs = ties.along(x, axis, f"{step.where} reads a tensor of fixed size")
    if groups == 1:
        ties.tie(inputs, ties.weight(weight, 0 if transposed else 1))
        outputs = ties.weight(weight, 1 if transposed else 0)
        ties.produced.setdefault(weight.weight, 1 if transposed else 0)
    elif transposed:
        ties.tie(inputs, ties.weight(weight, 0))
        ties.tie_all(inputs.reshape(groups, -1).T)
        outputs = np.repeat(inputs.reshape(groups, -1)[:, 0], weight.shape[1])
    else:
        outputs = ties.weight(weight, 0)
        ties.tie_all(np.concatenate([inputs.reshape(groups, -1), outputs.reshape(groups, -1)], 1).T)
        ties.produced.setdefault(weight.weight, 0)
    tie_bias(ties, bias, outputs)
    return [Axis(axis, outputs)]


def tie_bias(ties: Ties, bias: Operand | None, outputs: Labels) -> None:
    """A bias goes with its outputs."""
    if bias is not None and bias.weight is not None:
        ties.tie(outputs, ties.weight(bias, 0))
    elif bias is not None:
        ties.tie(outputs, np.array(ties.reason("its bias is computed")))


def linear(ties: Ties, step: Step) -> list[Axis | None]:
    """As a convolution, along the last axis."""
    x, weight, bias = (step.operands.get(name) for name in ("input", "weight", "bias"))
    if x is None or weight is None or weight.weight is None:
        return unknown(ties, step)
    last = len(x.shape) - 1
    outputs = ties.weight(weight, 0)
    tie_bias(ties, bias, outputs)
    ties.produced.setdefault(weight.weight, 0)
    if x.axis is not None and x.axis.axis != last:  # it mixes positions, channel by channel
        text = f"{step.where} works along another axis"
        ties.tie(outputs, np.array(ties.reason(text)))
        ties.tie(ties.weight(weight, 1), np.array(ties.reason(text)))
        return [x.axis]
    ties.tie(ties.along(x, last, f"{step.where} reads a tensor of fixed size"), ties.weight(weight, 1))
    return [Axis(last, outputs)]


def embedding(ties: Ties, step: Step) -> list[Axis | None]:
    """The columns of the table begin channels."""
    weight = step.operands.get("weight")
    if weight is None or weight.weight is None:
        return unknown(ties, step)
    ties.produced.setdefault(weight.weight, 1)
    return [Axis(len(step.shapes[0]) - 1, ties.weight(weight, 1))]


def channel_norm(ties: Ties, step: Step) -> list[Axis | None]:
    """Batch and instance norm: statistics, weight and bias go with their channel."""
    x, *others = step.operands.values()
    if x.axis is None or x.axis.axis != 1:
        return unknown(ties, step)
    for operand in others:
        if operand.weight is not None:
            ties.tie(x.axis.labels, ties.weight(operand, 0))
        else:
            ties.keep(x, f"{step.kind} in {step.where} has a computed weight")
    return [x.axis]


def group_norm(ties: Ties, step: Step) -> list[Axis | None]:
    """The same, with as many channels removed from each group; what remains is normalised without them."""
    result = channel_norm(ties, step)
    if result[0] is not None:
        labels = result[0].labels
        ties.tie_all(labels.reshape(int(step.attrs["num_groups"]), -1))
        ties.mixed.append(labels)
    return result


def layer_norm(ties: Ties, step: Step) -> list[Axis | None]:
    """Weight and bias go with their channel; what remains is normalised without what is removed."""
    x, *others = step.operands.values()
    first = len(x.shape) - len(step.attrs["normalized_shape"])
    if x.axis is None:
        return unknown(ties, step)
    if x.axis.axis < first:
        return [x.axis]
    if not others or any(o.weight is None for o in others):
        ties.keep(x, f"{step.kind} in {step.where} has a fixed size")
        return [x.axis]
    for operand in others:
        ties.tie(x.axis.labels, ties.weight(operand, x.axis.axis - first))
    ties.mixed.append(x.axis.labels)
    return [x.axis]


def softmax(ties: Ties, step: Step) -> list[Axis | None]:
    """Along channels, each depends on all."""
    x = first_of(step)
    if x.axis is not None and step.attrs.get("dim", -1) % len(x.shape) == x.axis.axis:
        ties.mixed.append(x.axis.labels)
    return [x.axis]


def prelu(ties: Ties, step: Step) -> list[Axis | None]:
    """One slope, or one for each channel."""
    x, slope = step.operands.values()
    if x.axis is not None and slope.weight is not None and math.prod(slope.shape) > 1:
        if x.axis.axis != 1:
            return unknown(ties, step)
        ties.tie(x.axis.labels, ties.weight(slope, 0))
    return [x.axis]


def channel_by_channel(ties: Ties, step: Step) -> list[Axis | None]:
    """Pooling, resizing and padding along other axes."""
    x = first_of(step)
    if x.axis is None or any(len(s) != len(x.shape) or s[x.axis.axis] != len(x.axis.labels) for s in step.shapes):
        return unknown(ties, step)
    return [x.axis] * len(step.shapes)


def padding(ties: Ties, step: Step) -> list[Axis | None]:
    """Along channels, zeros are added that stay; along other axes channels stay what they are."""
    x = first_of(step)
    along = x.axis is not None and step.shapes[0][x.axis.axis] != len(x.axis.labels)
    return (movement if along else channel_by_channel)(ties, step)


def reduction(ties: Ties, step: Step) -> list[Axis | None]:
    """Channels outlive a sum over other axes; over channels itself, the result does not shrink."""
    x = first_of(step)
    if len(step.operands) > 1:  # max(x, y)
        return element_wise(ties, step)
    if x.axis is None or "dim" not in step.attrs:
        return unknown(ties, step)
    rank, dim = len(x.shape), step.attrs["dim"]
    dims = range(rank) if dim is None or dim == [] else [d % rank for d in ([dim] if isinstance(dim, int) else dim)]
    if x.axis.axis in dims:
        if step.kind != "sum":
            ties.mixed.append(x.axis.labels)
        return [None] * len(step.shapes)
    axis = x.axis.axis if step.attrs.get("keepdim") else x.axis.axis - sum(d < x.axis.axis for d in dims)
    return [Axis(axis, x.axis.labels)] * len(step.shapes)


def movement(ties: Ties, step: Step) -> list[Axis | None]:
    """Views and copies move labels as they move elements: the operator itself runs on a tensor of labels."""
    axes = {name: axis_of(ties, operand) for name, operand in step.operands.items()}
    if all(axis is None for axis in axes.values()):
        return unknown(ties, step)
    fixed = ties.reason(f"{step.kind} in {step.where} joins it with a tensor of fixed size")

    def labels(name: str) -> torch.Tensor:
        operand, axis = step.operands[name], axes[name]
        if axis is None:
            return torch.tensor(fixed).expand(operand.shape)
        shape = [1] * len(operand.shape)
        shape[axis.axis] = -1
        return torch.from_numpy(axis.labels).reshape(shape).expand(operand.shape)

    try:
        results = step.rerun(labels)
    except (RuntimeError, TypeError):
        return unknown(ties, step)
    return [varying(ties, result) for result in results]


def axis_of(ties: Ties, operand: Operand) -> Axis | None:
    """The labels of a tensor; those of a weight are along its only axis that is not 1."""
    if operand.axis is not None or operand.weight is None:
        return operand.axis
    long = [axis for axis, size in enumerate(operand.shape) if size > 1]
    return Axis(long[0], ties.weight(operand, long[0])) if len(long) == 1 else None


def varying(ties: Ties, labels: torch.Tensor) -> Axis | None:
    """The axis along which labels differ; if there are several, the longest, with the labels along the others tied."""
    for dim in range(labels.dim()):
        if labels.shape[dim] > 1 and (labels.stride(dim) == 0 or bool((labels == labels.narrow(dim, 0, 1)).all())):
            labels = labels.narrow(dim, 0, 1)
    long = [dim for dim in range(labels.dim()) if labels.shape[dim] > 1]
    if not long:
        return None
    lines = {dim: labels.movedim(dim, -1).reshape(-1, labels.shape[dim]) for dim in long}
    axis = max(long, key=lambda dim: (len(lines[dim][0].unique()), dim))
    rows = lines[axis].unique(dim=0).numpy() if len(long) > 1 else lines[axis].numpy()
    ties.tie_all(rows)
    return Axis(axis, rows[0])


def shuffle(ties: Ties, step: Step) -> list[Axis | None]:
    """Each of several groups keeps the same size."""
    x = first_of(step)
    if x.axis is not None and x.axis.axis == 1:
        ties.tie_all(x.axis.labels.reshape(int(step.attrs["groups"]), -1))
    return movement(ties, step)


def chunk(ties: Ties, step: Step) -> list[Axis | None]:
    """Equal parts stay equal: channels at the same place in each part are tied."""
    x = first_of(step)
    if x.axis is None or step.attrs.get("dim", 0) % len(x.shape) != x.axis.axis:
        return movement(ties, step)
    if len({shape[x.axis.axis] for shape in step.shapes}) > 1:
        return unknown(ties, step)
    parts = x.axis.labels.reshape(len(step.shapes), -1)
    ties.tie_all(parts)
    return [Axis(x.axis.axis, part) for part in parts]


def cut(ties: Ties, step: Step) -> list[Axis | None]:
    """A part of fixed size along another axis; along channels, they cannot be removed."""
    x = first_of(step)
    if x.axis is not None and step.attrs.get("dim", 0) % len(x.shape) == x.axis.axis:
        whole = all(len(s) == len(x.shape) and s[x.axis.axis] == len(x.axis.labels) for s in step.shapes)
        if not whole:
            ties.keep(x, f"{step.kind} in {step.where} cuts it into parts of fixed size")
            return [None] * len(step.shapes)
    return movement(ties, step)


def same(ties: Ties, step: Step) -> list[Axis | None]:
    """The result has the shape of the first operand."""
    x = first_of(step)
    if x.axis is None and x.weight is not None:
        return unknown(ties, step)
    return [x.axis if shape == x.shape else None for shape in step.shapes]


def each(kinds: str, rule: Rule) -> dict[str, Rule]:
    """A rule for several kinds of operators."""
    return dict.fromkeys(kinds.split(), rule)


RULES: dict[str, Rule] = {
    **each("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d", convolution),
    **each("linear", linear),
    **each("embedding", embedding),
    **each("batch_norm instance_norm", channel_norm),
    **each("group_norm", group_norm),
    **each("layer_norm rms_norm", layer_norm),
    **each("softmax log_softmax", softmax),
    **each("prelu", prelu),
    **each("to contiguous clone dropout feature_dropout detach alias fill zero zeros_like ones_like", same),
    **each("copy", element_wise),
    **each("pad constant_pad_nd", padding),
    **each(
        " ".join(f"{name}_pad{d}d" for name in ("reflection", "replication") for d in (1, 2, 3)), channel_by_channel
    ),
    **each("sum mean amax amin prod norm vector_norm logsumexp nansum nanmean var std var_mean std_mean", reduction),
    **each("max min", reduction),
    **each("channel_shuffle native_channel_shuffle", shuffle),
    **each("chunk", chunk),
    **each("split split_with_sizes tensor_split narrow slice select unbind diagonal as_strided", cut),
    **each("cdist addr cross", unknown),
}
FAMILY_RULES: dict[str, Rule] = {
    "element_wise": element_wise,
    "pooling": channel_by_channel,
    "interpolation": channel_by_channel,
    "copy": movement,
}
