"""Run the forward pass of a model under the recorder, and leave the model as it was."""

import copy
import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from costlab.core.cost import Rule, cost_of
from costlab.core.graph import InputInfo, Mode, ModuleInfo, Op, Phase, Source, Trace
from costlab.errors import CostlabError, ForwardError
from costlab.tracing.answers import MAX_ITERATIONS, Answers
from costlab.tracing.facade import facade
from costlab.tracing.inputs import absent_tensors
from costlab.tracing.layouts import SPARSE, is_wrapper, plain_tensors, rewrapped, size_of
from costlab.tracing.lazy_modules import materialised
from costlab.tracing.modules import ModuleTracker, source_of, tensors_in, unwrap
from costlab.tracing.recorder import Recorder
from costlab.tracing.restoration import isolated
from costlab.tracing.survivors import forget, globals_of
from costlab.tracing.tensors import is_meta, moved, on_meta
from costlab.tracing.threads import threads_finishing

RecorderType = Callable[[ModuleTracker, Mapping[str, Rule], Callable[[Op], int], Answers, torch.device], Recorder]


def trace(
    model: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    rules: Mapping[str, Rule],
    mode: Mode = "eval",
    max_iterations: int = MAX_ITERATIONS,
    recorder_type: RecorderType = Recorder,
) -> Trace:
    """Run `model(*args, **kwargs)` without computing it.

    A guess that makes forward fail is given up for the opposite one.

    Args:
        args, kwargs: the arguments of forward; tensors anywhere in it. Their data is never changed.
        rules: cost rules; operators of these kinds are recorded whole, others decomposed if torch can.
        mode: "eval", "train", or "step" with a recorder of a whole step.
        max_iterations: how often a loop runs whose condition is unknown.
        recorder_type: makes what records the operators.

    Raises:
        CostlabError: forward fails on these inputs.
    """
    model = materialised(unwrap(model), args, kwargs)
    answers = Answers(max_iterations)
    first: ForwardError | None = None
    while True:
        try:
            return trace_once(model, args, kwargs, rules, mode, answers, recorder_type)
        except ForwardError as error:
            first = first or error
            others = answers.after_failure()
            if others is None:
                raise first from first.__cause__
            answers = others


def trace_once(
    model: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    rules: Mapping[str, Rule],
    mode: Mode,
    answers: Answers,
    recorder_type: RecorderType,
) -> Trace:
    """One run of `trace`, with these answers for unknown conditions."""
    tracker = ModuleTracker(model)
    recorder = recorder_type(tracker, rules, functools.partial(mult_adds, rules), answers, home_of(tracker.paths))
    before = globals_of(tracker.paths)
    failed = True
    try:
        with isolated(list(tracker.paths), mode != "eval"), facade(recorder):
            if answers.gradients:
                drop_weights(tracker.paths)
            result = run(model, args, kwargs, mode, tracker, recorder)
        failed = False
    finally:
        forget(recorder.let_go(), before, failed)
    return result


def run(
    model: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    mode: Mode,
    tracker: ModuleTracker,
    recorder: Recorder,
) -> Trace:
    """Call the model under the recorder."""
    parameters, buffers = own_parameters(tracker), own_buffers(tracker)
    for parameter, _ in parameters:
        recorder.table.register(parameter, "parameter")
    for buffer in buffers:
        recorder.table.register(buffer, "buffer")
    call_args, call_kwargs = stand_ins((list(args), dict(kwargs)))
    inputs = register_inputs(recorder, [*named_inputs(model, call_args), *call_kwargs.items()])
    tracker.attach()
    recorder.operations.scripted = scripted_parameters(tracker, parameters)
    recorder.prepare(tracker.paths, parameters)
    try:
        with recorder.watching(), threads_finishing():
            result = recorder.passes(lambda: model(*call_args, **call_kwargs))
    except (CostlabError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also SystemExit: a model does not end the process
        raise ForwardError(failure(model, tracker, inputs, error, recorder.operations.phase)) from error
    finally:
        recorder.table.restore()
    returned = (recorder.table.record(plain).storage.number for t in tensors_in(result) for plain in plain_tensors(t))
    outputs = tuple(dict.fromkeys(returned))
    return Trace(
        ops=tuple(recorder.ops),
        modules=tuple(module_rows(tracker, recorder, parameters)),
        inputs=tuple(inputs),
        outputs=outputs,
        mode=mode,
        absent=dict.fromkeys(absent_tensors(model, args, kwargs), ""),
        buffer_bytes=sum(size_of(buffer)[1] for buffer in buffers),
        step=recorder.step,
        autocast=None if recorder.autocast is None else str(recorder.autocast.dtype).removeprefix("torch."),
        held={} if recorder.step else recorder.table.held({*outputs}, casts_released(recorder, mode)),
    )


def casts_released(recorder: Recorder, mode: Mode) -> Callable[[], None] | None:
    """What frees autocast's casts of weights, which torch does not keep in inference mode; None if it keeps them."""
    return recorder.autocast.clear if recorder.autocast is not None and mode == "eval" else None


def drop_weights(modules: Iterable[torch.nn.Module]) -> None:
    """Replace parameters by ones without data, of which autograd compares the device with that of their gradients."""
    twins: dict[int, torch.nn.Parameter] = {}
    for module in modules:
        for name, parameter in module._parameters.items():
            if type(parameter) is torch.nn.Parameter and not is_meta(parameter):
                if id(parameter) not in twins:
                    twins[id(parameter)] = torch.nn.Parameter(on_meta(parameter), parameter.requires_grad)
                module._parameters[name] = twins[id(parameter)]


def mult_adds(rules: Mapping[str, Rule], op: Op) -> int:
    """The mult-adds of an operator; 0 if no rule knows it."""
    cost = cost_of(op, rules)
    return cost.mult_adds if cost else 0


def home_of(modules: Collection[torch.nn.Module]) -> torch.device:
    """The device of a network: of its first parameter or buffer with data, else the CPU."""
    members = [module._parameters for module in modules] + [module._buffers for module in modules]
    tensors = (tensor for named in members for tensor in named.values() if tensor is not None)
    return next((tensor.device for tensor in tensors if not tensor.is_meta), torch.device("cpu"))


def own_parameters(tracker: ModuleTracker) -> list[tuple[torch.Tensor, str]]:
    """The distinct parameters, each with the path of the module that registered it first."""
    parameters: dict[int, tuple[torch.Tensor, str]] = {}
    for module, paths in tracker.paths.items():
        for parameter in module._parameters.values():
            if parameter is not None:
                parameters.setdefault(id(parameter), (parameter, paths[0]))
    return list(parameters.values())


def scripted_parameters(tracker: ModuleTracker, parameters: Sequence[tuple[torch.Tensor, str]]) -> dict[int, str]:
    """The module of each parameter, by its position, that is in TorchScript, whose calls of modules cannot be seen."""
    scripted = {paths[0] for module, paths in tracker.paths.items() if isinstance(module, torch.jit.ScriptModule)}
    return {position: path for position, (_, path) in enumerate(parameters) if path in scripted}


def own_buffers(tracker: ModuleTracker) -> list[torch.Tensor]:
    """The distinct buffers."""
    buffers = (buffer for module in tracker.paths for buffer in module._buffers.values())
    return list({id(buffer): buffer for buffer in buffers if buffer is not None}.values())


def register_inputs(recorder: Recorder, arguments: Sequence[tuple[str, Any]]) -> list[InputInfo]:
    """Tell the recorder which tensors are inputs; one argument may contain several."""
    inputs = []
    for name, value in arguments:
        tensors = [plain for tensor in tensors_in(value) for plain in plain_tensors(tensor)]
        for position, tensor in enumerate(tensors):
            recorder.table.register(tensor, "input")
            label = name if len(tensors) == 1 else f"{name}.{position}"
            inputs.append(InputInfo(label, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")))
    return inputs


def without_data(tensor: torch.Tensor) -> torch.Tensor:
    """An input for the trace: integers and single numbers keep their values; never the user's object."""
    if tensor.layout in SPARSE:
        return tensor.detach()
    if is_wrapper(tensor):
        return rewrapped(tensor, without_data)
    if tensor.is_nested:  # in the older layout, which the meta device lacks
        return without_data(torch.nested.as_nested_tensor(list(tensor.unbind()), layout=torch.jagged))
    if tensor.dim() and (tensor.is_floating_point() or tensor.is_complex()):
        placeholder = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
        return placeholder.requires_grad_(tensor.requires_grad)
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
    unused: dict[str, tuple[int, int, int]] = {}
    for position, (_, path) in enumerate(parameters):
        if position not in recorder.operations.params_read:
            own, total = recorder.table.params[position], unused.get(path, (0, 0, 0))
            unused[path] = total[0] + own[0], total[1] + own[1], total[2] + own[2]
    lines: dict[str, Source] = {}
    for op in recorder.ops:
        if op.source is not None:
            lines.setdefault(op.module, op.source)
    for module, paths in tracker.paths.items():
        owner, exported = type(module), vars(module).get("_ty")
        foreign = owner.__module__.startswith("torch.") or exported is not None  # its class is not the user's
        for path in (paths[0], *(p for p in paths[1:] if p in tracker.called)):
            elements, size, frozen = unused.get(path, (0, 0, 0))
            yield ModuleInfo(
                path=path,
                type=(exported or owner.__name__).rpartition(".")[2],
                source=lines.get(path) if foreign else source_of(owner.forward),
                output_shape=tracker.output_shapes.get(path),
                unused_params=elements,
                unused_param_bytes=size,
                unused_frozen_params=frozen,
                calls=tracker.calls.get(path),
            )


def failure(
    model: torch.nn.Module, tracker: ModuleTracker, inputs: list[InputInfo], error: BaseException, phase: Phase
) -> str:
    """One line: what failed, in which module, on which inputs."""
    where = type(model).__name__ + (f".{tracker.failed_in}" if tracker.failed_in else "")
    given = ", ".join(f"{i.name} {'x'.join(map(str, i.shape)) or 'scalar'} {i.dtype}" for i in inputs) or "no inputs"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    what = lines[0] if lines else "no message"
    return f"{phase} fails in {where} on {given}: {type(error).__name__}: {what[:300]}"
