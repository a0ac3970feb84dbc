"""How long `costlab.profile` takes beside a bare forward pass on the meta device and beside fvcore.

Warm: one process, a fresh instance of the network each time, after one round that is not counted. Cold: the first call
in a fresh process. Times are medians in milliseconds; the ratios are what carries over to another machine.
"""

from __future__ import annotations

import json
import logging
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import torch

import costlab
from costlab.loading import load_model
from costlab.loading.torchvision_models import import_torchvision

NETWORKS = ("mobilenet_v2", "resnet50", "vit_b_16", "efficientnet_b0", "swin_t", "densenet121")
ROUNDS = 7


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def profile_time(name: str) -> float:
    loaded = load_model(f"torchvision:{name}")
    return seconds(lambda: costlab.profile(loaded.model, (1, 3, 224, 224)))


def forward_time(name: str) -> float:
    """A forward pass on the meta device, weights and all."""
    with torch.device("meta"):
        model = import_torchvision().models.get_model(name, weights=None).eval()
    image = torch.empty(1, 3, 224, 224, device="meta")
    with torch.inference_mode():
        return seconds(lambda: model(image))


def fvcore_time(name: str) -> float:
    """FlopCountAnalysis needs real weights and runs for real."""
    from fvcore.nn import FlopCountAnalysis

    model = import_torchvision().models.get_model(name, weights=None).eval()
    image = torch.randn(1, 3, 224, 224)
    return seconds(lambda: FlopCountAnalysis(model, image).unsupported_ops_warnings(False).total())


WAYS = {"profile": profile_time, "forward": forward_time, "fvcore": fvcore_time}


def cold(name: str, way: str) -> float:
    """The time of the first call in a fresh process."""
    command = [sys.executable, "-W", "ignore", __file__, name, way]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def table(title: str, times: dict[str, dict[str, float]]) -> None:
    print(
        f"\n{title}\n{'network':<16}{'profile':>10}{'forward':>10}{'fvcore':>10}{'profile/forward':>18}{'fvcore/profile':>17}"
    )
    rows = []
    for name, row in times.items():
        ratios = row["profile"] / row["forward"], row["fvcore"] / row["profile"]
        rows.append(ratios)
        print(f"{name:<16}" + "".join(f"{row[w] * 1e3:>10.1f}" for w in WAYS) + f"{ratios[0]:>18.2f}{ratios[1]:>17.1f}")
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    print(f"{'median':<46}{medians[0]:>18.2f}{medians[1]:>17.1f}")


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if len(sys.argv) == 3:
        print(json.dumps(WAYS[sys.argv[2]](sys.argv[1])))
        return
    versions = f"costlab {costlab.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    print(f"{versions}, {platform.machine()}, {torch.get_num_threads()} threads")
    warm = {}
    for name in NETWORKS:
        samples: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS + 1):
            for way, run in WAYS.items():
                samples[way].append(run(name))
        warm[name] = {way: statistics.median(times[1:]) for way, times in samples.items()}
    table(f"warm, milliseconds, median of {ROUNDS}", warm)
    table(
        "cold, milliseconds, first call of a process, median of 3",
        {n: {w: statistics.median(cold(n, w) for _ in range(3)) for w in WAYS} for n in NETWORKS},
    )


if __name__ == "__main__":
    main()
