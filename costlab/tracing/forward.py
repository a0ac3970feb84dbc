"""Run the forward pass of a model under the recorder, and leave the model as it was."""

from __future__ import annotations

import copy
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch

from costlab.core.graph import InputInfo, ModuleInfo, Source, Trace
from costlab.errors import CostlabError, ForwardError
from costlab.tracing.modules import ModuleTracker, source_of, tensors_in, unwrap
from costlab.tracing.recorder import Recorder
from costlab.tracing.restoration import isolated
from costlab.tracing.tensors import moved


def trace(
    model: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], kinds: Collection[str], train: bool = False
) -> Trace:
    """Run `model(*args, **kwargs)` without computing it.

    Args:
        args, kwargs: the arguments of forward; tensors anywhere in it. Their data is never changed.
        kinds: operator kinds to record whole; others are decomposed if torch can.
        train: trace the forward pass in train mode instead of eval mode.

    Raises:
        CostlabError: forward fails on these inputs.
    """
    model = unwrap(model)
    tracker = ModuleTracker(model)
    recorder = Recorder(tracker, kinds)
    with isolated(list(tracker.paths), train):
        parameters = own_parameters(tracker)
        register_state(recorder, tracker, parameters)
        call_args, call_kwargs = stand_ins((list(args), dict(kwargs)))
        inputs = register_inputs(recorder, [*named_inputs(model, call_args), *call_kwargs.items()])
        tracker.attach()
        try:
            with recorder:
                result = model(*call_args, **call_kwargs)
        except (CostlabError, KeyboardInterrupt):
            raise
        except BaseException as error:  # also SystemExit: a model does not end the process
            raise ForwardError(failure(model, tracker, inputs, error)) from error
        finally:
            recorder.restore_externals()
        outputs = dict.fromkeys(recorder.table.record(t).storage.number for t in tensors_in(result))
    return Trace(
        ops=tuple(recorder.ops),
        modules=tuple(module_rows(tracker, recorder, parameters)),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        mode="train" if train else "eval",
    )


def own_parameters(tracker: ModuleTracker) -> list[tuple[torch.Tensor, str]]:
    """The distinct parameters, each with the path of the module that registered it first."""
    parameters: dict[int, tuple[torch.Tensor, str]] = {}
    for module, paths in tracker.paths.items():
        for name, parameter in module._parameters.items():
            if isinstance(parameter, torch.nn.parameter.UninitializedParameter):
                where = f"{paths[0]}.{name}" if paths[0] else name
                raise CostlabError(f"parameter {where} has no shape yet: run the lazy module once, then profile it")
            if parameter is not None:
                parameters.setdefault(id(parameter), (parameter, paths[0]))
    return list(parameters.values())


def register_state(recorder: Recorder, tracker: ModuleTracker, parameters: list[tuple[torch.Tensor, str]]) -> None:
    """Tell the recorder which tensors are parameters and buffers."""
    for parameter, _ in parameters:
        recorder.table.register(parameter, "parameter")
    for module in tracker.paths:
        for buffer in module._buffers.values():
            if buffer is not None:
                recorder.table.register(buffer, "buffer")


def register_inputs(recorder: Recorder, arguments: Sequence[tuple[str, Any]]) -> list[InputInfo]:
    """Tell the recorder which tensors are inputs; one argument may contain several."""
    inputs = []
    for name, value in arguments:
        tensors = list(tensors_in(value))
        for position, tensor in enumerate(tensors):
            recorder.table.register(tensor, "input")
            label = name if len(tensors) == 1 else f"{name}.{position}"
            inputs.append(InputInfo(label, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")))
    return inputs


def without_data(tensor: torch.Tensor) -> torch.Tensor:
    """An input for the trace: integers keep their values, floating-point ones lose them; never the user's object."""
    if tensor.is_floating_point() or tensor.is_complex():
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return tensor.detach()


def stand_ins(arguments: tuple[list[Any], dict[str, Any]]) -> Any:
    """A copy of the arguments with tensors without data: a cache among them grows in the copy alone.

    An argument given twice stays one object; modules, and what cannot be copied, stay themselves.
    """
    args, kwargs = arguments
    stand_in = functools.cache(without_data)
    copies = {id(tensor): stand_in(tensor) for tensor in tensors_in(arguments)}
    same = {id(value): value for value in (*args, *kwargs.values()) if isinstance(value, torch.nn.Module)}
    try:
        return copy.deepcopy(arguments, {**copies, **same})
    except Exception:  # locks, generators, tensors in hidden places
        return moved(arguments, stand_in)


def named_inputs(model: torch.nn.Module, args: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Positional arguments with their names in the signature of forward."""
    code = getattr(getattr(type(model), "forward", None), "__code__", None)
    names = getattr(model, "input_names", None) or (code.co_varnames[1 : code.co_argcount] if code else ())
    for position, arg in enumerate(args):
        yield (names[position] if position < len(names) else f"input_{position}"), arg


def module_rows(
    tracker: ModuleTracker, recorder: Recorder, parameters: list[tuple[torch.Tensor, str]]
) -> Iterator[ModuleInfo]:
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
    for module, paths in tracker.paths.items():
        owner = type(module)
        foreign = owner.__module__.startswith("torch.") or hasattr(module, "_ty")  # its class is not the user's
        for path in (paths[0], *(p for p in paths[1:] if p in tracker.called)):
            elements, size = unused.get(path, (0, 0))
            yield ModuleInfo(
                path=path,
                type=(getattr(module, "_ty", None) or owner.__name__).rpartition(".")[2],
                source=lines.get(path) if foreign else source_of(owner.forward),
                output_shape=tracker.output_shapes.get(path),
                unused_params=elements,
                unused_param_bytes=size,
            )


def failure(model: torch.nn.Module, tracker: ModuleTracker, inputs: list[InputInfo], error: BaseException) -> str:
    """One line: what failed, in which module, on which inputs."""
    where = type(model).__name__ + (f".{tracker.failed_in}" if tracker.failed_in else "")
    given = ", ".join(f"{i.name} {'x'.join(map(str, i.shape)) or 'scalar'} {i.dtype}" for i in inputs) or "no inputs"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    what = lines[0] if lines else "no message"
    return f"forward fails in {where} on {given}: {type(error).__name__}: {what[:300]}"
