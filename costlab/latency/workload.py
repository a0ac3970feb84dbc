"""The kernels of a network at a batch: what grows with the batch, grown."""

import numpy as np

from costlab.latency.lowering.kernels import FACTOR, FACTORS, WORK, KernelTable

Array = np.ndarray
SUMMED = [FACTOR[name] for name in FACTORS if name.endswith("weight_gradient")]  # sum over the batch


class Workload:
    """Kernels at a multiple of the traced batch, as columns."""

    def __init__(self, kernels: KernelTable, batch: float | Array):
        """`batch` is a multiple of the traced batch; an array holds one value for each kernel."""
        self.kernels = kernels
        scale = np.where(kernels.batched, batch, 1.0)
        self.by_image = (kernels.work == WORK["convolution"]) & kernels.slow
        per_product = np.isin(kernels.work, (WORK["batched_matmul"], WORK["attention"])) | self.by_image
        summed = np.isin(kernels.factor, SUMMED)
        self.m = np.where(per_product | summed, kernels.m, kernels.m * scale)
        self.k = np.where(summed, kernels.k * scale, kernels.k)
        self.products = np.where(per_product, kernels.products * scale, kernels.products)
        self.flops = kernels.flops * scale
        self.read, self.written = kernels.read * scale, kernels.written * scale
        self.operations, self.transcendental = kernels.operations * scale, kernels.transcendental * scale
        self.window = kernels.window * batch
        self.at = {name: np.flatnonzero(kernels.work == number) for name, number in WORK.items()}

    def of_work(self, *names: str) -> Array:
        """The positions of the kernels that do one of several kinds of work, in order."""
        return np.flatnonzero(np.isin(self.kernels.work, [WORK[name] for name in names]))
