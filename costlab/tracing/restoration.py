"""What a forward pass changes and a trace restores: modules, random numbers, torch's settings."""

import random
import sys
import types
import warnings
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from costlab.tracing.global_state import global_state_restored, random_states

CONTAINERS = (list, dict, set, OrderedDict, defaultdict, deque, Counter)
ATOMS = (int, float, bool, str, bytes, complex, type(None), torch.Size)
NOWHERE = object()
DEEPEST = 9  # levels of containers in containers that are restored


@contextmanager
def isolated(modules: list[torch.nn.Module], train: bool) -> Iterator[None]:
    """The conditions of a trace: everything that the body changes is restored afterwards."""
    with ExitStack() as stack:
        stack.enter_context(global_state_restored())
        stack.enter_context(modules_restored(modules, train))
        seed_generators()
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)  # tensors are small, and threads waiting for each other cost more
        sys.setrecursionlimit(2 * sys.getrecursionlimit())  # each module of a trace takes more calls than outside
        torch.backends.mha.set_fastpath_enabled(False)  # its parts are counted one by one
        stack.enter_context(eager())
        stack.enter_context(unchecked_distributions())
        stack.enter_context(below_autograd())
        yield


@contextmanager
def below_autograd() -> Iterator[None]:
    """Composite operators stay whole, as in inference mode; but tensors are ordinary ones, also for later training."""
    lifting = torch._C._only_lift_cpu_tensors()
    with torch.no_grad(), torch._C._AutoDispatchBelowADInplaceOrView():
        torch._C._ensureCUDADeviceGuardSet()
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device="cuda") asks the recorder
        try:
            yield
        finally:
            torch._C._set_only_lift_cpu_tensors(lifting)


@contextmanager
def modules_restored(modules: list[torch.nn.Module], train: bool) -> Iterator[None]:
    """Run the body in eval or train mode, then restore every attribute of every module.

    The mode of each module is set by itself: a `train` method that a network overrides may do more, such as merging
    weights.
    """
    saved = []
    contents = Contents()
    classes = {kind: dict(vars(kind)) for kind in classes_of(modules)}
    for before in classes.values():
        contents.copy(value for value in before.values() if type(value) in CONTAINERS)
    for module in modules:
        state = module.__dict__
        contents.copy(state.values())
        owned = (*module._parameters.values(), *module._buffers.values())
        memory = [(tensor, tensor.data, tensor.requires_grad, tensor.grad) for tensor in owned if tensor is not None]
        mode = getattr(module, "training", None)  # a frozen TorchScript module has none
        saved.append((module, type(module), mode, state, state.copy(), memory))
    try:
        for module, _, mode, state, *_ in saved:
            if "training" in state:
                state["training"] = train  # far quicker than to set the attribute
            elif mode is not None:
                module.training = train
        yield
    finally:
        for module, kind, mode, state, before, memory in saved:
            if type(module) is not kind:  # a parametrization gave it a class of its own
                module.__class__ = kind
            state.clear()
            state.update(before)
            for tensor, data, requires_grad, grad in memory:
                if tensor.layout == torch.strided and not is_same_view(tensor, data):
                    tensor.data = data
                if tensor.requires_grad != requires_grad:
                    tensor.requires_grad_(requires_grad)
                if tensor.grad is not grad:
                    tensor.grad = grad
            if mode is not None and module.training != mode:  # TorchScript keeps it elsewhere
                module.training = mode
        for owner, members in classes.items():
            restore_members(owner, members)
        contents.restore()


def classes_of(modules: Iterable[torch.nn.Module]) -> set[type]:
    """The classes of modules and those that they derive from, without torch's."""
    kinds = {type(module) for module in modules}
    owners = {owner for kind in kinds for owner in kind.__mro__}
    return {owner for owner in owners if owner.__module__.partition(".")[0] not in ("torch", "builtins", "abc")}


def restore_members(owner: type, members: dict[str, Any]) -> None:
    """Give a class the attributes back that it had."""
    now = vars(owner)
    for name in [name for name in now if name not in members]:
        delattr(owner, name)
    for name, value in members.items():
        if now.get(name, NOWHERE) is not value:
            setattr(owner, name, value)


def is_same_view(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors show the same memory the same way."""
    same: bool = torch._C._is_alias_of(tensor, other)  # type: ignore[attr-defined]
    return same and tensor.shape == other.shape and tensor.stride() == other.stride()


class Contents:
    """What containers and objects hold, to be restored."""

    def __init__(self) -> None:
        self._empty: list[Any] = []  # containers; most are, in a module
        self._copies: list[tuple[Any, Any]] = []  # other containers, and copies
        self._seen: set[int] = set()
        self._ways: dict[type, str] = {}

    def copy(self, values: Iterable[Any]) -> None:
        """Copy what the containers and objects among values, and inside them, hold."""
        level, ways = values, self._ways
        for _ in range(DEEPEST):
            inner: list[Any] = []
            for value in level:
                way = ways.get(type(value))
                if way is None:
                    way = ways[type(value)] = way_to_copy(value)
                if way == "none":
                    continue
                if way == "container" and not value:
                    self._empty.append(value)
                elif id(value) not in self._seen:
                    self._seen.add(id(value))
                    inside = value.__dict__ if way == "object" else value
                    if way != "tuple":
                        self._copies.append((inside, inside.copy()))
                    if way != "array":
                        inner += inside.values() if isinstance(inside, dict) else inside
            if not inner:
                break
            level = inner

    def restore(self) -> None:
        """Let everything hold again what it held."""
        for container in self._empty:
            if container:
                container.clear()
        for container, content in self._copies:
            if isinstance(container, CONTAINERS):
                container.clear()
                container.extend(content) if isinstance(container, (list, deque)) else container.update(content)
            else:
                container[...] = content


def way_to_copy(value: Any) -> str:
    """How to copy what values of this type hold: "none" if forward cannot change it, or may."""
    kind = type(value)
    if kind in CONTAINERS:
        return "container"
    if kind is tuple:
        return "tuple"
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        return "array"
    skipped = (torch.nn.Module, torch.Tensor, type, types.ModuleType, types.FunctionType, types.MethodType)
    if kind in ATOMS or isinstance(value, skipped) or callable(value):
        return "none"
    if hasattr(value, "__enter__") or not hasattr(value, "__dict__"):  # files, locks, modes of torch
        return "none"
    return "object"


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute of a class or module; afterwards it is what it was, or is gone again."""
    before = vars(owner).get(name, NOWHERE)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is NOWHERE:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


@contextmanager
def random_state() -> Iterator[None]:
    """Random numbers in the body are the same every time, and those drawn afterwards are not affected."""
    generators = random_states()
    seed_generators()
    try:
        yield
    finally:
        for put, state in generators:
            put(state)


def seed_generators() -> None:
    """Start the random numbers of torch on CPUs, of Python and of numpy with seed 0."""
    torch.default_generator.manual_seed(0)
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)


@contextmanager
def unchecked_distributions() -> Iterator[None]:
    """`torch.distributions` does not validate parameters: activations have no values to check."""
    owner = torch.distributions.Distribution
    before = owner._validate_args
    owner.set_default_validate_args(False)
    try:
        yield
    finally:
        owner.set_default_validate_args(before)


@contextmanager
def eager() -> Iterator[None]:
    """Functions compiled by `torch.compile` run as written."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
