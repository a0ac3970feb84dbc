"""Time of `costlab.profile` compared with a bare forward pass and FlopCounterMode on the meta device, and with fvcore.

A training step's is compared with that of a forward pass, and with FlopCounterMode over forward and backward.

Warm: in one process, a fresh instance of the network each time. First: the first call in a process that has imported
everything and built the network. Nothing here is answered from a cache of profiles.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

import torch
from apart import apart
from tools import FVCORE, MODE_ON_META, Tool, quiet
from torch.utils.flop_counter import FlopCounterMode

import costlab
from costlab.models import ModelSpec, load_model
from costlab.models.providers.torchvision import import_torchvision

NETWORKS = ("mobilenet_v2", "resnet50", "vit_b_16", "efficientnet_b0", "swin_t", "densenet121")
SHAPE = (1, 3, 224, 224)


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def profile_time(name: str) -> float:
    """The network built without weights, as `costlab.load` builds it."""
    model = load_model(ModelSpec(f"torchvision:{name}")).model
    return timed(lambda: costlab.profile(model, SHAPE))


def forward_time(name: str) -> float:
    """A forward pass on the meta device, weights and all."""
    with torch.device("meta"):
        model, image = import_torchvision().models.get_model(name, weights=None).eval(), torch.empty(SHAPE)
    with torch.inference_mode():
        return timed(lambda: model(image))


def tool_time(tool: Tool) -> Callable[[str], float]:
    def measure(name: str) -> float:
        with torch.device(tool.device):
            model, image = import_torchvision().models.get_model(name, weights=None).eval(), torch.rand(SHAPE)
        return timed(lambda: tool.count(model, (image,)))

    return measure


WAYS = {
    "profile": profile_time,
    "forward": forward_time,
    "FlopCounterMode": tool_time(MODE_ON_META),
    "fvcore": tool_time(FVCORE),
}
FIRST = ("profile", "forward")


def step_time(name: str) -> float:
    """A training step of the network built without weights."""
    model = load_model(ModelSpec(f"torchvision:{name}")).model
    return timed(lambda: costlab.profile(model, SHAPE, mode="step"))


def counted_step_time(name: str) -> float:
    """FlopCounterMode over forward and backward on the meta device."""
    with torch.device("meta"):
        model, image = import_torchvision().models.get_model(name, weights=None).train(), torch.empty(SHAPE)

    def count() -> None:
        with FlopCounterMode(display=False):
            model(image).sum().backward()

    return timed(count)


STEP_WAYS = {"profile": profile_time, "step": step_time, "FlopCounterMode": counted_step_time}


def call_times(names: Iterable[str], rounds: int, first_rounds: int) -> list[dict[str, Any]]:
    """For every network the median seconds of each way, `warm` and `first`."""
    return [{"name": n, "warm": apart(warm, n, rounds), "first": first(n, first_rounds)} for n in names]


def step_times(names: Iterable[str], rounds: int) -> dict[str, Any]:
    """For every network the median seconds of each way, and how busy the machine was at the end."""
    networks = [{"name": n, "warm": apart(warm, n, rounds, True)} for n in names]
    return {"networks": networks, "load": round(os.getloadavg()[0], 1)}


def warm(name: str, rounds: int, steps: bool = False) -> dict[str, float]:
    """All ways in turn, `rounds` times after one that does not count."""
    ways = STEP_WAYS if steps else WAYS
    with quiet():
        turns = [{way: measure(name) for way, measure in ways.items()} for _ in range(rounds + 1)][1:]
    return {way: median(turn[way] for turn in turns) for way in ways}


def first(name: str, rounds: int) -> dict[str, float]:
    turns = [{way: in_new_process(way, name) for way in FIRST} for _ in range(rounds)]
    return {way: median(turn[way] for turn in turns) for way in FIRST}


def in_new_process(way: str, name: str) -> float:
    done = subprocess.run([sys.executable, __file__, way, name], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    _, way, name = sys.argv
    with quiet():
        seconds = WAYS[way](name)
    print(seconds)


if __name__ == "__main__":
    main()
