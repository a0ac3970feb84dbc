"""Fit the efficiency of a device to measured times: robust least squares on their logarithm.

A sample is what was timed together: a whole network or a single operator.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from costlab.core.correlation import rank_correlation
from costlab.latency.device import Device
from costlab.latency.lowering import Kernel, KernelTable
from costlab.latency.parameters import parameters_of
from costlab.latency.roofline import RooflineModel, whole_seconds

Array = np.ndarray
OUTLIER = 0.08  # log ratio above which an error counts linearly
PULL = 0.02  # weight of a parameter's distance from its start: undetermined parameters stay there
STEP = 1e-3  # finite difference of a parameter's logarithm


class Sample(NamedTuple):
    """Kernels that were timed together."""

    name: str
    kernels: Sequence[Kernel]  # at the traced batch
    batch: float  # measured batch over traced batch
    seconds: float


@dataclass(frozen=True)
class Samples:
    """Samples from one device and execution mode."""

    device: Device
    samples: Sequence[Sample]
    host: bool = True  # seconds include the CPU's launches; those of a GPU's kernels do not
    weight: float = 1.0  # of the whole group in a fit

    @cached_property
    def measured(self) -> Array:
        return np.array([s.seconds for s in self.samples])

    @cached_property
    def distinct(self) -> tuple[Array, Array, Array]:
        """Distinct kernels of every sample as rows of numbers, how often each runs, and the index of its sample."""
        found = [np.unique(alike(sample.kernels), axis=0, return_counts=True) for sample in self.samples]
        network = np.repeat(np.arange(len(found)), [len(rows) for rows, _ in found])
        return np.concatenate([rows for rows, _ in found]), np.concatenate([count for _, count in found]), network

    @cached_property
    def model(self) -> RooflineModel:
        rows, _, network = self.distinct
        return RooflineModel(KernelTable(rows, 1), self.device, np.array([s.batch for s in self.samples])[network])

    @cached_property
    def weights(self) -> Array:
        """Bytes of weights of the sample that each kernel belongs to."""
        _, count, network = self.distinct
        return np.bincount(network, count * self.model.kernels.constant, len(self.samples))[network]

    def predicted(self, efficiency: Mapping[str, float]) -> Array:
        """Predicted seconds of every sample."""
        _, count, network = self.distinct
        device = np.bincount(network, count * self.model.terms(efficiency, self.weights).seconds, len(self.samples))
        if not self.host:
            return device
        host = np.bincount(network, count * self.model.host(efficiency), len(self.samples))
        return np.asarray(whole_seconds(device, host, efficiency))


def alike(kernels: Sequence[Kernel]) -> Array:
    """Kernels as rows of numbers, those of different operators alike."""
    rows = np.array(kernels, dtype=np.float64).reshape(len(kernels), -1)
    rows[:, Kernel._fields.index("op")] = 0
    return rows


class Errors(NamedTuple):
    """How far predictions are from measurements."""

    networks: int
    median: float  # of |predicted / measured - 1|
    ninetieth: float  # its 90th percentile
    spearman: float | None  # rank correlation; None for a single value


def fit(
    groups: Sequence[Samples],
    start: Mapping[str, float],
    free: Collection[str],
    evaluations: int = 20,
    pull: float = PULL,
    outlier: float = OUTLIER,
    told: Collection[str] = (),
) -> dict[str, float]:
    """The efficiency that fits the samples best.

    Args:
        groups: samples of one or more devices of a type, which share the efficiency.
        start: initial values; parameters that are not `free` keep them.
        free: parameters to fit.
        evaluations: maximum number of evaluations.
        pull: weight of a parameter's distance from its start, in the logarithm.
        outlier: log ratio above which an error counts linearly.
        told: parameters that the samples determine, whatever the `pull` of others.
    """
    from scipy.optimize import least_squares

    parameters = parameters_of(groups[0].device.type)
    names = [name for name in parameters if name in free]
    low, high = (np.log([getattr(parameters[n], end) for n in names]) for end in ("low", "high"))
    first = np.clip(np.log([start[n] for n in names]), low, high)
    pulls = np.array([PULL if name in told else pull for name in names])

    def efficiency(logarithms: Array) -> dict[str, float]:
        return {**start, **dict(zip(names, np.exp(logarithms).tolist(), strict=True))}

    def residuals(logarithms: Array) -> Array:
        current = efficiency(logarithms)
        misses = [robust(np.log(group.predicted(current) / group.measured), outlier) * group.weight for group in groups]
        return np.concatenate([*misses, pulls * (logarithms - first)])

    bounds = (low - 1e-6, high + 1e-6)
    found = least_squares(residuals, first, bounds=bounds, max_nfev=evaluations, diff_step=STEP)
    return efficiency(np.clip(found.x, low, high))


def robust(misses: Array, outlier: float = OUTLIER) -> Array:
    """Residuals whose squares grow linearly above `outlier` (the soft L1 loss)."""
    return np.sign(misses) * outlier * np.sqrt(2 * (np.sqrt(1 + (misses / outlier) ** 2) - 1))


def errors(predicted: Array, measured: Array) -> Errors:
    """How far `predicted` is from `measured`, both in seconds."""
    off = np.abs(predicted / measured - 1)
    order = rank_correlation(predicted.tolist(), measured.tolist())
    return Errors(len(off), float(np.median(off)), float(np.percentile(off, 90)), order)
