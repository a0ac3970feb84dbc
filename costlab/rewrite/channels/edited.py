"""The profile of a network without some of its channels, from its trace: only what changes is costed again."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from costlab.core.cost import RULES
from costlab.core.graph import ITEM_BYTES, Op, Tensor
from costlab.core.profile import Profile
from costlab.rewrite.channels.groups import Channels
from costlab.rewrite.channels.labels import Labels
from costlab.tracing._profile import cost_with_params

Axes = Mapping[int, Labels]  # the channels along the axes of a tensor


class Editor:
    """Makes profiles of one network with fewer channels."""

    def __init__(self, channels: Channels) -> None:
        self.channels = channels
        self.weights: dict[str, dict[int, Labels]] = {}
        for (name, axis), numbers in channels.weights.items():
            self.weights.setdefault(name, {})[axis] = numbers
        self.tensors = {op.name: self.tensor_axes(op) for op in channels.profile.ops}
        self.touching: dict[int, set[int]] = {}  # by channel: positions of the operators that change with it
        for position, op in enumerate(channels.profile.ops):
            for axes in self.tensors[op.name]:
                for numbers in axes.values():
                    for number in set(numbers.tolist()):
                        self.touching.setdefault(number, set()).add(position)
        self.first_reads = first_reads(channels.profile.ops)

    def tensor_axes(self, op: Op) -> list[Axes]:
        """The channels of every input, then of every output of an operator."""
        about = self.channels.ops.get(op.name)
        if about is None:
            return [{} for _ in (*op.inputs, *op.outputs)]
        inputs: list[Axes] = []
        for tensor in op.inputs:
            axis, weight = about.inputs.get(tensor.name), about.weights.get(tensor.name)
            inputs.append({axis.axis: axis.labels} if axis else self.weights.get(weight, {}) if weight else {})
        return [*inputs, *({axis.axis: axis.labels} if axis else {} for axis in about.outputs)]

    def without(
        self, removed: Collection[int], changed: Collection[int] | None = None, base: Profile | None = None
    ) -> Profile:
        """The profile without some channels.

        Args:
            removed: numbers of channels.
            changed: those among them that `base`, an edited profile, still has. Default: all, from the traced profile.
        """
        traced, keep = self.channels.profile, self.channels.mask(removed)
        ops, costs = list((base or traced).ops), list((base or traced).costs)
        positions = (self.touching.get(n, set()) for n in (removed if changed is None else changed))
        for position in sorted(set().union(*positions)):
            ops[position] = self.edited(position, keep)
            costs[position] = cost_with_params(ops[position], RULES)
        return replace(traced, trace=replace(traced.trace, ops=tuple(ops)), costs=tuple(costs))

    def edited(self, position: int, keep: np.ndarray) -> Op:
        """An operator with its tensors as small as the channels that stay."""
        op = self.channels.profile.ops[position]
        axes = iter(self.tensors[op.name])
        inputs = tuple(shrunk(tensor, next(axes), keep) for tensor in op.inputs)
        outputs = tuple(shrunk(tensor, next(axes), keep) for tensor in op.outputs)
        attrs = dict(op.attrs)
        if attrs.get("groups", 1) > 1:
            attrs["groups"] = attrs["groups"] * inputs[0].shape[1] // op.inputs[0].shape[1]
        if "normalized_shape" in attrs:
            attrs["normalized_shape"] = list(inputs[0].shape[-len(attrs["normalized_shape"]) :])
        gone = [
            (old.elements - new.elements, ITEM_BYTES[old.dtype])
            for old, new in zip(op.inputs, inputs, strict=True)
            if self.first_reads.get(old.storage) == position
        ]
        return replace(
            op,
            inputs=inputs,
            outputs=outputs,
            attrs=attrs,
            params=op.params - sum(n for n, _ in gone),
            param_bytes=op.param_bytes - sum(n * size for n, size in gone),
        )


def shrunk(tensor: Tensor, axes: Axes, keep: np.ndarray) -> Tensor:
    """A tensor with the channels that stay."""
    shape, elements = list(tensor.shape), tensor.elements
    for axis, numbers in axes.items():
        stay = int(keep[numbers].sum())
        elements = elements * stay // shape[axis]
        shape[axis] = stay
    return tensor._replace(shape=tuple(shape), elements=elements)


def first_reads(ops: Collection[Op]) -> dict[int, int]:
    """The position of the operator that counts each parameter, by its storage."""
    first: dict[int, int] = {}
    for position, op in enumerate(ops):
        for tensor in op.inputs if not op.free else ():
            if tensor.role == "parameter":
                first.setdefault(tensor.storage, position)
    return first
