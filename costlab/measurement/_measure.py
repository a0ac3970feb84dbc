"""`costlab.measure`: the wall time of a network on this machine, in total and by operator."""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import torch

from costlab.core.cost import RULES
from costlab.core.graph import Mode
from costlab.errors import CostlabError
from costlab.measurement.device_timing import device_times, has_kernels
from costlab.measurement.environment import environment
from costlab.measurement.memory import page_faults, peak_memory
from costlab.measurement.operator_timing import matched, recorded
from costlab.measurement.result import DeviceActivity, Measurement, Memory, Timing
from costlab.measurement.timing import Progress, silent, threads_of, time_in_turns
from costlab.measurement.training import TrainingStep
from costlab.measurement.workload import Workload, find_torch_device, find_torch_dtype, prepare


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
    mode: Mode = "eval",
    optimizer: str | None = None,
    loss: Callable[[Any], Any] | None = None,
    threads: int | None = None,
    ops: bool = True,
    min_seconds: float = 1.0,
    progress: Progress | None = None,
    name: str | None = None,
    provider: str = "python",
    arguments: Mapping[str, Any] | None = None,
) -> Measurement:
    """Measure the wall time of one forward pass or training step; `model` is left unchanged.

    The whole network is timed by `torch.utils.benchmark`, its operators by replaying a recorded forward pass
    (`costlab.measurement.operator_timing`). Ctrl-C stops early and returns what was measured so far.

    Args:
        model: the network; weights on the meta device get random values that keep activations finite.
        inputs, kwargs: as in `costlab.profile`; floating-point inputs without data become normal random numbers.
        device: "cpu", "cuda", "cuda:1" or "mps"; a network on another device is copied.
        dtype: floating-point type to which a copy of the network and its inputs are converted.
        amp: run under `torch.autocast`.
        channels_last: use channels-last layout for weights and images.
        compile: run under `torch.compile`; the operators of a compiled network are not timed.
        mode: "eval" (without gradients), "train" (the forward pass in train mode), or "step" (forward, backward and
            optimizer, whose learning rate is 0); only the operators of "eval" are timed.
        optimizer: of a step: "sgd" (the default), "momentum", "adam", "adamw" or "adafactor".
        loss: of a step, from what the network returns to a scalar. Default: its own, or the sum of its outputs.
        threads: CPU threads. Default: torch's setting.
        ops: time the operators as well.
        min_seconds: minimum time spent on the whole network, and again on its operators.
        progress: called with a description of the current step and the fraction done.
        name, provider, arguments: what the result calls the network.

    Raises:
        CostlabError: unknown device or dtype, too little memory, or the network does not run.
    """
    check_options(model, min_seconds, threads)
    where, report = find_torch_device(device), progress or silent
    number = None if dtype is None else find_torch_dtype(dtype)
    report("preparing", 0.0)
    facts = environment(where)  # the load average before this adds to it
    labels = {"name": name, "provider": provider, "arguments": arguments}
    training = {"optimizer": optimizer, "loss": loss}
    workload = prepare(model, inputs, kwargs, where, number, amp, channels_last, labels, mode, training)
    return measure_workload(workload, compile, threads, ops and mode == "eval", min_seconds, report, facts)


def check_options(model: object, min_seconds: float, threads: int | None) -> None:
    """Raise CostlabError for options that cannot be measured with."""
    if not isinstance(model, torch.nn.Module):
        raise CostlabError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if not (min_seconds > 0 and isfinite(min_seconds)):
        raise CostlabError(f"min_seconds must be finite and greater than 0, got {min_seconds}")
    if threads is not None and threads < 1:
        raise CostlabError(f"threads must be 1 or more, got {threads}")


def measure_workload(
    workload: Workload,
    compile: bool,
    threads: int | None,
    ops: bool,
    min_seconds: float,
    report: Progress,
    facts: Mapping[str, Any],
) -> Measurement:
    """Time a workload, as `measure` does."""
    profile, compiled = workload.profile, compile or workload.is_compiled
    with threads_of(threads), workload.conditions():
        report("warming up", 0.0)
        run = workload.warm_up(compile)
        if isinstance(run, TrainingStep):
            run.release_gradients()
        peak = peak_memory(run, workload.device)
        calls = recorded(run, RULES) if ops and not compiled else []
        ours = [op if op is not None and not op.free else None for op in matched(calls, profile.ops)]
        names, timed = [op.name for op in ours if op is not None], [op is not None for op in ours]
        activity: DeviceActivity | None = None
        device_timings: dict[str, Timing] = {}
        if has_kernels(workload.device):
            report("tracing kernels", 0.0)
            activity, device_timings = device_times(run, calls, timed, names, workload.device)
        times = time_in_turns(run, calls, timed, workload.device, min_seconds, report)
        faults = None if times.interrupted else page_faults(run, workload.device)
    turns = {name: Timing(tuple(seconds)) for name, seconds in zip(names, times.ops, strict=True) if seconds}
    timings, host = (device_timings, turns) if activity else (turns, {})
    return Measurement(
        name=profile.name,
        provider=profile.provider,
        arguments=dict(profile.arguments),
        device=str(workload.device),
        dtype=workload.dtype,
        amp=workload.amp,
        channels_last=workload.channels_last,
        compiled=compiled,
        threads=threads or torch.get_num_threads(),
        batch=workload.batch,
        inputs=profile.trace.inputs,
        whole=Timing(tuple(times.whole), times.number),
        ops=timings,
        left_out=tuple(op.name for op in profile.ops if not op.free and op.name not in timings),
        environment=dict(facts),
        interrupted=times.interrupted,
        host=host,
        activity=activity,
        mode=workload.mode,
        optimizer=workload.optimizer,
        page_faults=faults,
        **memory_beside_prediction(workload, run, peak),
    )


def memory_beside_prediction(workload: Workload, run: Callable[[], Any], peak: int | None) -> dict[str, Memory]:
    """The peaks that are predicted for what was run, beside the measured ones: of everything; in eval of activations.

    Args:
        peak: bytes of a run above what is allocated before it; None if unknown.
    """
    total, inputs = workload.profile.total, workload.input_bytes
    resident = inputs + workload.model_bytes + (run.state_bytes if isinstance(run, TrainingStep) else 0)
    if workload.mode == "train" or total.peak_bytes is None:  # a trace does not know what autograd keeps
        return {}
    found = {"peak_bytes": Memory(None if peak is None else peak + resident, total.peak_bytes)}
    if workload.mode == "eval":
        measured = None if peak is None else peak + inputs
        found["peak_activation_bytes"] = Memory(measured, total.peak_activation_bytes)
    return found
