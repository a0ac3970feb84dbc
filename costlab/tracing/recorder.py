"""A dispatch mode that writes down every operator of a forward pass and answers it without computing it.

A tensor is *abstract* where its values depend on a parameter or a floating-point input: operators on it are answered
with tensors on the meta device (answers.py). All other tensors (masks, positions, tables, integer inputs) are computed
for real, so that control flow which rests on them just works. What still needs a value that nobody knows is guessed,
and marked.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Collection
from os.path import dirname, sep
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from costlab.core.graph import Op, Source, Tensor
from costlab.tracing.autocast import LOWERED, cast_to, lower_precision
from costlab.tracing.data_dependent import guess
from costlab.tracing.inference import LIMIT, Spec, answer_for
from costlab.tracing.modules import Caller
from costlab.tracing.operators import UNTOLD, Operator, operator_of, plain, specific_kind
from costlab.tracing.tensors import CPU, META, all_tensors, fills, moved, on_meta, placed, storage_key, without_values

TORCH, TRACING = dirname(torch.__file__) + sep, dirname(__file__) + sep

DTYPE_NAMES: dict[torch.dtype, str] = {}


class Storage:
    """Memory that tensors share."""

    __slots__ = ("abstract", "external", "number", "role", "writer")

    def __init__(self, number: int, role: str, abstract: bool, external: bool) -> None:
        self.number = number
        self.role = role
        self.abstract = abstract
        self.external = external  # belongs to the user: put back after a write
        self.writer = -1  # position of the last operator that wrote to it in place


class Value:
    """What the recorder knows of one tensor; holds it, so that its id stays its own."""

    __slots__ = ("dtype", "elements", "guessed", "param", "producer", "shape", "spec", "storage", "tensor")

    def __init__(self, tensor: torch.Tensor, storage: Storage, producer: int, param: int | None, guessed: bool) -> None:
        self.tensor = tensor
        self.storage = storage
        self.producer = producer
        self.param = param  # position among the parameters
        self.guessed = guessed
        self.refresh()

    def refresh(self) -> None:
        """Read shape and layout from the tensor."""
        self.shape = tuple(self.tensor.shape)
        dtype = self.tensor.dtype
        try:
            stride = self.tensor.stride()
        except RuntimeError:  # a sparse tensor has none
            stride = ()
        self.spec: Spec = (self.shape, stride, dtype)
        self.dtype = DTYPE_NAMES.get(dtype) or DTYPE_NAMES.setdefault(dtype, str(dtype).removeprefix("torch."))
        elements = 1
        for size, step in zip(self.shape, stride, strict=False):
            if step or size == 0:
                elements *= size
        self.elements = elements


class Recorder(TorchDispatchMode):
    """Collects `ops` while a forward pass runs under it."""

    def __init__(self, caller: Caller, kinds: Collection[str]) -> None:
        super().__init__()
        self.caller = caller
        self.kinds = kinds  # those with a rule: recorded whole; others are taken apart where torch can
        self.ops: list[Op] = []
        self.written_externals: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.params_read: set[int] = set()
        self._params: list[torch.Tensor] = []
        self._values: dict[int, Value] = {}
        self._storages: dict[int, Storage] = {}
        self._names: dict[str, int] = {}
        self._owners: dict[Any, str] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the skipping is what would import the compiler, for seconds

    # Tensors that exist before the forward pass.

    def know(self, tensor: torch.Tensor, role: str) -> None:
        """Take note of a parameter, a buffer or an input."""
        storage = self._storage(tensor, role, abstract=role == "parameter" or tensor.is_meta, external=True)
        param = None
        if role == "parameter":
            param = len(self._params)
            self._params.append(tensor)
        self._values[id(tensor)] = Value(tensor, storage, -1, param, guessed=False)

    def storage_number(self, tensor: torch.Tensor) -> int:
        """The number of the storage of a tensor, as the recorded operators have it."""
        return self._value(tensor).storage.number

    def restore_externals(self) -> None:
        """Undo writes to memory that is the user's."""
        for tensor, before in reversed(self.written_externals):
            tensor.copy_(before)

    def _storage(self, tensor: torch.Tensor, role: str, abstract: bool, external: bool) -> Storage:
        key = storage_key(tensor)
        storage = self._storages.get(key)
        if storage is None:
            storage = self._storages[key] = Storage(len(self._storages), role, abstract, external)
        return storage

    def _value(self, tensor: torch.Tensor) -> Value:
        value = self._values.get(id(tensor))
        if value is None:
            storage = self._storage(tensor, "constant", abstract=tensor.is_meta, external=True)
            owner = None
            if storage.role == "parameter":  # reached by another object, as in TorchScript
                owner = next((v.param for v in self._values.values() if v.storage is storage), None)
            value = self._values[id(tensor)] = Value(tensor, storage, -1, owner, guessed=False)
        return value

    # Operators.

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operator = operator_of(func)
        if operator.ignored:
            return None
        if operator.passed:
            return func(*args, **kwargs)
        if operator.rewrite is not None:
            with self:
                return operator.rewrite(*args, **kwargs)
        if operator.composite and operator.kind not in self.kinds:
            result = self._decomposed(func, args, kwargs)
            if result is not NotImplemented:
                return result
        if operator.kind in LOWERED:
            lower = lower_precision(all_tensors((args, kwargs)))
            if lower is not None:
                cast = functools.partial(cast_to, lower)
                with self:
                    args, kwargs = moved(args, cast), moved(kwargs, cast)
        inputs: list[tuple[str, Value]] = []
        attrs = dict(operator.defaults)
        key: list[Any] = [func]
        for name, arg in zip(operator.arguments, args, strict=False):
            self._bind(operator, name, arg, inputs, attrs, key)
        for name, arg in kwargs.items():
            key.append(name)
            self._bind(operator, name, arg, inputs, attrs, key)
        abstract = guessed = False
        for _, value in inputs:
            abstract = abstract or value.storage.abstract
            guessed = guessed or value.guessed
        if operator.creates:
            abstract = False
            result = self._create(func, args, kwargs)
        elif not abstract and sum(value.elements for _, value in inputs) <= LIMIT:
            result = self._compute(operator, func, args, kwargs, inputs)
        else:
            if operator.has_device:
                args, kwargs = placed(args, kwargs, META)
            guesses = None
            if operator.dynamic or operator.kind == "index":
                guesses = guess(func, operator, args, self.is_abstract, self._history(inputs))
            if guesses is not None:
                result, unknown = guesses
                guessed, abstract = guessed or unknown, False
            else:
                try:
                    result = self._answer(operator, func, args, kwargs, inputs, tuple(key))
                except (NotImplementedError, RuntimeError, TypeError):
                    if not operator.composite:
                        raise
                    with self:
                        return func.decompose(*args, **kwargs)
        return self._record(operator, inputs, attrs, result, abstract, guessed)

    def _decomposed(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a composite operator gives when it is taken apart; NotImplemented where torch cannot."""
        recorded = len(self.ops)
        try:
            with self:
                return func.decompose(*args, **kwargs)
        except RuntimeError:  # stft insists on one device, which a window and a signal do not share here
            if len(self.ops) > recorded or len({t.is_meta for t in all_tensors((args, kwargs))}) < 2:
                raise
            args, kwargs = moved(args, self._twin), moved(kwargs, self._twin)
            with self:
                return func.decompose(*args, **kwargs)

    def _twin(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor on the meta device that is recorded as `tensor` itself."""
        if tensor.is_meta:
            return tensor
        value = self._value(tensor)
        twin = on_meta(tensor)
        self._storages[storage_key(twin)] = value.storage
        self._values[id(twin)] = Value(twin, value.storage, value.producer, value.param, value.guessed)
        return twin

    def _history(self, inputs: list[tuple[str, Value]]) -> tuple[str, ...]:
        """The kind of the operator that made the first input, then the kinds of those before it."""
        made = inputs[0][1].producer if inputs else -1
        return () if made < 0 else (self.ops[made].kind, *(self.ops[i].kind for i in self.ops[made].after))

    def is_abstract(self, tensor: torch.Tensor) -> bool:
        return self._value(tensor).storage.abstract

    def _bind(
        self,
        operator: Operator,
        name: str,
        arg: Any,
        inputs: list[tuple[str, Value]],
        attrs: dict[str, Any],
        key: list[Any],
    ) -> None:
        """Sort one argument into tensors and attributes, and add to the signature whatever shapes depend on."""
        if isinstance(arg, torch.Tensor):
            value = self._values.get(id(arg)) or self._value(arg)
            inputs.append((name, value))
            key.append(value.spec)
        elif isinstance(arg, (list, tuple)):
            key.append(len(arg))
            numbers = []
            for position, item in enumerate(arg):
                if isinstance(item, torch.Tensor):
                    value = self._value(item)
                    inputs.append((f"{name}.{position}", value))
                    key.append(value.spec)
                else:
                    numbers.append(item)
                    key.append(item)
            if len(numbers) == len(arg):
                attrs[name] = plain(arg)
        else:
            key.append(type(arg))
            key.append(arg)
            if name not in UNTOLD:
                attrs[name] = [arg] if name in operator.lists and isinstance(arg, int) else plain(arg)

    def _create(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A new tensor of known or random values: real while small."""
        result = func(*args, **{**kwargs, "device": META})
        return result if result.numel() > LIMIT else func(*args, **{**kwargs, "device": CPU})

    def _compute(
        self,
        operator: Operator,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: list[tuple[str, Value]],
    ) -> Any:
        """Run an operator on values that are known, minding what belongs to the user."""
        for name, value in inputs:
            if name in operator.written and value.storage.external:
                self.written_externals.append((value.tensor.detach(), value.tensor.clone()))
        if operator.has_device:
            args, kwargs = placed(args, kwargs, CPU)
        if len({value.tensor.device for _, value in inputs}) > 1:
            args, kwargs = moved(args, lambda t: t.cpu()), moved(kwargs, lambda t: t.cpu())
        return func(*args, **kwargs)

    def _answer(
        self,
        operator: Operator,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: list[tuple[str, Value]],
        key: tuple[Any, ...],
    ) -> Any:
        """Results with the right shapes and layouts, without values."""
        answer = answer_for(func, operator, args, kwargs, key)
        if answer.fresh is None:
            return func(*args, **kwargs)
        made = [None if spec is None else without_values(*spec) for spec in answer.fresh]
        if operator.written:
            for name, target in inputs:
                if name.partition(".")[0] in operator.written:
                    target.storage.abstract = True
            targets = dict(inputs)
            for position, returned in enumerate(operator.returned):
                if returned in targets:
                    made[position] = targets[returned].tensor
        return made[0] if answer.sequence is None else answer.sequence(made)

    def _record(
        self,
        operator: Operator,
        inputs: list[tuple[str, Value]],
        attrs: dict[str, Any],
        result: Any,
        abstract: bool,
        guessed: bool,
    ) -> Any:
        """Write the operator down; gives back its result, with an identity of its own where it returned an argument."""
        position = len(self.ops)
        after: set[int] = set()
        params = param_bytes = 0
        seen = []
        for name, value in inputs:
            storage = value.storage
            if name in operator.overwritten:
                if storage.writer >= 0 and not fills(value.tensor):
                    after.add(storage.writer)
                continue
            after.add(value.producer)
            after.add(storage.writer)
            role = storage.role if storage.writer < 0 else "activation"
            seen.append(Tensor(name, value.shape, value.dtype, role, value.elements, storage.number))
        after.discard(-1)
        written = (
            {id(value.tensor): value for name, value in inputs if name.partition(".")[0] in operator.written}
            if operator.written
            else {}
        )
        results = list(result) if isinstance(result, (list, tuple)) else [result]
        outputs, free = [], not written
        for index, tensor in enumerate(results):
            if not isinstance(tensor, torch.Tensor):
                continue
            name = str(index) if len(results) > 1 else "output"
            target = written.get(id(tensor))
            if target is not None:
                value = target
                value.producer = position
                if operator.reshapes_in_place:
                    value.refresh()
            else:
                shared = self._storages.get(storage_key(tensor))
                base = None
                if shared is not None:
                    base = next((value for _, value in inputs if value.storage is shared), None)
                if id(tensor) in self._values:
                    tensor = results[index] = torch.ops.aten.alias.default(tensor)
                storage = shared or self._storage(tensor, "activation", abstract or tensor.is_meta, external=False)
                value = Value(tensor, storage, position, base.param if base else None, guessed)
                self._values[id(tensor)] = value
                free = free and base is not None
            value.guessed = guessed
            outputs.append(described(name, value))
        if not operator.returned:
            for name, value in inputs:
                if id(value.tensor) in written:
                    value.producer = position
                    outputs.append(described(name, value))
        unchanged = bool(written) and attrs.get("train") is False  # dropout in eval mode leaves its argument alone
        if operator.reshapes_in_place or unchanged:
            free = True
        if not free:
            for value in written.values():
                value.storage.writer = position
            for _, value in inputs:
                if value.param is not None and value.param not in self.params_read:
                    self.params_read.add(value.param)
                    owner = self._params[value.param]
                    params += owner.numel()
                    param_bytes += owner.numel() * owner.element_size()
        path = self.caller.path
        weight = next((t for t in seen if t.name == "weight"), None) if operator.kind == "convolution" else None
        kind = specific_kind(operator.kind, attrs, len(weight.shape) if weight else 0)
        self.ops.append(
            Op(
                name=self._unique(f"{path}/{kind}" if path else kind),
                kind=kind,
                module=path,
                inputs=tuple(seen),
                outputs=tuple(outputs),
                attrs=attrs,
                source=self._source(),
                after=tuple(sorted(after)),
                free=free and bool(outputs),
                estimated=guessed,
                params=params,
                param_bytes=param_bytes,
            )
        )
        return type(result)(results) if isinstance(result, (list, tuple)) else results[0]

    def _unique(self, name: str) -> str:
        count = self._names[name] = self._names.get(name, -1) + 1
        return f"{name}_{count}" if count else name

    def _source(self) -> Source | None:
        """The innermost line outside torch and costlab that led here, no further out than the trace itself."""
        frame: Any = sys._getframe(2)
        while frame is not None:
            code = frame.f_code
            owner = self._owners.get(code)
            if owner is None:
                owner = self._owners[code] = owner_of(code.co_filename)
            if owner == "user":
                return Source(code.co_filename, frame.f_lineno)
            if owner == "trace":
                return None
            frame = frame.f_back
        return None


def owner_of(file: str) -> str:
    """Whose code a file is: "user", "torch", "costlab", or "trace" for the module that starts a forward pass."""
    if file.startswith(TORCH):
        return "torch"
    if not file.startswith(TRACING):
        return "user"
    return "trace" if file.endswith("forward.py") else "costlab"


def described(name: str, value: Value) -> Tensor:
    """A result as the graph keeps it."""
    return Tensor(name, value.shape, value.dtype, value.storage.role, value.elements, value.storage.number)
