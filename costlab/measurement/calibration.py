"""Fit a device profile to this machine: its measured peaks, and the share of them that operators reach."""

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

from costlab.errors import CostlabError
from costlab.latency.device import Cache, Device
from costlab.latency.devices import find_device, list_devices
from costlab.latency.efficiency import efficiency_of, shared_efficiency
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import lower
from costlab.latency.parameters import FIXED, TRAINING, parameters_of
from costlab.measurement._measure import measure
from costlab.measurement.calibration_result import Calibration, Peak
from costlab.measurement.environment import environment
from costlab.measurement.fit import PULL, Sample, Samples, errors, fit
from costlab.measurement.microbenchmarks import Block, blocks
from costlab.measurement.operator_timing import synchronise
from costlab.measurement.result import Measurement
from costlab.measurement.timing import Progress, silent, threads_of
from costlab.measurement.workload import find_torch_device
from costlab.tracing._profile import profile

PER_BLOCK = (0.4, 0.05)  # seconds to time a block, and again its operators: on a CPU; on a GPU, without its traces
QUICK = 0.02
SUMS = 4  # weight of a block's total time, so that expensive operators matter more than cheap ones
NOISY = 0.1  # IQR over median of a block that something else disturbed
RESOLUTION = 1e-6  # seconds; shorter times are mostly those of the stopwatch
FEWEST_BLOCKS = 8
MINIMUM_LAUNCH = 1e-6  # seconds
WAITING = 0.7  # below this busy share, a GPU waits for the CPU
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
EAGER_CPU = {  # start of a fit to operators on a CPU
    "matmul": 0.7,
    "convolution": 0.6,
    "pointwise_convolution": 0.6,
    "operation": 1.0,
    "transcendental": 10.0,
    "norm_operation": 1.0,
    "strided_norm_operation": 2.0,
    "copied_element": 1.0,
    "pooled_element": 4.0,
    "bandwidth": 0.9,
    "kernel_seconds": 1e-8,
    "launch_seconds": 5e-6,
    "overlap": 2.0,
    "cache_speed": 3.0,
}
CUDA_PULL = 3.0  # towards the parameters of all cards: small blocks tell little of large kernels
TOLD = frozenset(  # what they do tell: the least time of kernels, and L2
    "kernel_seconds reducing_seconds product_seconds attention_seconds convolution_cycles l2_bytes cache_share".split()
)
L2_SPEED = 2.0  # times that of memory where a fit starts; from below it, no fit would move it
NOT_MEASURED = {  # parameters that no measurement of operators determines
    "cpu": frozenset((*FIXED, *TRAINING, "weight_cache_share", "kernel_seconds", "recurrent", "start_seconds")),
    "gpu": frozenset((*FIXED, *TRAINING, "launch_seconds", "recurrent", "start_seconds")),
}


def calibrate(
    device: str = "cpu",
    *,
    threads: int | None = None,
    name: str = "here",
    quick: bool = False,
    progress: Progress | None = None,
) -> Calibration:
    """Measure small networks on this machine, operator by operator, and fit a device profile to them.

    Takes a few minutes, on a GPU one or two. Every other block is held out of a first fit, to judge it. Ctrl-C stops
    measuring and fits what was measured so far.

    Args:
        device: "cpu", "cuda", "cuda:1" or "mps".
        threads: CPU threads. Default: torch's setting.
        name: name of the device profile.
        quick: a few repeats of every fourth block, as a trial run.
        progress: called with a description of the current step and the fraction done.

    Raises:
        CostlabError: unknown device, or too few blocks were measured.
    """
    where = find_torch_device(device)
    if threads is not None and threads < 1:
        raise CostlabError(f"threads must be 1 or more, got {threads}")
    report = progress or silent
    with threads_of(threads):
        report("peaks", 0.0)
        load = environment(where)["load_average"]
        reached = measured_peaks(where)
        peaks = machine(where, name, threads or torch.get_num_threads(), reached)
        chosen = list(blocks())[:: 4 if quick else 1]
        groups: list[list[Sample]] = [[], []]
        gaps: list[float] = []  # mean seconds of the CPU for an operator, of each block
        seconds = QUICK if quick else PER_BLOCK[where.type != "cpu"]
        noisy = 0
        interrupted = False
        try:
            for number, block in enumerate(chosen):
                report(block.name, number / len(chosen))
                measurement = measured_block(block, device, seconds)
                groups[number % 2] += samples_of(block, measurement, peaks)
                gaps.append(host_seconds(measurement) / max(len(measurement.ops), 1))
                noisy += measurement.whole.iqr > NOISY * measurement.whole.median
                if measurement.interrupted:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            interrupted = True
    if len(gaps) < FEWEST_BLOCKS:
        raise CostlabError(f"a calibration needs {FEWEST_BLOCKS} blocks or more; {len(gaps)} were measured")
    found = fit_device(peaks, groups, max(median(gaps), 0.0), len(gaps), interrupted)
    per_core = load / (os.cpu_count() or 1) if isinstance(load, float) else None
    return replace(found, peaks=beside_datasheet(reached, peaks), noisy=noisy, load=per_core)


def measured_block(block: Block, device: str, seconds: float) -> Measurement:
    """The times of a block."""
    model, last = block.build().eval(), block.channels_last
    return measure(model, block.shape, device=device, channels_last=last, min_seconds=seconds, name=block.name)


def samples_of(block: Block, measurement: Measurement, peaks: Device) -> list[Sample]:
    """A sample for each operator of a block that was measured, and for all of them together."""
    traced = profile(block.build().eval(), block.shape)
    kernels = lower(traced, traced, ExecutionConfig(peaks, channels_last=block.channels_last))
    samples, together, total = [], [], 0.0
    for position, op in enumerate(traced.ops):
        own = [k._replace(op=0) for k in kernels if k.op == position]
        timing = measurement.ops.get(op.name)
        if own and timing is not None and timing.median > RESOLUTION:
            samples.append(Sample(f"{block.name}: {op.name}", own, 1.0, timing.median))
            together += own
            total += timing.median
    return samples + [Sample(block.name, together, 1.0, total)] * SUMS if samples else []


def host_seconds(measurement: Measurement) -> float:
    """Seconds of the CPU: all of them where a GPU waits for it, else those outside operators."""
    busy = measurement.busy_share
    return measurement.whole.median if busy is not None and busy < WAITING else measurement.overhead_seconds or 0.0


def fit_device(
    peaks: Device, groups: Sequence[Sequence[Sample]], gap: float, measured: int, interrupted: bool
) -> Calibration:
    """The device with the efficiency that fits both groups, judged by a fit to the first.

    Args:
        gap: host seconds per operator: the launch on a GPU; on a CPU, the time between operators beyond a launch.
        measured: number of blocks.
    """
    gpu = peaks.is_gpu
    start = start_of(peaks)
    parameters = parameters_of(peaks.type)
    free = parameters.keys() - NOT_MEASURED["gpu" if gpu else "cpu"]
    first, second = (Samples(peaks, group, host=not gpu) for group in groups)
    fitted = partial(fit, free=free, pull=CUDA_PULL if peaks.type == "cuda" else PULL, told=TOLD)
    trial = fitted([first], start)
    final = fitted([first, second], start if gpu else trial)
    final["launch_seconds"] = max(gap, MINIMUM_LAUNCH) if gpu else final["launch_seconds"] + gap
    table = {key: float(f"{final[key]:.4g}") for key in parameters if key not in (*FIXED, *TRAINING)}
    if gpu:
        table["half_norms"] = 0.0  # torch's own autocast computes norms in float32
    operators = sum(len({s.name for s in group if ": " in s.name}) for group in groups)
    note = f"costlab calibrate: {operators} operators of {measured} small networks, torch {torch.__version__}"
    return Calibration(
        device=replace(peaks, efficiency={"eager": table, "fitted": {"eager": note}}),
        fitted=errors(first.predicted(trial), first.measured),
        held_out=errors(second.predicted(trial), second.measured),
        blocks=measured,
        operators=operators,
        interrupted=interrupted,
    )


def start_of(peaks: Device) -> dict[str, float]:
    """The parameters that a fit starts from: on a GPU the card's own or those of all, where they say something."""
    if peaks.is_gpu:
        parameters = parameters_of(peaks.type)
        memory = peaks.bandwidth / (peaks.units * peaks.clock * peaks.boost)  # bytes a clock and multiprocessor
        priors = {name: parameters[name].prior for name in TOLD}
        start = efficiency_of(peaks, "eager") | priors | {"l2_bytes": L2_SPEED * memory}
    else:
        start = shared_efficiency(peaks.type, "eager") | EAGER_CPU
    start["start_seconds"] = 1e-8  # operators have none; that of a forward pass is part of `gap`
    return start


def measured_peaks(where: torch.device) -> dict[str, float]:
    """FLOP/s of a large matrix product by dtype, and bytes/s of a large copy as "bandwidth"."""
    dtypes = (torch.float32, torch.bfloat16) if where.type == "cpu" else (torch.float32, torch.float16, torch.bfloat16)
    flops = {str(dtype).removeprefix("torch."): product_flops(where, dtype) for dtype in dtypes}
    return {**flops, "bandwidth": copy_bandwidth(where)}


def beside_datasheet(reached: Mapping[str, float], device: Device) -> tuple[Peak, ...]:
    """The measured peaks with those of the maker, if the device has them from a datasheet."""

    def published(name: str) -> float | None:
        if known_card(device.title) is None:
            return None
        return device.bandwidth if name == "bandwidth" else device.peak_flops(name)

    return tuple(Peak(name, value, published(name)) for name, value in reached.items())


def machine(where: torch.device, name: str, threads: int, reached: Mapping[str, float]) -> Device:
    """This machine: a known graphics card with its maker's peaks, else with those of `measured_peaks`."""
    here = environment(where)
    if where.type == "cuda":
        known = known_card(str(here["gpu"]))
        if known:
            return known
    flops = {"float32": reached["float32"]}
    matrix = {
        dtype: value
        for dtype, value in reached.items()
        if dtype not in ("float32", "bandwidth") and value > 1.5 * flops["float32"]
    }
    units, clock = threads, here.get("cpu_hertz")
    if where.type == "cuda":
        units, clock = torch.cuda.get_device_properties(where).multi_processor_count, here.get("gpu_hertz")
    caches = cpu_caches() if where.type == "cpu" else ()
    measured = "measured here by costlab calibrate: "
    product = measured + "product of two square matrices"
    sources = {
        "units": "threads used" if where.type == "cpu" else "the driver",
        "clock": "the system, at the time",
        "bandwidth": measured + "copy of 256 MB, bytes read and written",
        "launch_seconds": "assumption; the fitted efficiency has its own",
        **{f"vector_flops.{key}": product for key in flops},
        **{f"matrix_flops.{key}": product for key in matrix},
        **{f"caches.{cache.level}.bytes": "the system" for cache in caches},
    }
    return Device(
        name=name,
        title=str(here.get("gpu") or here["cpu"] or "this machine"),
        type=where.type,
        architecture=str(here["cpu_capability"]) if where.type == "cpu" else "unknown",
        units=units,
        clock=float(clock or 1e9),
        bandwidth=reached["bandwidth"],
        launch_seconds=5e-6,
        vector_flops=flops,
        matrix_flops=matrix,
        caches=caches,
        sources=sources,
    )


def known_card(title: str) -> Device | None:
    """The device profile of a graphics card by the name that its driver reports; None for an unknown card."""
    names = {name.replace("-", ""): name for name in list_devices()}
    words = re.findall(r"[a-z0-9]+", title.lower())
    joined = ["".join(words[i:j]) for i in range(len(words)) for j in range(len(words), i, -1)]
    found = next((names[text] for text in joined if text in names), None)
    return find_device(found) if found else None


def cpu_caches() -> tuple[Cache, ...]:
    """The data caches of the first core, as Linux reports them; empty on other systems."""
    found = []
    for folder in sorted(CACHES.glob("index*")):
        kind, level, size, shared = (
            (folder / part).read_text().strip() for part in ("type", "level", "size", "shared_cpu_list")
        )
        digits = re.fullmatch(r"(\d+)K", size)
        if kind != "Instruction" and digits:
            per = "unit" if level != "3" and (("," not in shared and "-" not in shared) or level == "1") else "device"
            found.append(Cache(f"L{level}", int(digits[1]) * 1024, per))
    return tuple(found)


def best(run: Callable[[], object], where: torch.device, seconds: float = 0.5) -> float:
    """The shortest time of one run, in seconds."""
    run()
    shortest, until = math.inf, perf_counter() + seconds
    while perf_counter() < until:
        synchronise(where)
        begin = perf_counter()
        run()
        synchronise(where)
        shortest = min(shortest, perf_counter() - begin)
    return shortest


def product_flops(where: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product."""
    size = 1024 if where.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=where).to(dtype) for _ in range(2))
    return 2 * size**3 / best(lambda: a @ b, where)


def copy_bandwidth(where: torch.device) -> float:
    """Bytes/s, read and written, of a large copy."""
    source = torch.ones(2**25, device=where)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / best(lambda: target.copy_(source), where)
