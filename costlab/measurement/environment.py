"""What a time depends on other than the network: the processor, its clock, software versions, the load."""

import os
import platform
import re
import subprocess
from pathlib import Path

import torch

from costlab._version import __version__
from costlab.measurement.result import EnvironmentValue

CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")


def environment(device: torch.device) -> dict[str, EnvironmentValue]:
    """This machine and `device`; values that cannot be read are None."""
    facts: dict[str, EnvironmentValue] = {
        "costlab": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "cpu_hertz": cpu_hertz(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "denormals_flushed": not bool(torch.tensor([1e-40]).mul(1).item()),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "gpu": properties.name,
            "gpu_memory": properties.total_memory,
            "gpu_hertz": gpu_hertz(device),
            "cuda": torch.version.cuda or torch.version.hip,
            "cudnn": torch.backends.cudnn.version(),
            "tf32": torch.backends.cuda.matmul.allow_tf32,
        }
    return facts


def cpu_name() -> str | None:
    """The processor's name."""
    named = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text_of(CPUINFO), re.M)
    if named:
        return named[1].strip()
    if platform.system() == "Darwin":
        asked = subprocess.run(["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        return asked.stdout.strip() or None
    return platform.processor() or None


def cpu_hertz() -> float | None:
    """The current clock of the first core."""
    megahertz = re.search(r"^cpu MHz\s*:\s*([\d.]+)", text_of(CPUINFO), re.M)
    return float(megahertz[1]) * 1e6 if megahertz else None


def gpu_hertz(device: torch.device) -> float | None:
    """The current clock of the streaming multiprocessors; None without NVIDIA's management library."""
    try:
        return torch.cuda.clock_rate(device) * 1e6
    except Exception:  # the library is missing or denies access
        return None


def free_memory() -> int | None:
    """Bytes of memory available to programs; None if the system does not tell."""
    available = re.search(r"^MemAvailable:\s*(\d+) kB", text_of(MEMINFO), re.M)
    return int(available[1]) * 1024 if available else None


def text_of(path: Path) -> str:
    """The content of a system file; empty if there is none."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
