"""Memory of a forward pass as Python holds it: by hand, and against what torch allocates on a CPU."""

from __future__ import annotations

import sys
import threading
import time

import pytest
import torch
from torch import nn

import costlab
from costlab.core.memory import eager_activation_bytes
from costlab.core.profile import Profile
from costlab.measurement.memory import peak_memory
from costlab.measurement.workload import prepare
from costlab.models import ModelSpec
from costlab.models._load import load_model

T = 4 * 1000  # bytes of a tensor


class Locals(nn.Module):
    """Keeps a local variable that it has used for the last time, or assigns it again."""

    def __init__(self, again: bool) -> None:
        super().__init__()
        self.again = again

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.exp()
        z = y.exp()
        if self.again:
            y = z
        return z.exp().exp()


class Kept(nn.Module):
    """Keeps a tensor as an attribute."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.kept = x.exp()
        return self.kept.exp().exp().exp()


@pytest.mark.parametrize(
    ("network", "most"),
    [
        (nn.Sequential(nn.ReLU(), nn.ReLU(), nn.ReLU()), 3),  # the caller's input, and what a layer reads and writes
        (nn.Sequential(nn.Sequential(nn.ReLU(), nn.ReLU(), nn.ReLU())), 3),
        (
            nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU(), nn.ReLU(), nn.ReLU())),
            4,
        ),  # and what the inner one was given
        (nn.Sequential(nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU(inplace=True)), 2),
        (Locals(again=False), 5),
        (Locals(again=True), 4),
        (Kept(), 4),
    ],
)
def test_python_holds_what_it_refers_to(network, most):
    profile = costlab.profile(network, (1000,))
    assert profile.total.peak_bytes == eager_activation_bytes(profile.trace) == most * T
    assert profile.total.peak_bytes >= profile.total.peak_activation_bytes
    assert Profile.from_json(profile.to_json()).total == profile.total


def test_autocast_keeps_casts_of_weights_only_outside_inference_mode():
    network = nn.Sequential(*(nn.Linear(1000, 1000, bias=False) for _ in range(3)))
    weights, casts = 3 * 4_000_000, 2_000_000
    for mode, kept in (("eval", 1), ("train", 3)):
        profile = costlab.profile(network, (1, 1000), mode=mode, amp=True)
        small = (profile.total.peak_bytes or 0) - weights - kept * casts
        assert 0 < small < 20_000


def test_a_thread_that_samples_frames_changes_nothing():
    network = nn.Sequential(*(nn.ReLU() for _ in range(60)))
    stop = threading.Event()

    def sample() -> None:
        while not stop.is_set():
            frames = sys._current_frames()
            sum(range(1_000_000))  # some ten milliseconds
            del frames
            time.sleep(0.0005)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        peaks = {costlab.profile(network, (1000,)).total.peak_bytes for _ in range(30)}
    finally:
        stop.set()
        thread.join()
    assert peaks == {3 * T}


def test_merged_operators_hold_nothing_longer():
    profile = costlab.profile(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.ReLU()), (1, 3, 8, 8))
    assert profile.trace.held
    for fusion in ("bn", "pointwise"):
        assert not profile.fused(fusion).trace.held


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "torchvision:resnet18",
        "torchvision:googlenet",
        "torchvision:swin_t",
        "timm:vit_tiny_patch16_224",
        "timm:convnext_atto",
        "timm:edgenext_xx_small",
        "timm:resmlp_12_224",
        "zoo:shufflenet_v1",
    ],
)
def test_the_peak_is_what_torch_allocates(name):
    """Networks whose peak is at no convolution, since oneDNN copies what some of those read or write."""
    loaded = load_model(ModelSpec(name, batch=2))
    workload = prepare(loaded.model, loaded.inputs, None, torch.device("cpu"))
    with workload.conditions():
        run = workload.forward(workload.inputs)
        run()
        measured = peak_memory(run, workload.device)
    assert measured is not None
    assert eager_activation_bytes(workload.profile.trace) == pytest.approx(measured + workload.input_bytes, rel=0.001)
