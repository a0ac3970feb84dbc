"""The paths of modules, and which of them is running."""

import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch

from costlab.core.graph import Source
from costlab.tracing.layouts import plain_shape

MOST_PATHS = 1000  # of one module that is reached in many ways


def module_paths(model: torch.nn.Module) -> dict[torch.nn.Module, list[str]]:
    """Every path under which each module can be reached, in the order of registration; cycles are cut."""
    paths: dict[torch.nn.Module, list[str]] = {}
    waiting: list[tuple[torch.nn.Module, str, frozenset[torch.nn.Module]]] = [(model, "", frozenset())]
    while waiting:
        module, path, above = waiting.pop()
        known = paths.setdefault(module, [])
        known.append(path)
        if module in above or len(known) > MOST_PATHS or not module._modules:
            continue
        around = above | {module}
        children = [(name, child) for name, child in module._modules.items() if child is not None]
        waiting += [(child, f"{path}.{name}" if path else name, around) for name, child in reversed(children)]
    return paths


def unwrap(module: torch.nn.Module) -> torch.nn.Module:
    """The network inside `torch.compile(network)`."""
    while "_orig_mod" in getattr(module, "_modules", {}):
        module = module._modules["_orig_mod"]  # type: ignore[assignment]
    return module


class ModuleTracker:
    """Knows `path`, the path of the module whose forward is running.

    torch calls the `_compiled_call_impl` of a module, if it has one, instead of its usual call: set on each module of a
    network, it is a hook that no other network, thread or fast path sees.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.path = ""
        self.call_path = ""  # the same, with each module below the one that called it
        self.paths = module_paths(model)
        self.output_shapes: dict[str, tuple[int, ...]] = {}
        self.called: dict[str, torch.nn.Module] = {}
        self.calls: Counter[str] = Counter()
        self.failed_in: str | None = None
        self.whole: Collection[str] = ()  # types of modules to record as one operator
        self.as_one: Callable[..., Any] | None = None
        self._turns: dict[tuple[str, torch.nn.Module], int] = {}

    def attach(self) -> None:
        """Hook every module. Restoring the modules' attributes removes the hooks."""
        for module, paths in self.paths.items():
            module.__dict__["_compiled_call_impl"] = functools.partial(self._call, module, paths)

    def _call(self, module: torch.nn.Module, paths: list[str], *args: Any, **kwargs: Any) -> Any:
        outer = self.path
        path = paths[0] if len(paths) == 1 else self._name_below(outer, module, paths)
        call_path, self.call_path = self.call_path, path_below(self.call_path, outer, path)
        self.path = path
        self.called[path] = module
        self.calls[path] += 1
        try:
            kind = type(module).__name__
            if self.as_one is not None and kind in self.whole:
                result = self.as_one(kind, lambda: module._call_impl(*args, **kwargs), (args, kwargs))
            else:
                result = module._call_impl(*args, **kwargs)
        except BaseException:
            if self.failed_in is None:
                self.failed_in = path
            raise
        finally:
            self.path, self.call_path = outer, call_path
        shape = first_shape(result)
        if shape is not None:
            self.output_shapes[path] = shape
        return result

    def _name_below(self, caller: str, module: torch.nn.Module, paths: list[str]) -> str:
        """The path of a shared module below its caller; in a Sequential the n-th call takes the n-th path."""
        below = [p for p in paths if p.startswith(caller + ".")] if caller else paths
        if not below:
            return paths[0]
        turn = self._turns.get((caller, module), 0)
        self._turns[caller, module] = turn + 1
        owner = self.called.get(caller)
        return below[turn % len(below)] if isinstance(owner, torch.nn.Sequential) else below[0]


def path_below(call_path: str, caller: str, path: str) -> str:
    """The path of a called module below that of its caller."""
    inside = not caller or path.startswith(caller + ".")
    if inside and call_path == caller:
        return path
    name = path[len(caller) :].lstrip(".") if inside else path.rpartition(".")[2]
    return f"{call_path}.{name}" if call_path and name else call_path or name


def first_shape(result: Any) -> tuple[int, ...] | None:
    """The shape of the first tensor in the output of a module."""
    if isinstance(result, torch.Tensor):
        return plain_shape(result)
    for tensor in tensors_in(result, depth=2):
        return plain_shape(tensor)
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


def source_of(function: Callable[..., Any]) -> Source | None:
    """Where a Python function is defined; None for one written in C."""
    code = getattr(function, "__code__", None)
    return Source(code.co_filename, code.co_firstlineno) if code else None
