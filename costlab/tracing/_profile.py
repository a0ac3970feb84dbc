"""`costlab.profile`: trace a model and cost every operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from costlab._version import __version__
from costlab.core.cost import COST_KEYS, RULES, Cost, Rule, cost_of
from costlab.core.gc import gc_paused
from costlab.core.graph import MODES, Mode, Op, Trace
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.tracing.answers import MAX_ITERATIONS
from costlab.tracing.inputs import Inputs, with_either_reading

if TYPE_CHECKING:
    import torch

    from costlab.tracing.forward import RecorderType
    from costlab.tracing.recorder import Recorder


DEFAULTS = {"optimizer": None, "freeze": (), "checkpoint": (), "loss": None, "accumulate": 1, "shards": 1}


class TrainingOptions(TypedDict, total=False):
    """How a network is trained, in mode "step"."""

    optimizer: str | None  # "sgd" (the default), "momentum", "adam", "adamw", "adafactor" or "adamw8bit"
    # Globs of parameters or modules that are not trained, such as "layer1"; later ones win, and one that begins with
    # "!" trains what it matches after all: ("*", "!*lora*").
    freeze: Sequence[str]
    checkpoint: Sequence[str]  # globs of modules that run again in the backward pass, instead of keeping activations
    # From what the model returns to a scalar. Default: its own `loss` if its result has one, else the sum of all
    # floating-point outputs.
    loss: Callable[[Any], Any] | None
    accumulate: int  # forward and backward passes for each step of the optimizer
    shards: int  # devices that parameters, gradients and optimizer state are divided among (FSDP, ZeRO 3)


def profile(
    model: torch.nn.Module,
    inputs: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    mode: Mode = "eval",
    amp: bool | str = False,
    max_iterations: int = MAX_ITERATIONS,
    rules: Mapping[str, Rule] = RULES,
    name: str | None = None,
    provider: str = "python",
    arguments: Mapping[str, Any] | None = None,
    **training: Unpack[TrainingOptions],
) -> Profile:
    """The cost of one forward pass or training step of `model`, which is left exactly as it was.

    Args:
        inputs: a shape `(1, 3, 224, 224)`, a list of shapes, an example tensor, the positional arguments of
            forward, or the `Inputs` that `costlab.load` returns.
        kwargs: keyword arguments of forward; tensors or shapes.
        mode: "eval", "train" (the forward pass in train mode), or "step" (forward, backward and optimizer).
        amp: trace under autocast to float16, or to "bfloat16", as on a GPU; casts are operators.
        max_iterations: how often a loop runs whose condition depends on unknown values.
        rules: cost rules by operator kind; `RULES | {"mylib::op": rule}` adds one.
        name: the profile's name; default: the class of the model.
        provider, arguments: where the model comes from, for reports.
        training: options of a training step, see `TrainingOptions`: optimizer="adamw", freeze=["layer1"], ...

    Returns:
        The profile: costs by operator, module, kind and in total.

    Raises:
        CostlabError: `model` is not an nn.Module, its forward fails on these inputs, or an option is wrong.
    """
    import torch

    from costlab.tracing.forward import trace

    if not isinstance(model, torch.nn.Module):
        raise CostlabError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if mode not in MODES:
        raise CostlabError(f"unknown mode {mode!r}; choose one of {', '.join(MODES)}")
    rules = with_parts(rules)
    with gc_paused():
        recorder_type = recorder_of(mode, amp, step_options(training))

        def traced_with(call: Inputs) -> Trace:
            result = trace(
                model,
                call.args,
                call.kwargs,
                rules=rules,
                mode=mode,
                max_iterations=max_iterations,
                recorder_type=recorder_type,
            )
            return replace(result, absent={**result.absent, **call.absent})

        traced = with_either_reading(inputs, kwargs, traced_with)
        return costed(traced, rules, name or type(model).__name__, provider, arguments)


# What torch makes of a product, unless it has a rule.
PARTS = {
    "matmul": frozenset("mm bmm mv dot".split()),
    "linear": frozenset("mm addmm matmul".split()),
    "einsum": frozenset(("bmm",)),
}


def with_parts(rules: Mapping[str, Rule]) -> Mapping[str, Rule]:
    """The rules without those for a product of whose parts the user gave a rule: the parts are recorded instead."""
    if rules is RULES:
        return rules
    own = {kind for kind, rule in rules.items() if RULES.get(kind) is not rule}
    hidden = {whole for whole, parts in PARTS.items() if parts & own and whole not in own}
    return {kind: rule for kind, rule in rules.items() if kind not in hidden} if hidden else rules


def costed(
    traced: Trace, rules: Mapping[str, Rule], name: str, provider: str, arguments: Mapping[str, Any] | None
) -> Profile:
    """The profile of a trace."""
    import torch

    return Profile(
        name=name,
        provider=provider,
        arguments=dict(arguments or {}),
        trace=traced,
        costs=tuple(cost_with_params(op, rules) for op in traced.ops),
        torch=torch.__version__,
        costlab=__version__,
    )


def step_options(training: Mapping[str, Any]) -> dict[str, Any]:
    """Those options of a training step that differ from the defaults. Raises TypeError if there is no such option."""
    unknown = next((name for name in training if name not in DEFAULTS), None)
    if unknown is not None:
        raise TypeError(f"profile() got an unexpected keyword argument {unknown!r}")
    globs = {name: strings(training[name] or ()) for name in ("freeze", "checkpoint") if name in training}
    given = {**training, **globs}
    return {name: value for name, value in given.items() if value is not None and value != DEFAULTS[name]}


def strings(value: Sequence[str]) -> tuple[str, ...]:
    """Several strings; a single one is one of them."""
    return (value,) if isinstance(value, str) else tuple(value)


def recorder_of(mode: Mode, amp: bool | str, options: Mapping[str, Any]) -> RecorderType:
    """What records a pass in this mode.

    Raises CostlabError if the optimizer or the precision is unknown, or there is nothing to optimize in this mode.
    """
    if not amp:
        return plain_recorder_of(mode, options)
    from costlab.tracing.autocast import Autocast, autocast_dtype

    make, dtype = plain_recorder_of(mode, options), autocast_dtype(amp)

    def recorder(*arguments: Any) -> Recorder:
        made = make(*arguments)
        made.autocast = Autocast(dtype)
        return made

    return recorder


def plain_recorder_of(mode: Mode, options: Mapping[str, Any]) -> RecorderType:
    """The same without autocast."""
    if mode == "step":
        from costlab.tracing.step.options import StepOptions
        from costlab.tracing.step.whole_step import StepRecorder

        return partial(StepRecorder, StepOptions(**options))
    from costlab.tracing.recorder import Recorder

    if options:
        name, value = next(iter(options.items()))
        raise CostlabError(f"{name} {value!r} needs mode 'step', got mode {mode!r}")
    return Recorder


def cost_with_params(op: Op, rules: Mapping[str, Rule]) -> Cost | None:
    """The cost of an operator, with the parameters that it is the first to read."""
    try:
        cost = cost_of(op, rules)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise CostlabError(f"the cost rule of {op.kind} fails on {op.name}: {what}") from error
    own = rules is not RULES and rules.get(op.kind) is not RULES.get(op.kind)
    if own and cost is not None and not all(type(getattr(cost, key)) is int for key in COST_KEYS):
        raise CostlabError(f"the cost rule of {op.kind} returns {cost}: costs must be integers")
    if cost is None or (cost.params, cost.param_bytes) == (op.params, op.param_bytes):
        return cost
    return cost.with_params(op.params, op.param_bytes)
