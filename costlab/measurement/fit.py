"""Fit the efficiency of a device to measured times: robust least squares on their logarithm.

A sample is what was timed together: a whole network or a single operator.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from costlab.core.correlation import rank_correlation
from costlab.latency.device import Device
from costlab.latency.efficiency import PARAMETERS
from costlab.latency.lowering import Kernel, KernelTable
from costlab.latency.roofline import RooflineModel

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

    @cached_property
    def measured(self) -> Array:
        return np.array([s.seconds for s in self.samples])

    @cached_property
    def network(self) -> Array:
        """The index of each kernel's sample."""
        return np.repeat(np.arange(len(self.samples)), [len(s.kernels) for s in self.samples])

    @cached_property
    def model(self) -> RooflineModel:
        rows = [kernel for sample in self.samples for kernel in sample.kernels]
        batch = np.array([s.batch for s in self.samples])[self.network]
        return RooflineModel(KernelTable(rows, len(rows)), self.device, batch)

    @cached_property
    def weights(self) -> Array:
        """Bytes of weights of the sample that each kernel belongs to."""
        constant = self.model.kernels.constant
        return np.bincount(self.network, constant, len(self.samples))[self.network]

    def predicted(self, efficiency: Mapping[str, float]) -> Array:
        """Predicted seconds of every sample."""
        return self.model.seconds(efficiency, self.network, len(self.samples), self.weights)


class Errors(NamedTuple):
    """How far predictions are from measurements."""

    networks: int
    median: float  # of |predicted / measured - 1|
    ninetieth: float  # its 90th percentile
    spearman: float | None  # rank correlation; None for a single value


def fit(
    groups: Sequence[Samples], start: Mapping[str, float], free: Collection[str], evaluations: int = 20
) -> dict[str, float]:
    """The efficiency that fits the samples best.

    Args:
        groups: samples of one or more devices that share the efficiency.
        start: initial values; parameters that are not `free` keep them.
        free: parameters to fit.
        evaluations: maximum number of evaluations.
    """
    from scipy.optimize import least_squares

    names = [name for name in PARAMETERS if name in free]
    low, high = (np.log([getattr(PARAMETERS[n], end) for n in names]) for end in ("low", "high"))
    first = np.clip(np.log([start[n] for n in names]), low + 1e-6, high - 1e-6)

    def efficiency(logarithms: Array) -> dict[str, float]:
        return {**start, **dict(zip(names, np.exp(logarithms).tolist(), strict=True))}

    def residuals(logarithms: Array) -> Array:
        current = efficiency(logarithms)
        misses = [np.log(group.predicted(current) / group.measured) for group in groups]
        return np.concatenate([*misses, PULL * (logarithms - first)])

    found = least_squares(
        residuals, first, bounds=(low, high), loss="soft_l1", f_scale=OUTLIER, max_nfev=evaluations, diff_step=STEP
    )
    return efficiency(found.x)


def errors(predicted: Array, measured: Array) -> Errors:
    """How far `predicted` is from `measured`, both in seconds."""
    off = np.abs(predicted / measured - 1)
    order = rank_correlation(predicted.tolist(), measured.tolist())
    return Errors(len(off), float(np.median(off)), float(np.percentile(off, 90)), order)
