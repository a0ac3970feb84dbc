"""A copy of a network without some of its channels: parameters and buffers are sliced, layers told their new sizes."""

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from costlab.rewrite.channels.groups import Channels
from costlab.rewrite.surgery import copied
from costlab.tracing.modules import unwrap


def sliced(
    model: nn.Module,
    channels: Channels,
    removed: Collection[int],
    already: Collection[int] = (),
    weightless: bool = False,
) -> nn.Module:
    """A copy of a network without the channels `removed`, of which `model` lacks those `already` removed.

    Channels are numbered as before any were removed; `weightless`: without weights in memory. Raises CostlabError.
    """
    model = unwrap(model)
    before, after = channels.mask(already), channels.mask(removed)
    places: dict[str, dict[int, np.ndarray]] = {}  # by weight and axis: the indices that stay
    for (name, axis), numbers in channels.weights.items():
        present = numbers[before[numbers]]
        if not after[present].all():
            places.setdefault(name, {})[axis] = np.flatnonzero(after[present])
    memo: dict[int, object] = {}
    if weightless:
        for parameter in model.parameters():
            memo[id(parameter)] = nn.Parameter(parameter.to("meta"), parameter.requires_grad)
    shrunk = set()
    for name, kept in places.items():
        path, _, own = name.rpartition(".")
        tensor = getattr(model.get_submodule(path), own)
        memo[id(tensor)] = part_of(tensor.to("meta") if weightless else tensor, kept)
        shrunk.add(id(tensor))
    result = copied(model, memo)
    for old, new in zip(model.modules(), result.modules(), strict=True):
        if any(id(t) in shrunk for t in (*old._parameters.values(), *old._buffers.values())):
            resize(old, new)
    return result


def part_of(tensor: torch.Tensor, kept: dict[int, np.ndarray]) -> torch.Tensor:
    """The elements of a tensor at some indices of some axes: a parameter or buffer of its own."""
    part = tensor.detach()
    for axis, indices in kept.items():
        part = part.index_select(axis, torch.from_numpy(indices).to(part.device))
    return nn.Parameter(part, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else part


def resize(old: nn.Module, new: Any) -> None:
    """Tell a layer of torch the sizes of its weights."""
    weight: Any = getattr(new, "weight", None)
    if isinstance(new, _ConvNd):
        transposed = isinstance(new, _ConvTransposeNd)
        if new.groups > 1:
            new.groups = new.groups * len(weight) // len(old.weight)  # type: ignore[arg-type]
        sizes = [len(weight), weight.shape[1] * new.groups]
        new.in_channels, new.out_channels = sizes if transposed else reversed(sizes)
    elif isinstance(new, nn.Linear):
        new.out_features, new.in_features = weight.shape
    elif isinstance(new, _NormBase):
        new.num_features = len(weight if new.running_mean is None else new.running_mean)
    elif isinstance(new, (nn.LayerNorm, nn.RMSNorm)):
        new.normalized_shape = tuple(weight.shape)
    elif isinstance(new, nn.GroupNorm):
        new.num_channels = len(weight)
    elif isinstance(new, nn.Embedding):
        new.embedding_dim = weight.shape[1]
    elif isinstance(new, nn.PReLU):
        new.num_parameters = len(weight)
