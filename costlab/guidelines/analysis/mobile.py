"""Mobile devices: CPUs of phones and single-board computers, for which networks are exported to ExecuTorch."""

from costlab.latency.device import Device

CORES = ("cortex", "kryo")  # architectures of Arm and of Qualcomm, in phones and in single-board computers


def is_mobile(device: Device) -> bool:
    """Whether a device is the CPU of a phone or a single-board computer."""
    return device.type == "cpu" and device.architecture.startswith(CORES)
