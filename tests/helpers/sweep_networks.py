"""Networks for sweeps: tiny, and on demand failing, slow or crashing."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from torch import nn


def tiny(width: int = 4, depth: int = 1, seconds: float = 0.0, **unpleasant: str) -> nn.Module:
    """A few convolutions; `seconds` spent building; `trouble` for one of the widths, which `at` gives."""
    time.sleep(seconds)
    if int(unpleasant.get("at", -1)) == width:
        trouble(unpleasant)
    convolutions = [nn.Conv2d(3 if layer == 0 else width, width, 3, padding=1) for layer in range(depth)]
    return nn.Sequential(*convolutions, nn.BatchNorm2d(width), nn.ReLU())


def trouble(asked: dict[str, str]) -> None:
    match asked["trouble"]:
        case "raise":
            raise RuntimeError(f"no network at {object()}")
        case "print":
            print("I am a network")
        case "thread":
            threading.Thread(target=time.sleep, args=(1000,)).start()
        case "process":
            subprocess.Popen(["sleep", "1000"], cwd=asked["folder"])
        case "process-then-die":
            subprocess.Popen(["sleep", "1000"], cwd=asked["folder"])
            os._exit(9)
        case "exit":
            raise SystemExit(3)
        case "die":
            os._exit(9)
        case "die-once":
            mark = Path(asked["mark"])
            if not mark.exists():
                mark.touch()
                os._exit(9)
        case "spin":
            while True:
                pass
        case "swallow":
            try:
                time.sleep(1000)
            except Exception:
                time.sleep(1000)
        case "stuck":
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            ctypes.PyDLL(None).sleep(1000)  # keeps the lock of the interpreter


def sized(resolution: int = 8) -> nn.Module:
    """Takes the resolution itself."""
    return nn.Linear(resolution, 2)
