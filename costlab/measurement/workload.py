"""What is measured: a network with values for its weights and inputs, on the device it runs on."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from costlab.core.graph import Mode
from costlab.core.memory import eager_activation_bytes
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.measurement.environment import free_memory
from costlab.measurement.training import TrainingStep
from costlab.tracing._profile import profile
from costlab.tracing.inputs import Inputs, with_either_reading
from costlab.tracing.modules import module_paths, tensors_in, unwrap
from costlab.tracing.restoration import modules_restored
from costlab.tracing.step.options import OPTIMIZER
from costlab.tracing.step.whole_step import own_loss
from costlab.tracing.tensors import moved

SEED = 0


@dataclass(frozen=True)
class Workload:
    """A network, its inputs, and where and how it runs."""

    model: torch.nn.Module
    inputs: Inputs
    device: torch.device
    profile: Profile
    amp: bool = False
    channels_last: bool = False
    mode: Mode = "eval"
    training: Mapping[str, Any] = field(default_factory=dict)  # options of a training step: optimizer and loss

    @property
    def optimizer(self) -> str | None:
        """That of a training step."""
        return self.training.get("optimizer") or OPTIMIZER if self.mode == "step" else None

    @property
    def is_compiled(self) -> bool:
        return unwrap(self.model) is not self.model

    @property
    def dtype(self) -> str:
        """The floating-point type of the weights, or of the inputs if there are none."""
        tensors = (*self.model.parameters(), *input_tensors(self.inputs))
        numbers = (t.dtype for t in tensors if t.is_floating_point())
        return str(next(numbers, torch.get_default_dtype())).removeprefix("torch.")

    @property
    def batch(self) -> int:
        return batch_of(self.inputs)

    @property
    def input_bytes(self) -> int:
        return sum(map(bytes_of, input_tensors(self.inputs)))

    @property
    def model_bytes(self) -> int:
        """Bytes of the distinct parameters and buffers."""
        return sum(map(bytes_of, {*self.model.parameters(), *self.model.buffers()}))

    @contextmanager
    def conditions(self) -> Iterator[None]:
        """Eval mode without gradients, or train mode with them; the network is left unchanged."""
        training = self.mode != "eval"
        gradients = torch.enable_grad() if training else torch.inference_mode()
        with modules_restored(list(module_paths(self.model)), train=training), gradients:
            yield

    def forward(self, inputs: Inputs, compile: bool = False) -> Callable[[], Any]:
        """What is measured, to call repeatedly: a forward pass or a training step, on its own copies of `inputs`."""
        inputs, loss = with_data(inputs, self.device), self.training.get("loss")
        model = torch.compile(self.model) if compile else self.model

        def run() -> Any:
            with autocast(self.device, self.amp):
                result = model(*inputs.args, **inputs.kwargs)
                return result if loss is None else own_loss(loss, result)

        return run if self.optimizer is None else TrainingStep(self.model, run, self.optimizer)

    def warm_up(self, compile: bool = False) -> Callable[[], Any]:
        """A forward pass that has run once. Raises CostlabError if it cannot run."""
        free = free_memory() if self.device.type == "cpu" else None
        if free is not None and peak_bytes(self.profile) > free:
            raise self.out_of_memory(lambda batch: peak_bytes(self.profile_at(batch)) <= free)
        try:
            run = self.forward(self.inputs, compile)
            run()
        except CostlabError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise self.out_of_memory(self.runs) from error
            doing = "be compiled" if compile else "run"
            raise CostlabError(
                f"{self.profile.name} cannot {doing} on {self.device}: {type(error).__name__}: {first_line(error)}"
            ) from error
        return run

    def profile_at(self, batch: int) -> Profile:
        """The network traced at a smaller batch."""
        return traced(self.model, at_batch(self.inputs, batch), self.device, self.amp, self.mode, self.training)

    def runs(self, batch: int) -> bool:
        """Whether the device has memory for a smaller batch, by running it."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            self.forward(at_batch(self.inputs, batch))()
        except Exception as error:
            if is_out_of_memory(error):
                return False
            raise
        return True

    def out_of_memory(self, fits: Callable[[int], bool]) -> CostlabError:
        """The error that names the largest batch that fits."""
        best = largest_batch(fits, self.batch)
        advice = f"about {units.exact(best)} is the largest batch that fits" if best else "not even a batch of 1 fits"
        return CostlabError(
            f"{self.profile.name} runs out of memory on {self.device} at batch {units.exact(self.batch)}: {advice}"
        )


def prepare(
    model: torch.nn.Module,
    inputs: Any,
    kwargs: Mapping[str, Any] | None,
    device: torch.device,
    dtype: torch.dtype | None = None,
    amp: bool = False,
    channels_last: bool = False,
    labels: Mapping[str, Any] | None = None,
    mode: Mode = "eval",
    training: Mapping[str, Any] | None = None,
) -> Workload:
    """The network on its device, its inputs, and its profile with these `labels`; the rest is as in `profile`.

    Raises CostlabError if there is too little memory for the weights, or the network cannot be traced.
    """
    subject = prepare_model(model, device, dtype, channels_last, changes=mode != "eval")

    def workload(call: Inputs) -> Workload:
        converted = convert_inputs(call, dtype, channels_last)
        found = traced(subject, converted, device, amp, mode, training or {}, labels)
        return Workload(subject, converted, device, found, amp, channels_last, mode, training or {})

    return with_either_reading(inputs, kwargs, workload)


def traced(
    model: torch.nn.Module,
    inputs: Inputs,
    device: torch.device,
    amp: bool,
    mode: Mode,
    training: Mapping[str, Any],
    labels: Mapping[str, Any] | None = None,
) -> Profile:
    """The profile of what is measured, under the casts that the device's autocast makes.

    A trace has no data, which torch's own autocast of a GPU would not cast: costlab makes those casts.
    """
    on_cpu = device.type == "cpu"
    dtype = str(torch.get_autocast_dtype(device.type)).removeprefix("torch.") if amp and not on_cpu else False
    with autocast(device, amp and on_cpu):
        return profile(unwrap(model), inputs, mode=mode, amp=dtype, **training, **(labels or {}))


def find_torch_device(device: str | torch.device) -> torch.device:
    """A torch device that this machine has. Raises CostlabError."""
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise CostlabError(f"unknown device {str(device)!r}; use cpu, cuda, cuda:1 or mps") from None
    if wanted.type == "cpu":
        return torch.device("cpu")
    if wanted.type == "cuda":
        if not torch.backends.cuda.is_built():
            raise CostlabError("no CUDA device: this torch was built without CUDA; use --device cpu")
        count = torch.cuda.device_count()
        if (wanted.index or 0) >= count:
            there = ", ".join(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(count))
            raise CostlabError(f"no device {wanted}: torch sees {there or 'no GPU; use --device cpu'}")
        return torch.device("cuda", wanted.index or 0)
    if wanted.type == "mps":
        if not torch.backends.mps.is_available():
            raise CostlabError("no MPS device: it needs a Mac with Apple silicon; use --device cpu")
        return torch.device("mps")
    raise CostlabError(f"cannot measure on {wanted}; use cpu, cuda or mps")


def find_torch_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """A floating-point type. Raises CostlabError."""
    number = dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype, None)
    if not isinstance(number, torch.dtype) or not number.is_floating_point:
        raise CostlabError(f"{dtype!s} is not a floating-point type; use float32, float16, bfloat16 or float64")
    return number


def prepare_model(
    model: torch.nn.Module, device: torch.device, dtype: torch.dtype | None, channels_last: bool, changes: bool = False
) -> torch.nn.Module:
    """The network on its device, in its type and layout: itself, or a copy if a run `changes` buffers or gradients.

    Raises CostlabError.
    """
    tensors = [*model.parameters(), *model.buffers()]
    same_dtype = dtype is None or all(t.dtype == dtype for t in tensors if t.is_floating_point())
    if not changes and not channels_last and same_dtype and all(t.device == device for t in tensors):
        return model
    size = sum(t.numel() * (dtype if dtype and t.is_floating_point() else t.dtype).itemsize for t in tensors)
    free = free_memory()
    if free is not None and size > free:
        raise CostlabError(f"the weights need {units.size(size)} of memory, but only {units.size(free)} are free")
    try:
        subject = with_values(copy.deepcopy(model))
    except RuntimeError as error:
        raise CostlabError(f"{type(model).__name__} cannot be copied: {first_line(error)}") from error
    subject = subject.to(device=device, dtype=dtype)
    return subject.to(memory_format=torch.channels_last) if channels_last else subject  # type: ignore[call-overload]


def with_values(model: torch.nn.Module) -> torch.nn.Module:
    """Random values for weights without data, such that activations neither explode nor become denormal."""
    generator = torch.Generator().manual_seed(SEED)
    values: dict[torch.Tensor, torch.Tensor] = {}  # tied weights stay tied

    def valued(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if tensor not in values:
            random = random_weight(name, tensor, generator)
            parameter = isinstance(tensor, torch.nn.Parameter)
            values[tensor] = torch.nn.Parameter(random, tensor.requires_grad) if parameter else random
        return values[tensor]

    for module in model.modules():
        for owned in (module._parameters, module._buffers):
            for name, tensor in owned.items():
                if tensor is not None and tensor.is_meta:
                    owned[name] = valued(name, tensor)  # type: ignore[assignment]
    return model


def random_weight(name: str, tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """He initialisation for matrices and kernels; near 1 for scales and variances, near 0 for biases and means."""
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    values = torch.randn(tensor.shape, generator=generator)
    if tensor.dim() > 1:
        values *= (2 * tensor.shape[0] / tensor.numel()) ** 0.5
    else:
        values = 0.02 * values + (1.0 if name == "weight" or name.endswith("var") else 0.0)
    return values.to(tensor.dtype)


def autocast(device: torch.device, amp: bool) -> AbstractContextManager[Any]:
    """The context that a forward pass runs in."""
    return torch.autocast(device.type) if amp else nullcontext()


def map_tensors(inputs: Inputs, change: Callable[[torch.Tensor], torch.Tensor]) -> Inputs:
    """The inputs with every tensor changed."""
    args, kwargs = moved((inputs.args, dict(inputs.kwargs)), change)
    return Inputs(args, kwargs)


def input_tensors(inputs: Inputs) -> list[torch.Tensor]:
    """All tensors among the inputs."""
    return list(tensors_in((inputs.args, dict(inputs.kwargs))))


def convert_inputs(inputs: Inputs, dtype: torch.dtype | None, channels_last: bool) -> Inputs:
    """The inputs in a floating-point type and layout."""

    def convert(tensor: torch.Tensor) -> torch.Tensor:
        if dtype is not None and tensor.is_floating_point():
            tensor = tensor.to(dtype)
        return tensor.contiguous(memory_format=torch.channels_last) if channels_last and tensor.dim() == 4 else tensor

    return map_tensors(inputs, convert)


def with_data(inputs: Inputs, device: torch.device) -> Inputs:
    """Copies of the inputs on the device; those without data get normal random numbers, or zeros for integers."""
    generator = torch.Generator().manual_seed(SEED)

    def fill(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_meta:
            floating = tensor.is_floating_point() or tensor.is_complex()
            values = torch.randn(tensor.shape, generator=generator) if floating else torch.zeros(tensor.shape)
            tensor = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype).copy_(values)
        with torch.inference_mode(torch.is_inference_mode_enabled() and not tensor.is_nested):  # it cannot detach them
            return tensor.detach().to(device, copy=True)

    return map_tensors(inputs, fill)


def batch_of(inputs: Inputs) -> int:
    """The first dimension of the first input."""
    return next((t.shape[0] for t in input_tensors(inputs) if t.dim()), 1)


def at_batch(inputs: Inputs, batch: int) -> Inputs:
    """The inputs at a smaller batch."""
    full = batch_of(inputs)
    return map_tensors(inputs, lambda t: t[:batch] if t.dim() and t.shape[0] == full else t)


def peak_bytes(traced: Profile) -> int:
    """Peak bytes of inputs and activations; of a training step, of everything."""
    return eager_activation_bytes(traced.trace) if traced.mode != "step" else traced.total.peak_bytes or 0


def bytes_of(tensor: torch.Tensor) -> int:
    """The size of a tensor's elements."""
    return tensor.numel() * tensor.element_size()


def largest_batch(fits: Callable[[int], bool], batch: int) -> int:
    """The largest batch below `batch` that fits, to within a sixteenth, by bisection; 0 if none fits."""
    low, high = 0, batch
    while high - low > max(1, low // 16):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of torch means that memory ran out."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else "no message"
