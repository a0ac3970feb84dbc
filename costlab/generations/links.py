"""How devices are connected: the time of an all-reduce."""

from __future__ import annotations

from dataclasses import dataclass

from costlab.errors import CostlabError
from costlab.latency.device import Device


@dataclass(frozen=True)
class Link:
    """The connection of one device to its peers."""

    bandwidth: float  # bytes/s in one direction
    seconds: float  # latency of one collective
    source: str


NVLINK_SECONDS = 10e-6  # of a small all-reduce within one host, NCCL's measured order of magnitude
LINKS = {  # by the beginning of a device's name, or by its architecture
    "v100": Link(150e9, NVLINK_SECONDS, "NVIDIA Tesla V100 datasheet: NVLink 300 GB/s in both directions"),
    "a100": Link(300e9, NVLINK_SECONDS, "NVIDIA A100 datasheet: NVLink 600 GB/s in both directions"),
    "h100": Link(450e9, NVLINK_SECONDS, "NVIDIA H100 datasheet: NVLink 900 GB/s in both directions"),
    "h200": Link(450e9, NVLINK_SECONDS, "NVIDIA H200 datasheet: NVLink 900 GB/s in both directions"),
    "b200": Link(900e9, NVLINK_SECONDS, "NVIDIA HGX B200 datasheet: NVLink 1.8 TB/s in both directions"),
    "gh200": Link(450e9, NVLINK_SECONDS, "NVIDIA GH200 datasheet: NVLink 900 GB/s in both directions"),
}
PCIE = Link(32e9, 20e-6, "PCI Express 4.0 x16: 32 GB/s in one direction")


def link_of(device: Device) -> Link:
    """The link of a device; PCI Express for one whose maker states no other. Raises CostlabError for a CPU."""
    if not device.is_gpu:
        raise CostlabError(f"--tp is for GPUs: {device.name} is a {device.type}")
    return next((link for name, link in LINKS.items() if device.name.startswith(name)), PCIE)


def all_reduce_seconds(size: int, calls: int, devices: int, link: Link) -> float:
    """Seconds of `calls` ring all-reduces of `size` bytes together: each byte crosses a link 2 (n - 1) / n times."""
    if devices == 1:
        return 0.0
    return calls * link.seconds + 2 * (devices - 1) / devices * size / link.bandwidth
