"""Lazy modules: the shapes of their parameters come from a first call, which a copy of the network makes."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from costlab.errors import ForwardError
from costlab.tracing.layouts import ORDINARY
from costlab.tracing.modules import module_paths
from costlab.tracing.tensors import moved, on_meta

LAZY = (torch.nn.UninitializedParameter, torch.nn.UninitializedBuffer)


def is_lazy(module: torch.nn.Module) -> bool:
    """Whether a module has a parameter or buffer without a shape."""
    for tensors in (module._parameters, module._buffers):
        for tensor in tensors.values():
            if type(tensor) not in ORDINARY and isinstance(tensor, LAZY):
                return True
    return False


def materialised(model: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.nn.Module:
    """A copy of a network in which lazy modules have weights without data; a network without any is returned itself.

    Raises ForwardError if the network cannot be called on the meta device to find the shapes.
    """
    lazy = [paths[0] for module, paths in module_paths(model).items() if is_lazy(module)]
    if not lazy:
        return model
    called = without_memory(copied(model)).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            called(*moved(list(args), on_meta), **moved(dict(kwargs), on_meta))
        except Exception as error:
            what = f"{type(error).__name__}: {error}".partition("\n")[0]
            where = lazy[0] or type(model).__name__
            raise ForwardError(f"parameters of {where} have no shape yet: call the network once ({what})") from error
    result = copied(model)
    for path in lazy:
        if not path:
            return called.train(model.training)
        parent, _, name = path.rpartition(".")
        result.get_submodule(parent)._modules[name] = called.get_submodule(path).train(model.training)
    return result


def copied(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of a network; parameters and buffers without a shape are new ones, on the meta device."""
    new: dict[int, Any] = {}
    for module in model.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if isinstance(tensor, LAZY):
                kind: Any = type(tensor)
                new[id(tensor)] = kind(device="meta", dtype=tensor.dtype)
    return copy.deepcopy(model, new)


def without_memory(model: torch.nn.Module) -> torch.nn.Module:
    """The network with all its parameters and buffers on the meta device."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and not isinstance(parameter, LAZY):
                module._parameters[name] = torch.nn.Parameter(on_meta(parameter), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None and not isinstance(buffer, LAZY):
                module._buffers[name] = on_meta(buffer)
    return model
