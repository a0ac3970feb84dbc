"""Trace a model: run its forward pass under the recorder, and leave it as it was."""

from __future__ import annotations

import copy
import functools
import random
import sys
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from costlab.core.graph import InputInfo, ModuleInfo, Source, Trace
from costlab.errors import CostlabError, ForwardError
from costlab.tracing import autocast
from costlab.tracing.modules import Caller, left_as_it_was, source_of, tensors_in, unwrap
from costlab.tracing.recorder import Recorder
from costlab.tracing.tensors import moved

ONE_AT_A_TIME = threading.RLock()  # random state, warning filters and a shared network belong to the whole process


def trace(
    model: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], kinds: Collection[str], train: bool = False
) -> Trace:
    """Run `model(*args, **kwargs)` without computing it.

    Args:
        args, kwargs: what forward takes; tensors anywhere in it. Their data is never changed.
        kinds: operator kinds to record whole; others are taken apart where torch can.
        train: trace the forward pass of train mode instead of eval mode.

    Raises:
        CostlabError: forward fails on these inputs.
    """
    model = unwrap(model)
    caller = Caller(model)
    recorder = Recorder(caller, kinds)
    modules = list(caller.paths)
    with ExitStack() as stack:
        stack.enter_context(ONE_AT_A_TIME)
        stack.enter_context(left_as_it_was(modules, train))
        stack.enter_context(random_state())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(eager())
        stack.enter_context(one_thread())
        stack.enter_context(unchecked_distributions())
        stack.enter_context(autocast.without_data())
        stack.enter_context(torch.inference_mode())
        parameters = own_parameters(caller)
        for parameter, _ in parameters:
            recorder.know(parameter, "parameter")
        for module in modules:
            for buffer in module._buffers.values():
                if buffer is not None:
                    recorder.know(buffer, "buffer")
        call_args, call_kwargs = stand_ins((list(args), dict(kwargs)))
        given = [*named_inputs(model, call_args), *call_kwargs.items()]
        inputs = []
        for name, value in given:
            tensors = list(tensors_in(value))
            for position, tensor in enumerate(tensors):
                recorder.know(tensor, "input")
                label = name if len(tensors) == 1 else f"{name}.{position}"
                inputs.append(InputInfo(label, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")))
        caller.attach()
        try:
            with recorder:
                result = model(*call_args, **call_kwargs)
        except CostlabError:
            raise
        except Exception as error:
            raise ForwardError(failure(model, caller, recorder, inputs, error)) from error
        finally:
            recorder.restore_externals()
        outputs = dict.fromkeys(recorder.storage_number(t) for t in tensors_in(result))
    return Trace(
        ops=tuple(recorder.ops),
        modules=tuple(module_rows(caller, recorder, parameters)),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        mode="train" if train else "eval",
    )


def own_parameters(caller: Caller) -> list[tuple[torch.Tensor, str]]:
    """The distinct parameters, each with the path of the module that registered it first."""
    found: dict[int, tuple[torch.Tensor, str]] = {}
    for module, paths in caller.paths.items():
        for name, parameter in module._parameters.items():
            if isinstance(parameter, torch.nn.parameter.UninitializedParameter):
                where = f"{paths[0]}.{name}" if paths[0] else name
                raise CostlabError(f"parameter {where} has no shape yet: run the lazy module once, then profile it")
            if parameter is not None:
                found.setdefault(id(parameter), (parameter, paths[0]))
    return list(found.values())


def without_data(tensor: torch.Tensor) -> torch.Tensor:
    """An input for the trace: integers keep their values, floating-point ones lose them; never the user's object."""
    if tensor.is_floating_point() or tensor.is_complex():
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return tensor.detach()


def stand_ins(given: tuple[list[Any], dict[str, Any]]) -> Any:
    """A copy of the arguments, tensors without data: a cache among them grows in the copy alone.

    An argument given twice stays one, modules stay themselves, and so does what cannot be copied.
    """
    args, kwargs = given
    stand_in = functools.cache(without_data)
    copies = {id(tensor): stand_in(tensor) for tensor in tensors_in(given)}
    same = {id(value): value for value in (*args, *kwargs.values()) if isinstance(value, torch.nn.Module)}
    try:
        return copy.deepcopy(given, {**copies, **same})
    except Exception:  # locks, generators, tensors in hidden places
        return moved(given, stand_in)


def named_inputs(model: torch.nn.Module, args: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Positional arguments with the names that forward gives them."""
    code = getattr(getattr(type(model), "forward", None), "__code__", None)
    names = code.co_varnames[1 : code.co_argcount] if code else ()
    for position, arg in enumerate(args):
        yield (names[position] if position < len(names) else f"input_{position}"), arg


@contextmanager
def random_state() -> Iterator[None]:
    """Random numbers drawn in the body are always the same, and those drawn afterwards do not notice."""
    state, python_state = torch.get_rng_state(), random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_state = numpy.random.get_state() if numpy else None
    torch.random.default_generator.manual_seed(0)
    random.seed(0)
    if numpy:
        numpy.random.seed(0)
    try:
        yield
    finally:
        torch.set_rng_state(state)
        random.setstate(python_state)
        if numpy:
            numpy.random.set_state(numpy_state)


@contextmanager
def one_thread() -> Iterator[None]:
    """The few small tensors that are computed for real take longest where threads have to wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def unchecked_distributions() -> Iterator[None]:
    """`torch.distributions` takes its parameters as valid: no activation has values to look at."""
    owner = torch.distributions.Distribution
    before = owner._validate_args
    owner.set_default_validate_args(False)
    try:
        yield
    finally:
        owner.set_default_validate_args(before)


@contextmanager
def eager() -> Iterator[None]:
    """Functions compiled by `torch.compile` run as they were written."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def module_rows(caller: Caller, recorder: Recorder, parameters: list[tuple[torch.Tensor, str]]) -> Iterator[ModuleInfo]:
    """One row for every module under its first path, and for every other path by which it was called."""
    unused: dict[str, tuple[int, int]] = {}
    for position, (parameter, path) in enumerate(parameters):
        if position not in recorder.params_read:
            elements, size = unused.get(path, (0, 0))
            unused[path] = elements + parameter.numel(), size + parameter.numel() * parameter.element_size()
    lines: dict[str, Source] = {}
    for op in recorder.ops:
        if op.source is not None:
            lines.setdefault(op.module, op.source)
    for module, paths in caller.paths.items():
        for path in paths:
            if path != paths[0] and path not in caller.called:
                continue
            owner = type(module)
            elements, size = unused.get(path, (0, 0))
            yield ModuleInfo(
                path=path,
                type=(getattr(module, "_ty", None) or owner.__name__).rpartition(".")[2],
                source=lines.get(path) if owner.__module__.startswith("torch.") else source_of(owner.forward),
                output_shape=caller.output_shapes.get(path),
                unused_params=elements,
                unused_param_bytes=size,
            )


def failure(
    model: torch.nn.Module, caller: Caller, recorder: Recorder, inputs: list[InputInfo], error: Exception
) -> str:
    """One line: what failed, in which module, on which inputs."""
    where = type(model).__name__ + (f".{caller.failed_in}" if caller.failed_in else "")
    given = ", ".join(f"{i.name} {'x'.join(map(str, i.shape)) or 'scalar'} {i.dtype}" for i in inputs) or "no inputs"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    what = lines[0] if lines else "no message"
    return f"forward fails in {where} on {given}: {type(error).__name__}: {what[:300]}"
