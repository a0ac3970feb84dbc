"""The channels of a network that can be removed, and everything that goes with each of them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils._python_dispatch import _disable_current_modes

from costlab.core.cost import RULES
from costlab.core.graph import Trace
from costlab.core.profile import Profile
from costlab.rewrite.channels.flow import flow
from costlab.rewrite.channels.labels import Axis, Labels, Operand, Step, Ties
from costlab.tracing._profile import costed
from costlab.tracing.calls import Call
from costlab.tracing.forward import trace
from costlab.tracing.inputs import Inputs, with_either_reading
from costlab.tracing.modules import tensors_in
from costlab.tracing.recorder import Recorder
from costlab.tracing.tensor_table import TensorRecord
from costlab.tracing.tensors import all_tensors, moved

Weight = tuple[str, int]  # the name of a parameter or buffer, and an axis


class OpAxes(NamedTuple):
    """Where an operator has channels: along which axes of its inputs and outputs, and in which weights."""

    inputs: Mapping[str, Axis]
    weights: Mapping[str, str]  # names of parameters and buffers, by the operator's own name for them
    outputs: tuple[Axis | None, ...]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that begin and end in the same weights: any of them can be removed."""

    name: str  # path of the first module that produces them
    channels: tuple[int, ...]  # numbers, in the order of the first producer's outputs
    producers: tuple[Weight, ...]  # weights whose outputs they are
    weights: tuple[Weight, ...]  # all that shrink with them
    mixed: bool  # other channels depend on them beyond a weighted sum: layer norm, softmax

    @property
    def layers(self) -> tuple[str, ...]:
        """The paths of the modules that produce them."""
        return tuple(dict.fromkeys(name.rpartition(".")[0] for name, _ in self.producers))


@dataclass(frozen=True)
class KeptGroup:
    """Layers whose outputs cannot be removed."""

    path: str
    reason: str


@dataclass(frozen=True)
class Channels:
    """The channels of a network."""

    profile: Profile
    groups: tuple[ChannelGroup, ...]
    kept: tuple[KeptGroup, ...]
    weights: Mapping[Weight, Labels]  # the channel of every index along an axis of a parameter or buffer
    ops: Mapping[str, OpAxes] = field(repr=False)  # by the name of an operator

    count: int  # of all channels, those included that cannot be removed

    def mask(self, removed: Collection[int]) -> np.ndarray:
        """Which channels stay, by their numbers."""
        result = np.ones(self.count, dtype=bool)
        result[list(removed)] = False
        return result


class ChannelRecorder(Recorder):
    """Records the operators of a forward pass, and follows channels through them."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ties = Ties()
        self.axes: dict[TensorRecord, Axis] = {}
        self.weights: dict[int, str] = {}  # names of parameters and buffers, by identity
        self.op_axes: dict[str, OpAxes] = {}
        self.add = self.operations.add
        self.operations.add = self.followed  # type: ignore[method-assign]

    def prepare(self, modules: Mapping[torch.nn.Module, list[str]], parameters: list[tuple[torch.Tensor, str]]) -> None:
        """Learn the names of parameters and buffers."""
        for module, paths in modules.items():
            for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
                if tensor is not None:
                    self.weights.setdefault(id(tensor), f"{paths[0]}.{name}" if paths[0] else name)
        super().prepare(modules, parameters)

    def operand(self, record: TensorRecord) -> Operand:
        """A tensor as the rules see it."""
        return Operand(record.spec.shape, self.axes.get(record), self.weights.get(id(record.tensor)))

    def followed(self, call: Call, result: Any, abstract: bool = False, guessed: bool = False) -> Any:
        """Add an operator, and the labels of its results."""
        operands = {name: self.operand(record) for name, record in call.inputs}
        made = self.add(call, result, abstract, guessed)
        op = self.ops[-1]
        results = [self.table.record(tensor) for tensor in all_tensors(made)] or call.written

        def rerun(labels: Callable[[str], torch.Tensor]) -> Sequence[torch.Tensor]:
            left = iter(call.signature.names)
            with _disable_current_modes():
                args, kwargs = moved((call.args, call.kwargs), lambda _: labels(next(left)))
                return all_tensors(call.operator.overload(*args, **kwargs))

        shapes = [record.spec.shape for record in results]
        step = Step(op.kind, op.module or "the network", call.attrs, operands, shapes, rerun)
        axes = flow(self.ties, step)
        for record, axis in zip(results, axes, strict=True):
            if axis is not None and len(axis.labels) > 1:
                self.axes[record] = axis
        read = {name: operand.axis for name, operand in operands.items() if operand.axis is not None}
        weights = {name: operand.weight for name, operand in operands.items() if operand.weight is not None}
        self.op_axes[op.name] = OpAxes(read, weights, tuple(axes))
        return made

    def finish(self, result: Any) -> None:
        """What the network returns keeps its channels."""
        for tensor in tensors_in(result):
            self.ties.keep(self.operand(self.table.record(tensor)), "the network returns it")
        super().finish(result)


def find_channels(
    model: torch.nn.Module, inputs: Any, kwargs: Mapping[str, Any] | None = None, **origin: Any
) -> Channels:
    """Trace a network, as `costlab.profile` does, and find the channels that can be removed from it.

    Raises CostlabError if the forward pass fails on these inputs.
    """
    recorders: list[ChannelRecorder] = []

    def recorder(*args: Any) -> ChannelRecorder:
        recorders.append(ChannelRecorder(*args))
        return recorders[-1]

    def traced_with(call: Inputs) -> Trace:
        return trace(model, call.args, call.kwargs, rules=RULES, recorder_type=recorder)

    traced = with_either_reading(inputs, kwargs, traced_with)
    name = origin.get("name") or type(model).__name__
    profile = costed(traced, RULES, name, origin.get("provider", "python"), origin.get("arguments"))
    return channels_of(profile, recorders[-1])


def channels_of(profile: Profile, recorder: ChannelRecorder) -> Channels:
    """The channels of a recorded network: labels that are tied are one channel."""
    ties = recorder.ties
    for (name, _), labels in ties.weights.items():
        if name in ties.kept_weights:
            ties.tie(labels, np.array(ties.reason(ties.kept_weights[name])))
    count, channel = components(ties)
    weights = {key: channel[labels] for key, labels in ties.weights.items()}

    def numbered(axis: Axis | None) -> Axis | None:
        return None if axis is None else Axis(axis.axis, channel[axis.labels])

    ops = {
        name: OpAxes(
            {key: Axis(axis.axis, channel[axis.labels]) for key, axis in op.inputs.items()},
            op.weights,
            tuple(map(numbered, op.outputs)),
        )
        for name, op in recorder.op_axes.items()
    }
    reasons = {int(channel[label]): text for text, label in reversed(ties.reasons.items())}
    mixed = set(channel[np.concatenate([*ties.mixed, np.array([0])])].tolist())
    groups, kept = grouped(weights, ties.produced, reasons, mixed)
    return Channels(profile, tuple(groups), tuple(kept), weights, ops, count)


def components(ties: Ties) -> tuple[int, Labels]:
    """How many channels there are, and the channel of every label."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = (np.concatenate([pair[side] for pair in ties.pairs] or [np.zeros(0, int)]) for side in (0, 1))
    graph = coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(ties.count, ties.count))
    count, channel = connected_components(graph, directed=False)
    return int(count), channel


def grouped(
    weights: Mapping[Weight, Labels], produced: Mapping[str, int], reasons: Mapping[int, str], mixed: set[int]
) -> tuple[list[ChannelGroup], list[KeptGroup]]:
    """Channels that shrink the same weights, as groups; and the layers whose channels stay, with the reason."""
    shrinks: dict[int, list[Weight]] = {}
    for key, channels in weights.items():
        for channel in dict.fromkeys(channels.tolist()):
            shrinks.setdefault(channel, []).append(key)
    members: dict[tuple[Weight, ...], list[int]] = {}
    kept = []
    for name, axis in produced.items():
        own = list(dict.fromkeys(weights[name, axis].tolist()))
        path = name.rpartition(".")[0]
        if all(channel in reasons for channel in own):
            kept.append(KeptGroup(path, reasons[own[0]]))
        elif len(own) == 1:
            kept.append(KeptGroup(path, "all of its channels are tied to each other"))
        for channel in own if len(own) > 1 else ():
            if channel not in reasons:
                same = members.setdefault(tuple(shrinks[channel]), [])
                if channel not in same:
                    same.append(channel)
    groups = []
    for keys, same in members.items():
        producers = tuple(key for key in keys if produced.get(key[0]) == key[1])
        name = producers[0][0].rpartition(".")[0]
        groups.append(ChannelGroup(name, tuple(same), producers, keys, not mixed.isdisjoint(same)))
    return groups, kept
