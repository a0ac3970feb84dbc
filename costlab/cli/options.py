"""Options that several commands share, one by one and in groups (see `with_groups`)."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from costlab.core.graph import Fusion, Mode
from costlab.core.parsing import parse_value
from costlab.errors import CostlabError

if TYPE_CHECKING:
    from costlab.latency.execution import ExecutionConfig
    from costlab.models import ModelSpec


def option(help: str, metavar: str | None = None, *names: str, **settings: Any) -> Any:
    """An option with a value, called like its parameter unless it has `names`."""
    return typer.Option(*names, metavar=metavar, help=help, **settings)


def argument(help: str, metavar: str | None = None) -> Any:
    """An argument by position."""
    return typer.Argument(metavar=metavar, help=help, show_default=False)


def flag(name: str, help: str) -> Any:
    """An option without a value."""
    return typer.Option(name, help=help)


MODEL_HELP = (
    "A name (mobilenet_v2), zoo:NAME, torchvision:NAME, timm:NAME, hf:CONFIG, package.module:factory,"
    " path/to/file.py:factory, an exported model.pt2 or a saved profile.json."
)
Model = Annotated[str, argument(MODEL_HELP, "MODEL")]

FORMAT = option("Set the output format.", None, "--format")
TextOrJson = Annotated[Literal["text", "json"], FORMAT]
Format = Annotated[Literal["text", "json", "markdown"], FORMAT]
Output = Annotated[Path | None, option("Write to FILE instead of stdout.", "FILE", "-o", "--output")]
NoCache = Annotated[bool, flag("--no-cache", "Ignore the cache and trace again (`costlab cache info`).")]

FUSION_HELP = "Fold batch norms (bn), and also fuse element-wise operators (pointwise)."
COMPILE_HELP = "Predict for torch.compile, as --fusion pointwise."
Device = Annotated[
    str | None, option("Predict latency on this device (`costlab devices` lists them).", "NAME", "--device")
]
Amp = Annotated[bool, flag("--amp", "Predict for torch.autocast; in --mode step also trace under it.")]
ChannelsLast = Annotated[bool, flag("--channels-last", "Predict for the channels-last layout.")]

RunOn = Annotated[str, option("Run on cpu, cuda, cuda:1 or mps.", "DEVICE", "--device")]
Loss = Annotated[
    str | None, option("Set the loss, a function of the outputs. Default: their own, or their sum.", "FILE.py:NAME")
]
Threads = Annotated[int | None, option("Set the number of CPU threads.", "N", show_default="torch's setting")]


INPUT_HELP = (
    "Set an input (repeatable, in order): 1,3,224,224[:dtype] or name=1,128:int64, of unknown values; with values:"
    " name=1,128:int64=arange, name=FILE.npy, name=[[1, 2]], or name=ones in its default shape"
    " (also zeros, arange, random); other objects: name=value:(16, 16), or what a function returns: FILE.py:NAME."
)


@dataclass(frozen=True)
class ModelOptions:
    """The arguments of a factory, and the inputs of its network."""

    argument: Annotated[
        list[str] | None, option("Pass an argument to the factory (repeatable).", "KEY=VALUE", "-a", "--argument")
    ] = None
    inputs: Annotated[list[str] | None, option(INPUT_HELP, "SPEC", "--input")] = None
    batch: Annotated[int | None, option("Set the batch size of the inputs.", "N")] = None
    resolution: Annotated[int | None, option("Set the height and width of images.", "N")] = None
    dtype: Annotated[str | None, option("Set the floating-point type of network and inputs.", "D")] = None

    def spec(self, target: str, more: Sequence[str] | None = None) -> ModelSpec:
        """A MODEL with these options; `more` are further arguments, which override the others. Raises CostlabError."""
        from costlab.models import ModelSpec

        arguments = {**parse_arguments(self.argument), **parse_arguments(more)}
        given = ModelSpec(target, arguments, tuple(self.inputs or ()), self.batch, self.resolution, self.dtype)
        return configured(given) or given


@dataclass(frozen=True)
class TrainingOptions:
    """The mode of a trace, and the options of a training step."""

    mode: Annotated[Mode, option("Trace inference, a forward pass in train mode, or a whole training step.")] = "eval"
    optimizer: Annotated[
        str | None,
        option(
            "Set the optimizer of a training step: sgd, momentum, adam, adamw, adafactor or adamw8bit.",
            "NAME",
            show_default="sgd",
        ),
    ] = None
    freeze: Annotated[
        list[str] | None,
        option("Do not train these parameters or modules (repeatable); !GLOB trains them after all.", "GLOB"),
    ] = None
    checkpoint: Annotated[
        list[str] | None, option("Run these modules again in the backward pass (repeatable).", "GLOB")
    ] = None
    loss: Loss = None
    accumulate: Annotated[int | None, option("Accumulate gradients over N passes.", "N", min=1, show_default="1")] = (
        None
    )
    shards: Annotated[
        int | None, option("Divide parameters, gradients and optimizer state by N.", "N", min=1, show_default="1")
    ] = None

    def training(self) -> dict[str, Any]:
        """The options of a training step that are given. Raises CostlabError if one is given in another mode."""
        return training_given(self)


def training_given(options: Any) -> dict[str, Any]:
    """The options of a training step that are given. Raises CostlabError if one is given in another mode."""
    names = ("optimizer", "freeze", "checkpoint", "loss", "accumulate", "shards")
    given = {name: value for name in names if (value := getattr(options, name, None))}
    if given and options.mode != "step":
        raise CostlabError(f"--{next(iter(given))} needs a training step: add --mode step")
    return given


@dataclass(frozen=True)
class TracedModelOptions(TrainingOptions, ModelOptions):
    """The options of a network that is traced."""

    max_iterations: Annotated[
        int | None, option("Limit loops whose condition depends on unknown values.", "N", min=1, show_default="100")
    ] = None

    def spec(self, target: str, more: Sequence[str] | None = None) -> ModelSpec:
        spec = super().spec(target, more)
        return replace(spec, mode=self.mode, training=self.training(), max_iterations=self.max_iterations)


@dataclass(frozen=True)
class ExecutionOptions:
    """A device, and how the network runs on it."""

    device: Device = None
    fused: Annotated[Fusion, option(FUSION_HELP, None, "--fusion")] = "none"
    compiled: Annotated[bool, flag("--compile", COMPILE_HELP)] = False
    amp: Amp = False
    channels_last: ChannelsLast = False
    anchor: Annotated[
        Path | None, option("Adjust the device to a network measured on it (`costlab measure --format json`).", "FILE")
    ] = None

    @property
    def fusion(self) -> Fusion:
        """Which operators run as one."""
        return "pointwise" if self.compiled else self.fused

    @property
    def keywords(self) -> dict[str, Any]:
        """The options by the names that the functions of costlab give them."""
        return {name: getattr(self, name) for name in ("device", "amp", "fusion", "channels_last")}

    def config(self, traced_amp: bool = False) -> ExecutionConfig | None:
        """The configuration to predict for; None without a device. `traced_amp`: the trace has the casts of autocast.

        Raises CostlabError if the device is unknown, or missing although another option needs it.
        """
        if self.device is None:
            if self.anchor:
                raise CostlabError("--anchor needs the device that it was measured on: name a --device")
            if (self.amp and not traced_amp) or self.channels_last:
                raise CostlabError("--amp and --channels-last need a prediction: name a --device")
            return None
        from costlab.latency.devices import find_device
        from costlab.latency.execution import ExecutionConfig

        device = find_device(self.device)
        if self.anchor:
            from costlab.measurement.anchor import anchored

            device = anchored(device, self.anchor)
        amp = self.amp and not traced_amp
        return ExecutionConfig(device, amp=amp, fusion=self.fusion, channels_last=self.channels_last)


def spec_to_run(
    target: str, network: TracedModelOptions, execution: ExecutionOptions, more: Sequence[str] | None = None
) -> ModelSpec:
    """A MODEL with all options; a training step is traced under autocast if it runs under it. Raises CostlabError."""
    spec = network.spec(target, more)
    if execution.amp and network.mode == "step":
        return replace(spec, training={**spec.training, "amp": True})
    return spec


def configured(given: ModelSpec) -> ModelSpec | None:
    """The network of that name in the nearest `[tool.costlab]`; what is given overrides it. None if there is none."""
    folders = (Path().resolve(), *Path().resolve().parents)
    if ":" in given.target or not any(names_models(folder / "pyproject.toml") for folder in folders):
        return None
    from costlab.ci import configuration

    path = configuration.find(Path())
    file = configuration.read(path) if path else None
    if file is None:
        return None
    model = next((m for m in file.settings.model if m.name == given.target), None)
    if model is None:
        check_spelling(given.target, [m.name for m in file.settings.model])
        return None
    return replace(
        given,
        target=beside(model.target, file.folder),
        arguments={**model.arguments, **given.arguments},
        inputs=given.inputs or tuple(model.input),
        batch=given.batch or model.batch,
        resolution=given.resolution or model.resolution,
        dtype=given.dtype or model.dtype,
    )


def check_spelling(target: str, names: Sequence[str]) -> None:
    """Suggest the closest name in the configuration. Raises CostlabError if MODEL does not exist and one is close."""
    from costlab.models.resolve import resolve

    close = difflib.get_close_matches(target, names, n=1)
    if close:
        try:
            resolve(target)
        except CostlabError as error:
            raise CostlabError(f"{error}; did you mean {close[0]!r}, which the configuration names?") from None


def names_models(path: Path) -> bool:
    """Whether a configuration may name models, without reading it as TOML."""
    try:
        return b"costlab" in path.read_bytes()
    except OSError:
        return False


def beside(target: str, folder: Path) -> str:
    """A MODEL whose file is relative to a folder, from here."""
    file, colon, factory = target.rpartition(":") if ":" in target else (target, "", "")
    return f"{folder / file}{colon}{factory}" if (folder / file).is_file() else target


def split_arguments(arguments: Sequence[str] | None, twice: str = "") -> dict[str, str]:
    """`-a width=0.75 -a groups=3` by name; an error says after `twice` what to do instead. Raises CostlabError."""
    result: dict[str, str] = {}
    for argument in arguments or ():
        key, equals, value = argument.partition("=")
        if not equals or not key.isidentifier():
            raise CostlabError(f"-a {argument!r} is not an argument: write -a key=value")
        if key in result:
            raise CostlabError(f"-a {key} is given twice{twice}")
        result[key] = value
    return result


def parse_arguments(arguments: Sequence[str] | None) -> dict[str, Any]:
    """`-a width=0.75 -a groups=3` as keyword arguments. Raises CostlabError."""
    return {key: parse_value(value) for key, value in split_arguments(arguments).items()}


def reject_saved_profile(model: str, purpose: str) -> None:
    """Raise CostlabError for a saved profile, where a network is needed."""
    from costlab.models import ModelSpec

    if ModelSpec(model).is_saved_profile:
        raise CostlabError(f"{model} is a saved profile: only a network can be {purpose}")


def check_top(top: int) -> None:
    """Raise CostlabError for a negative number of rows."""
    if top < 0:
        raise CostlabError(f"--top must be 0 or more, got {top}")


def with_groups(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command with every parameter that is a group of options replaced with the options of the group."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        group = groups.get(parameter.name)
        if group is None:
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[parameter.name]))
            continue
        options = get_type_hints(group, include_extras=True)
        for field in fields(group):
            option = inspect.Parameter(
                field.name, parameter.KEYWORD_ONLY, default=field.default, annotation=options[field.name]
            )
            parameters.append(option)

    def call(**values: Any) -> Any:
        built = {name: group(**{f.name: values.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        return command(**values, **built)

    call.__doc__ = command.__doc__
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call
