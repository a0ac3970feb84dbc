"""A device anchored by a network that was measured on it: its operators adjust the parameters of the latency model."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.latency.device import Device
from costlab.latency.efficiency import efficiency_of
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import Kernel, KernelTable, lower
from costlab.latency.parameters import FIXED, TRAINING, parameters_of
from costlab.latency.roofline import HOST, RooflineModel
from costlab.measurement.documents import read
from costlab.measurement.fit import Sample, Samples, fit
from costlab.measurement.result import Measurement
from costlab.models import ModelSpec, profile_of

PULL = 3.0  # towards the parameters before: one network has few operators of a kind
EVALUATIONS = 5
RESOLUTION = 15e-6  # seconds of an operator; shorter ones are mostly stopwatch
FEWEST = 5  # operators that were timed
WAITING = 0.85  # share of a pass in which the device works, below which it waits for the CPU
UNTOLD = frozenset((*FIXED, *TRAINING, "start_seconds", "vector_share", "half_warp_vector_share"))


def anchored(device: Device, path: Path) -> Device:
    """The device with the parameters that a network measured on it asks for, eagerly run.

    Args:
        device: the device on which the network was measured.
        path: a file of `costlab measure MODEL --format json`, with the times of operators.

    Raises:
        CostlabError: the file is not a measurement, is from another type of device, or names a network that cannot be
            traced.
    """
    measured = read(path, Measurement.from_json)
    kind = measured.device.partition(":")[0]
    if kind != device.type:
        raise CostlabError(f"{path}: measured on {kind}, but {device.name} is a device of type {device.type}")
    if measured.mode != "eval" or measured.compiled:
        raise CostlabError(f"{path}: an anchor is an eager forward pass; measure without --compile and --mode")
    network = traced(measured, path)
    kernels = lower(network, network, ExecutionConfig(device, channels_last=measured.channels_last))
    timed = operators(network, kernels, measured, device)
    if len(timed.samples) < FEWEST:
        raise CostlabError(f"{path}: {len(timed.samples)} operators took longer than 15 us; an anchor needs {FEWEST}")
    values = adjusted(timed, efficiency_of(device, "eager"))
    if device.is_gpu:
        model = RooflineModel(KernelTable(kernels, len(network.ops)), device)
        busy = measured.busy_share
        works = measured.whole.median * busy if busy is not None else float(model.terms(values).seconds.sum())
        least = sum(timing.median for timing in measured.host.values())
        launches = float(np.sum(model.launches))
        values["launch_seconds"] = launch(values, measured.whole.median, works, launches, least)
    return replace(device, efficiency={**device.efficiency, "eager": values})


def adjusted(timed: Samples, before: Mapping[str, float]) -> dict[str, float]:
    """The parameters fitted to operators of one network; those that none of them uses stay as they are.

    Args:
        timed: operators of one network.
        before: the parameters of the device without the anchor.
    """
    weighted = replace(timed, weight=1.0)
    return fit([weighted], before, parameters_of(timed.device.type).keys() - UNTOLD, EVALUATIONS, PULL)


def launch(values: Mapping[str, float], whole: float, works: float, launches: float, least: float = 0.0) -> float:
    """Seconds of the CPU for each launch: known where the device waits for it, otherwise within bounds.

    Args:
        values: the parameters of the device.
        whole: seconds of the pass.
        works: seconds in which the device works.
        launches: number of kernels that the CPU launches.
        least: seconds of the CPU that are known: those of the operators, without what lies between them.
    """
    if works < WAITING * whole:
        return float((whole**HOST - works**HOST) ** (1 / HOST)) / max(launches, 1.0)
    return min(max(values["launch_seconds"], least / max(launches, 1.0)), whole / max(launches, 1.0))


def traced(measured: Measurement, path: Path) -> Profile:
    """The profile of the network that was measured. Raises CostlabError."""
    options = {"amp": True} if measured.amp else {}
    target = f"{measured.provider}:{measured.name.partition(':')[2] or measured.name}"
    spec = ModelSpec(target, measured.arguments, batch=measured.batch, dtype=measured.dtype, training=options)
    try:
        network = profile_of(spec, cached=True)
    except CostlabError as error:
        raise CostlabError(f"{path}: an anchor is a network of a library; {error}") from None
    if not measured.ops.keys() & {op.name for op in network.ops}:
        raise CostlabError(f"{path}: {measured.name} has no operators of these names any more; measure it again")
    return network


def operators(network: Profile, kernels: list[Kernel], measured: Measurement, device: Device) -> Samples:
    """A sample for each operator whose time was measured."""
    own: dict[int, list[Kernel]] = {}
    for kernel in kernels:
        own.setdefault(kernel.op, []).append(kernel._replace(op=0))
    samples = [
        Sample(op.name, own[position], 1.0, measured.ops[op.name].median)
        for position, op in enumerate(network.ops)
        if position in own and op.name in measured.ops and measured.ops[op.name].median >= RESOLUTION
    ]
    return Samples(device, samples, host=False)
