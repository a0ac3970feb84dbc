"""Fit the device profile of this machine: its peaks, measured, and the share of them that operators reach."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.latency.devices import Cache, Device, find_device, list_devices
from costlab.latency.efficiency import PARAMETERS, START
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import lower
from costlab.measurement.environment import environment
from costlab.measurement.fit import Errors, Sample, Samples, errors, fit
from costlab.measurement.measuring import device_named, measure, threads_of
from costlab.measurement.microbenchmarks import Block, blocks
from costlab.measurement.result import Measurement
from costlab.tracing._profile import profile

Progress = Callable[[str, float], None]
PER_BLOCK = 0.4  # seconds spent on a block, and again on its operators
QUICK = 0.02
SUMS = 4  # how often the sum of a block counts: dear operators must be right before cheap ones are
NO_SHORTER = 1e-6  # seconds: below it, the stopwatch is what was timed
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
EAGER_CPU = {  # where a fit begins that runs operator by operator on a CPU
    **START,
    "matmul": 0.7,
    "convolution": 0.6,
    "channels_last_convolution": 0.6,
    "pointwise_convolution": 0.6,
    "channels_last_pointwise_convolution": 0.6,
    "operation": 1.0,
    "transcendental": 10.0,
    "norm_operation": 1.0,
    "strided_norm_operation": 2.0,
    "copied_element": 1.0,
    "pooled_element": 4.0,
    "kernel_seconds": 1e-8,
    "launch_seconds": 5e-6,
    "overlap": 2.0,
    "cache_speed": 3.0,
}
NOT_ON_CPU = frozenset(
    (
        "weight_cache_share",
        "attention_mask",
        "misaligned",
        "serial_seconds",
        "half_norms",
        "kernel_seconds",
        "recurrent",
    )
)
NOT_ON_GPU = frozenset(
    "operation transcendental norm_operation strided_norm_operation copied_element pooled_element overlap"
    " serial_seconds half_norms weight_cache_share start_seconds recurrent".split()
)


@dataclass(frozen=True)
class Calibration:
    """A device profile with how well it explains what was measured."""

    device: Device
    fitted: Errors  # on the operators it was fitted to first
    held_out: Errors  # on operators of blocks that this fit did not see; the profile is then fitted to all
    blocks: int
    operators: int
    interrupted: bool  # fewer blocks than there are


def calibrate(
    device: str = "cpu",
    *,
    threads: int | None = None,
    name: str = "here",
    quick: bool = False,
    progress: Progress | None = None,
) -> Calibration:
    """Measure small networks on this machine, operator by operator, and fit its efficiency to them.

    Takes a few minutes. Every other block is held out of a first fit and judges it. Ctrl-C ends the measuring; what was
    measured until then is fitted.

    Args:
        device: "cpu", "cuda", "cuda:1" or "mps".
        threads: of the CPU; as torch has it by default.
        name: of the profile.
        quick: a few repeats of every fourth block, to see that it works.

    Raises:
        CostlabError: no such device, or too few blocks were measured.
    """
    where = device_named(device)
    if threads is not None and threads < 1:
        raise CostlabError(f"threads are 1 or more; {threads} is not")
    report: Progress = progress or (lambda words, part: None)
    with threads_of(threads):
        report("peaks", 0.0)
        peaks = machine(where, name, threads or torch.get_num_threads())
        chosen = list(blocks())[:: 4 if quick else 1]
        groups: list[list[Sample]] = [[], []]
        between: list[float] = []  # seconds from one operator to the next
        done = 0
        interrupted = False
        try:
            for number, block in enumerate(chosen):
                report(block.name, number / len(chosen))
                model = block.build().eval()
                taken = measure(
                    model,
                    block.shape,
                    device=device,
                    channels_last=block.channels_last,
                    min_seconds=QUICK if quick else PER_BLOCK,
                )
                groups[number % 2] += samples_of(profile(model, block.shape), taken, block, peaks)
                between.append((taken.overhead_seconds or 0.0) / max(len(taken.ops), 1))
                done += 1
                if taken.interrupted:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            interrupted = True
    if done < 8:
        raise CostlabError(f"a calibration needs 8 blocks or more; {done} were measured")
    return fitted(peaks, groups, max(median(between), 0.0), done, interrupted, where)


def fitted(
    peaks: Device,
    groups: Sequence[Sequence[Sample]],
    between: float,
    done: int,
    interrupted: bool,
    where: torch.device,
) -> Calibration:
    on_cpu = where.type == "cpu"
    start = dict(EAGER_CPU if on_cpu else START)
    start["start_seconds"] = 1e-8  # an operator has none; what a forward pass has goes to its operators, below
    free = PARAMETERS.keys() - (NOT_ON_CPU | {"start_seconds"} if on_cpu else NOT_ON_GPU)
    first, second = (Samples(peaks, group) for group in groups)
    trial = fit([first], start, free)
    final = fit([first, second], trial, free)
    final["launch_seconds"] += between
    operators = sum(len({s.name for s in group if ": " in s.name}) for group in groups)
    table = {
        key: float(f"{final[key]:.4g}") for key in PARAMETERS if key in free or key in ("start_seconds", "overlap")
    }
    return Calibration(
        device=with_efficiency(peaks, table, done, operators),
        fitted=errors(first.predicted(trial), first.measured),
        held_out=errors(second.predicted(trial), second.measured),
        blocks=done,
        operators=operators,
        interrupted=interrupted,
    )


def with_efficiency(peaks: Device, table: dict[str, float], done: int, operators: int) -> Device:
    from dataclasses import replace

    note = f"costlab calibrate: {operators} operators of {done} small networks, torch {torch.__version__}"
    return replace(peaks, efficiency={"eager": table, "fitted": {"eager": note}})


def samples_of(traced: Profile, taken: Measurement, block: Block, device: Device) -> list[Sample]:
    """Every operator of a block that was timed, with its kernels, and all of them together."""
    kernels = lower(traced, traced, ExecutionConfig(device, channels_last=block.channels_last))
    found, whole, seconds = [], [], 0.0
    for position, op in enumerate(traced.ops):
        own = [k._replace(op=0) for k in kernels if k.op == position]
        timing = taken.ops.get(op.name)
        if own and timing is not None and timing.median > NO_SHORTER:
            found.append(Sample(f"{block.name}: {op.name}", own, 1.0, timing.median))
            whole += own
            seconds += timing.median
    return found + [Sample(block.name, whole, 1.0, seconds)] * SUMS if found else []


# What the machine can do at most.


def machine(where: torch.device, name: str, threads: int) -> Device:
    """This machine's peaks: those of a known card, else what large products and copies reach here."""
    here = environment(where)
    if where.type == "cuda":
        known = known_card(str(here["gpu"]))
        if known:
            return known
    measured = "measured here by costlab calibrate: "
    flops = {"float32": product_flops(where, torch.float32)}
    matrix = {}
    for dtype in (torch.float16, torch.bfloat16) if where.type != "cpu" else (torch.bfloat16,):
        reached = product_flops(where, dtype)
        if reached > 1.5 * flops["float32"]:
            matrix[str(dtype).removeprefix("torch.")] = reached
    sources = {
        "units": "threads used" if where.type == "cpu" else "the driver",
        "clock": "the system, at the time",
        "bandwidth": measured + "copy of 256 MB, bytes read and written",
        "launch_seconds": "assumption; the fitted efficiency has its own",
        **{f"vector_flops.{key}": measured + "product of two square matrices" for key in flops},
        **{f"matrix_flops.{key}": measured + "product of two square matrices" for key in matrix},
    }
    units = threads
    clock = here.get("cpu_hertz") or 1e9
    if where.type == "cuda":
        properties = torch.cuda.get_device_properties(where)
        units, clock = properties.multi_processor_count, here.get("gpu_hertz") or 1e9
    caches = cpu_caches() if where.type == "cpu" else ()
    sources |= {f"caches.{cache.level}.bytes": "the system" for cache in caches}
    return Device(
        name=name,
        title=str(here.get("gpu") or here["cpu"] or "this machine"),
        type=where.type,
        architecture=str(here["cpu_capability"]) if where.type == "cpu" else "unknown",
        units=units,
        clock=float(clock or 1e9),
        bandwidth=copy_bandwidth(where),
        launch_seconds=5e-6,
        vector_flops=flops,
        matrix_flops=matrix,
        caches=caches,
        sources=sources,
    )


def known_card(title: str) -> Device | None:
    """The device profile of a graphics card by what its driver calls it: "NVIDIA H200" is the H200 of any form."""
    names = {name.replace("-", ""): name for name in list_devices()}
    words = re.findall(r"[a-z0-9]+", title.lower())
    joined = ["".join(words[i:j]) for i in range(len(words)) for j in range(len(words), i, -1)]
    found = next((names[text] for text in joined if text in names), None)
    return find_device(found) if found else None


def cpu_caches() -> tuple[Cache, ...]:
    """The data caches of the first core, as Linux tells; none elsewhere."""
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


def synchronise(where: torch.device) -> None:
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    elif where.type == "mps":
        torch.mps.synchronize()


def product_flops(where: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large product of matrices."""
    size = 1024 if where.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=where).to(dtype) for _ in range(2))
    return 2 * size**3 / best(lambda: a @ b, where)


def copy_bandwidth(where: torch.device) -> float:
    """Bytes a second, read and written, of a large copy."""
    source = torch.ones(2**25, device=where)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / best(lambda: target.copy_(source), where)
