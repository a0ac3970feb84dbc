"""Who is calling: module paths while a network runs, and the network put back as it was."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from costlab.core.graph import Source

CONTAINERS = frozenset((list, dict, set, collections.OrderedDict, collections.defaultdict, collections.deque))


def module_paths(model: torch.nn.Module) -> dict[torch.nn.Module, list[str]]:
    """Every path under which each module can be reached, in the order of registration; cycles are cut."""
    paths: dict[torch.nn.Module, list[str]] = {}

    def visit(module: torch.nn.Module, path: str, above: tuple[torch.nn.Module, ...]) -> None:
        known = paths.setdefault(module, [])
        known.append(path)
        if module in above or len(known) > 1000:
            return
        for name, child in module._modules.items():
            if child is not None:
                visit(child, f"{path}.{name}" if path else name, (*above, module))

    visit(model, "", ())
    return paths


def unwrap(module: torch.nn.Module) -> torch.nn.Module:
    """The network inside `torch.compile(network)`."""
    while "_orig_mod" in getattr(module, "_modules", {}):
        module = module._modules["_orig_mod"]  # type: ignore[assignment]
    return module


class Caller:
    """Keeps `path`, the path of the module whose forward is running.

    torch calls `_compiled_call_impl` of a module, where it has one, in place of its usual call: set on each module of
    one network, it is a hook that no other network, thread or fast path sees.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.path = ""
        self.paths = module_paths(model)
        self.output_shapes: dict[str, tuple[int, ...]] = {}
        self.called: dict[str, torch.nn.Module] = {}
        self.failed_in: str | None = None
        self._turns: dict[tuple[str, torch.nn.Module], int] = {}

    def attach(self) -> None:
        for module, paths in self.paths.items():
            if not isinstance(module, torch.jit.ScriptModule):
                call = functools.partial(self._call, module, paths)
                module.__dict__["_compiled_call_impl"] = call

    def _call(self, module: torch.nn.Module, paths: list[str], *args: Any, **kwargs: Any) -> Any:
        outer = self.path
        path = paths[0] if len(paths) == 1 else self._name_below(outer, module, paths)
        self.path = path
        self.called[path] = module
        try:
            result = module._call_impl(*args, **kwargs)
        except Exception:
            if self.failed_in is None:
                self.failed_in = path
            raise
        finally:
            self.path = outer
        shape = first_shape(result)
        if shape is not None:
            self.output_shapes[path] = shape
        return result

    def _name_below(self, caller: str, module: torch.nn.Module, paths: list[str]) -> str:
        """A shared module goes by its name below the caller; within a Sequential the n-th call by the n-th name."""
        below = [p for p in paths if p.startswith(caller + ".")] if caller else paths
        if not below:
            return paths[0]
        turn = self._turns.get((caller, module), 0)
        self._turns[caller, module] = turn + 1
        owner = self.called.get(caller)
        return below[turn % len(below)] if isinstance(owner, torch.nn.Sequential) else below[0]


def first_shape(result: Any) -> tuple[int, ...] | None:
    """The shape of the first tensor in whatever a module returned."""
    if isinstance(result, torch.Tensor):
        return tuple(result.shape)
    for tensor in tensors_in(result, depth=2):
        return tuple(tensor.shape)
    return None


def tensors_in(value: Any, depth: int = 8) -> Iterator[torch.Tensor]:
    """The tensors inside nested lists, dicts, dataclasses and other objects, as models return them."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth and not isinstance(value, (torch.nn.Module, str, bytes, int, float, type(None))):
        if isinstance(value, dict):
            members: Any = value.values()
        elif isinstance(value, (list, tuple, set)):
            members = value
        else:
            members = getattr(value, "__dict__", {}).values()
        for member in list(members):
            yield from tensors_in(member, depth - 1)


@contextmanager
def left_as_it_was(modules: list[torch.nn.Module], train: bool) -> Iterator[None]:
    """Run the body in eval or train mode; afterwards every attribute of every module is what it was before.

    Each module's flag is set by itself: a `train` that a network overrides may do more, such as merging weights.
    """
    saved = []
    for module in modules:
        state = module.__dict__
        contents: list[tuple[Any, Any]] = []
        copy_containers(state.values(), contents)
        owned = (*module._parameters.values(), *module._buffers.values())
        memory = [(tensor, tensor.data) for tensor in owned if tensor is not None]
        saved.append((module, module.training, state, dict(state), contents, memory))
    try:
        for module in modules:
            module.training = train
        yield
    finally:
        for module, training, state, before, contents, memory in saved:
            state.clear()
            state.update(before)
            for container, content in contents:
                if container or content:
                    _refill(container, content)
            for tensor, data in memory:
                if not torch._C._is_alias_of(tensor, data):  # type: ignore[attr-defined]
                    tensor.data = data
            if module.training != training:  # TorchScript keeps it elsewhere
                module.training = training


def copy_containers(values: Iterable[Any], found: list[tuple[Any, Any]], depth: int = 8) -> None:
    """Add the containers among values and inside them to `found`, each with a copy."""
    for value in values:
        if type(value) in CONTAINERS:
            found.append((value, value.copy() if value else ()))
            if value and depth:
                copy_containers(value.values() if isinstance(value, dict) else value, found, depth - 1)


def _refill(container: Any, content: Any) -> None:
    container.clear()
    container.extend(content) if isinstance(container, (list, collections.deque)) else container.update(content)


def source_of(function: Callable[..., Any]) -> Source | None:
    """Where a Python function is written; None for one written in C."""
    code = getattr(function, "__code__", None)
    return Source(code.co_filename, code.co_firstlineno) if code else None
