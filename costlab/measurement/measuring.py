"""`costlab.measure`: the wall time of a network on this machine, whole and operator by operator."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from math import ceil
from time import perf_counter
from typing import Any

import torch
from torch.utils.benchmark import Timer

from costlab.core.cost import RULES
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.measurement.environment import environment, free_memory
from costlab.measurement.replay import Call, matched, play, recorded, stopwatch_for
from costlab.measurement.result import Measurement, Timing
from costlab.tracing._profile import profile
from costlab.tracing.inputs import as_inputs
from costlab.tracing.modules import module_paths, tensors_in, unwrap
from costlab.tracing.restoration import modules_restored, random_state
from costlab.tracing.tensors import moved

TURNS = 3  # at least, of a second at most: whole and operators take turns, so that a slow spell slows both
SPREAD = 0.05  # of a turn, IQR over median, at which it has repeated enough
PATIENCE = 4  # times the seconds asked for, at which it has in any case
ROUNDS = 50  # of a turn, at most: more say nothing new
SEED = 0

Progress = Callable[[str, float], None]  # what is being done; the part of all that is done, 0 to 1


def measure(
    model: torch.nn.Module,
    inputs: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    amp: bool = False,
    channels_last: bool = False,
    compile: bool = False,
    threads: int | None = None,
    ops: bool = True,
    min_seconds: float = 1.0,
    progress: Progress | None = None,
    name: str | None = None,
    provider: str = "python",
    arguments: Mapping[str, Any] | None = None,
) -> Measurement:
    """Wall time in seconds of one forward pass in eval mode, without gradients; `model` is left as it was.

    The whole network is timed by `torch.utils.benchmark`, its operators by playing the forward pass from a tape (see
    `costlab.measurement.replay`). Ctrl-C ends it with what was measured until then.

    Args:
        inputs, kwargs: what `costlab.profile` takes. Floating-point inputs without data become normal random numbers,
            weights on the meta device random ones that keep activations finite.
        device: "cpu", "cuda", "cuda:1", "mps"; a network that lives elsewhere is copied.
        dtype: floating-point type to convert a copy of the network and its inputs to.
        amp: run under `torch.autocast`.
        channels_last: weights and images in channels-last layout.
        compile: run under `torch.compile`; a compiled network, or one that is given so, has no operators to time.
        threads: of the CPU; as torch has it by default.
        ops: time the operators as well.
        min_seconds: spent on the whole at least, and again on the operators.
        progress: called now and then with what is being done and the part of all that is done.

    Raises:
        CostlabError: no such device or dtype, too little memory, or the network does not run.
    """
    if not isinstance(model, torch.nn.Module):
        raise CostlabError(f"a model is a torch.nn.Module; got {type(model).__name__}")
    if not 0 < min_seconds < float("inf"):
        raise CostlabError(f"a measurement takes some seconds, more than 0; {min_seconds} does not do")
    if threads is not None and threads < 1:
        raise CostlabError(f"threads are 1 or more; {threads} is not")
    where, number = device_named(device), None if dtype is None else dtype_named(dtype)
    report: Progress = progress or (lambda words, part: None)
    report("preparing", 0.0)
    around = environment(where)  # the load among it, before there is ours
    subject = prepared(model, where, number, channels_last)
    compiled = compile or unwrap(subject) is not subject
    asked = as_inputs(inputs, kwargs)
    given = laid_out((list(asked.args), dict(asked.kwargs)), number, channels_last)
    half = (lambda: torch.autocast(where.type)) if amp else nullcontext
    with half():
        traced = profile(unwrap(subject), *given, name=name, provider=provider, arguments=arguments)
    job = Job(subject, given, where, half, traced)
    with threads_of(threads), modules_restored(list(module_paths(subject)), train=False), torch.inference_mode():
        report("warming up", 0.0)
        run = job.ready(compile)
        calls = recorded(run, RULES) if ops and not compiled else []
        found = [op if op is not None and not op.free else None for op in matched(calls, traced.ops)]
        taken = timings(run, calls, [op is not None for op in found], where, min_seconds, report)
    named = zip((op.name for op in found if op is not None), taken.parts, strict=True)
    parts = {operator: Timing(tuple(seconds)) for operator, seconds in named if seconds}
    return Measurement(
        name=traced.name,
        provider=provider,
        arguments=dict(arguments or {}),
        device=str(where),
        dtype=dtype_of(subject, given),
        amp=amp,
        channels_last=channels_last,
        compiled=compiled,
        threads=threads or torch.get_num_threads(),
        batch=batch_of(given),
        inputs=traced.trace.inputs,
        whole=Timing(tuple(taken.whole), taken.number),
        ops=parts,
        left_out=tuple(op.name for op in traced.ops if not op.free and op.name not in parts),
        environment=around,
        interrupted=taken.interrupted,
    )


# What is measured.


def device_named(device: str | torch.device) -> torch.device:
    """The device, which is there. Raises CostlabError."""
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise CostlabError(f"no device {str(device)!r}; there are cpu, cuda, cuda:1, mps") from None
    if wanted.type == "cpu":
        return torch.device("cpu")
    if wanted.type == "cuda":
        if not torch.backends.cuda.is_built():
            raise CostlabError("no CUDA device here: this torch was built without CUDA; --device cpu works")
        count = torch.cuda.device_count()
        if (wanted.index or 0) >= count:
            there = ", ".join(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(count))
            raise CostlabError(f"no device {wanted} here: torch sees {there or 'no GPU; --device cpu works'}")
        return torch.device("cuda", wanted.index or 0)
    if wanted.type == "mps":
        if not torch.backends.mps.is_available():
            raise CostlabError("no MPS device here: it takes a Mac with Apple's own chip; --device cpu works")
        return torch.device("mps")
    raise CostlabError(f"times are taken on cpu, cuda and mps; {wanted} is none of them")


def dtype_named(dtype: str | torch.dtype) -> torch.dtype:
    number = dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype, None)
    if not isinstance(number, torch.dtype) or not number.is_floating_point:
        raise CostlabError(f"{dtype!s} is no floating-point type: float32, float16, bfloat16, float64")
    return number


def prepared(
    model: torch.nn.Module, device: torch.device, dtype: torch.dtype | None, channels_last: bool
) -> torch.nn.Module:
    """The network as it is to be measured: itself where nothing about it changes, else a copy."""
    tensors = [*model.parameters(), *model.buffers()]
    same_dtype = dtype is None or all(t.dtype == dtype for t in tensors if t.is_floating_point())
    if not channels_last and same_dtype and all(t.device == device for t in tensors):
        return model
    size = sum(t.numel() * (dtype if dtype and t.is_floating_point() else t.dtype).itemsize for t in tensors)
    free = free_memory()
    if free is not None and size > free:
        raise CostlabError(f"the weights take {units.size(size)} of memory, and {units.size(free)} are free")
    try:
        subject = with_values(copy.deepcopy(model))
    except RuntimeError as error:
        raise CostlabError(f"{type(model).__name__} cannot be copied: {first_line(error)}") from error
    subject = subject.to(device=device, dtype=dtype)
    return subject.to(memory_format=torch.channels_last) if channels_last else subject  # type: ignore[call-overload]


def with_values(model: torch.nn.Module) -> torch.nn.Module:
    """Random values for weights that have none, such that activations neither explode nor fade into denormals."""
    generator = torch.Generator().manual_seed(SEED)
    values: dict[torch.Tensor, torch.Tensor] = {}  # a tied weight stays one

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
    """He's initialisation for matrices and kernels, about 1 for scales and variances, about 0 for biases and means."""
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    values = torch.randn(tensor.shape, generator=generator)
    if tensor.dim() > 1:
        values *= (2 * tensor.shape[0] / tensor.numel()) ** 0.5
    else:
        values = 0.02 * values + (1.0 if name == "weight" or name.endswith("var") else 0.0)
    return values.to(tensor.dtype)


def laid_out(given: tuple[Any, Any], dtype: torch.dtype | None, channels_last: bool) -> tuple[Any, Any]:
    """The inputs in the floating-point type and the layout that were asked for."""

    def change(tensor: torch.Tensor) -> torch.Tensor:
        if dtype is not None and tensor.is_floating_point():
            tensor = tensor.to(dtype)
        return tensor.contiguous(memory_format=torch.channels_last) if channels_last and tensor.dim() == 4 else tensor

    return moved(given, change)


def with_data(given: tuple[Any, Any], device: torch.device) -> tuple[Any, Any]:
    """Copies of the inputs on the device; those without data become normal random numbers."""
    generator = torch.Generator().manual_seed(SEED)

    def fill(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_meta:
            values = torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
            tensor = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype).copy_(values)
        return tensor.detach().to(device, copy=True)

    return moved(given, fill)


def dtype_of(model: torch.nn.Module, given: tuple[Any, Any]) -> str:
    """The floating-point type of the weights, or of the inputs where there are none."""
    numbers = (t.dtype for t in (*model.parameters(), *tensors_in(given)) if t.is_floating_point())
    return str(next(numbers, torch.get_default_dtype())).removeprefix("torch.")


def batch_of(given: tuple[Any, Any]) -> int:
    """The first dimension of the first input."""
    return next((t.shape[0] for t in tensors_in(given) if t.dim()), 1)


def narrowed(given: tuple[Any, Any], batch: int) -> tuple[Any, Any]:
    """The inputs at a smaller batch."""
    full = batch_of(given)
    return moved(given, lambda t: t[:batch] if t.dim() and t.shape[0] == full else t)


@dataclass(frozen=True)
class Job:
    """A network, what it is given, and where and how it runs."""

    model: torch.nn.Module
    given: tuple[Any, Any]  # positional and keyword inputs
    device: torch.device
    half: Callable[[], Any]  # the context that a forward pass runs in
    traced: Profile

    def ready(self, compiled: bool) -> Callable[[], Any]:
        """A forward pass to call again and again, that has run once. Raises CostlabError where it cannot."""
        free = free_memory() if self.device.type == "cpu" else None
        if free is not None and peak(self.traced) > free:
            self.too_large(lambda batch: peak(profile(unwrap(self.model), *narrowed(self.given, batch))) <= free)
        try:
            run = self.forward(self.given, compiled)
            run()
        except Exception as error:
            if is_out_of_memory(error):
                self.too_large(self.runs)
            doing = "be compiled" if compiled else "run"
            raise CostlabError(
                f"{self.traced.name} cannot {doing} on {self.device}: {type(error).__name__}: {first_line(error)}"
            ) from error
        return run

    def forward(self, given: tuple[Any, Any], compiled: bool = False) -> Callable[[], Any]:
        args, kwargs = with_data(given, self.device)
        model = torch.compile(self.model) if compiled else self.model

        def run() -> Any:
            with self.half():
                return model(*args, **kwargs)

        return run

    def runs(self, batch: int) -> bool:
        """Whether a batch fits into memory, tried."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            self.forward(narrowed(self.given, batch))()
        except Exception as error:
            if is_out_of_memory(error):
                return False
            raise
        return True

    def too_large(self, fits: Callable[[int], bool]) -> None:
        """Raise CostlabError with the largest batch that fits."""
        batch = batch_of(self.given)
        best = largest(fits, batch)
        advice = f"about {units.exact(best)} is the largest batch that fits" if best else "not even a batch of 1 fits"
        raise CostlabError(
            f"{self.traced.name} runs out of memory on {self.device} at batch {units.exact(batch)}: {advice}"
        )


def peak(traced: Profile) -> int:
    return traced.total.peak_activation_bytes


def largest(fits: Callable[[int], bool], batch: int) -> int:
    """The largest batch below `batch` that fits, to a sixteenth; 0 where none does. Halves first, then tries."""
    low, high = 0, batch
    while high - low > max(1, low // 16):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else "no message"


# How it is measured.


@dataclass
class Taken:
    """Times as they come in, so that an interruption loses none."""

    whole: list[float]
    parts: list[list[float]]
    number: int = 0
    interrupted: bool = False


def timings(
    run: Callable[[], Any],
    calls: Sequence[Call],
    timed: Sequence[bool],
    device: torch.device,
    min_seconds: float,
    report: Progress,
) -> Taken:
    """The whole network and its operators in turns, until each has had its time and its spread is small."""
    taken = Taken([], [[] for wanted in timed if wanted])
    timer = Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
    stopwatch = stopwatch_for(device)
    turns = max(TURNS, ceil(min_seconds))
    budget = min_seconds / turns

    def note(number: int, seconds: float) -> None:
        taken.whole.append(seconds / number)
        taken.number = min(taken.number or number, number)

    try:
        for turn in range(turns):
            report("timing the whole", turn / turns)
            with random_state():
                timer.adaptive_autorange(
                    SPREAD,
                    min_run_time=budget,
                    max_run_time=PATIENCE * budget,
                    callback=note,  # type: ignore[arg-type]
                )
            if not any(timed):
                continue
            report("timing operators", (turn + 0.5) / turns)
            end = perf_counter() + budget
            for _ in range(ROUNDS):
                for seconds, one in zip(taken.parts, play(calls, timed, stopwatch), strict=True):
                    seconds.append(one)
                if perf_counter() >= end:
                    break
        report("done", 1.0)
    except KeyboardInterrupt:
        if not taken.whole:
            raise
        taken.interrupted = True
    return taken


@contextmanager
def threads_of(number: int | None) -> Iterator[None]:
    """The body runs with so many threads."""
    before = torch.get_num_threads()
    with ExitStack() as stack:
        if number is not None:
            stack.callback(torch.set_num_threads, before)
            torch.set_num_threads(number)
        yield
