"""Lowering: the kernels that a device runs for the operators of a profile.

An operator is one kernel, and more where PyTorch does more than its graph shows: casts of autocast, copies of tensors
in the wrong layout, a bias added separately, attention that no fused kernel supports.
"""

from costlab.latency.lowering._lower import lower
from costlab.latency.lowering.kernels import WORK, Kernel, KernelTable

__all__ = ["WORK", "Kernel", "KernelTable", "lower"]
