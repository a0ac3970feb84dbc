"""The extended roofline model: the longest of memory, matrix units and instruction issue, and a launch, per kernel."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from costlab.latency.cpu import CpuModel
from costlab.latency.device import Device
from costlab.latency.gpu import GpuModel
from costlab.latency.lowering.kernels import FACTORS, WORK, KernelTable
from costlab.latency.workload import Workload

Array = np.ndarray
BOUNDS = ("memory", "issue", "matrix", "launch")
LAUNCHES = ("launch_seconds", "backward_launch_seconds", "optimizer_launch_seconds")  # by phase
HOST = 4  # exponent of the transition between waiting for the GPU and waiting for the CPU


class Terms(NamedTuple):
    """Seconds of each kernel, by bound and in total."""

    memory: Array
    issue: Array  # instructions outside matrix units
    matrix: Array  # contractions
    launch: Array  # minimum time of a kernel, or its launch
    seconds: Array


def whole_seconds(device: Array | float, host: Array | float, e: Mapping[str, float]) -> Array | float:
    """Seconds of a pass, from those of its kernels and of their launches: the slower of device and host decides."""
    return (device**HOST + host**HOST) ** (1 / HOST) + e["start_seconds"]


class RooflineModel:
    """The kernels of a network on a device; all that does not depend on fitted parameters is computed once."""

    def __init__(self, kernels: KernelTable, device: Device, batch: float | Array = 1.0):
        """`batch` is a multiple of the traced batch; an array holds one value for each kernel."""
        self.kernels, self.gpu = kernels, device.is_gpu
        self.model = (GpuModel if self.gpu else CpuModel)(Workload(kernels, batch), device)
        self.launches = kernels.launches * (kernels.work != WORK["layout"])  # a library launches layout passes itself
        self.weights = np.sum(kernels.constant)

    def host(self, e: Mapping[str, float]) -> Array:
        """Seconds in which the CPU launches each kernel, ahead of the GPU; none where it runs the kernels itself."""
        each = np.array([e.get(name, e["launch_seconds"]) for name in LAUNCHES])[self.kernels.phase]
        return self.launches * each if self.gpu else np.zeros(len(self.kernels))

    def terms(self, e: Mapping[str, float], weights: Array | float | None = None) -> Terms:
        """Seconds of every kernel. `weights`: bytes of weights of its network; default: of all kernels."""
        memory = self.model.memory(e, self.weights if weights is None else weights)
        issue, matrix = self.model.issue(e), self.model.matrix(e)
        p = e["overlap"]
        longest = np.maximum(np.maximum(np.maximum(memory, issue), matrix), 1e-30)
        together = longest * sum((term / longest) ** p for term in (memory, issue, matrix)) ** (1 / p)
        together *= np.array([1.0, *(e.get(name, 1.0) for name in FACTORS[1:])])[self.kernels.factor]
        launch = (e["kernel_seconds"] + self.model.launch(e)) * np.minimum(self.kernels.launches, 1)
        return Terms(memory, issue, matrix, launch, together + launch)
