"""The memory of a training step against torch's MemTracker, and laws."""

from __future__ import annotations

import pytest
import torch
from helpers.step_memory import tracked_peak
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import costlab
from costlab.core.memory import allocated, live_bytes, peak_of_step
from costlab.models import ModelSpec
from costlab.models._load import load_model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("zoo:shufflenet_v2", "momentum"),
        ("torchvision:resnet18", "sgd"),
        ("timm:convnext_atto", "momentum"),
        ("timm:deit_tiny_patch16_224", "sgd"),
    ],
)
def test_the_peak_is_that_of_mem_tracker(name: str, optimizer: str) -> None:
    loaded = load_model(ModelSpec(name, batch=4))
    with sdpa_kernel(SDPBackend.MATH):
        profile = costlab.profile(loaded.model, loaded.inputs, mode="step", optimizer=optimizer)
    theirs = tracked_peak(loaded.model, loaded.inputs.args, optimizer)
    assert profile.total.peak_bytes == pytest.approx(theirs, rel=0.01)


def test_what_a_block_keeps_is_worked_out_by_hand() -> None:
    """A convolution keeps its input, a batch norm its input and two vectors, an in-place ReLU its output."""
    model = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 1))
    profile = costlab.profile(model, (2, 4, 5, 5), mode="step")
    rows = profile.by_module()
    activation = 2 * 8 * 5 * 5 * 4
    assert [rows[str(i)].saved_bytes for i in range(4)] == [0, activation + 2 * 8 * 4, activation, 0]
    assert profile.total.saved_bytes == 2 * activation + 64
    assert peak_of_step(profile.trace).bytes == profile.total.peak_bytes


def test_without_in_place_a_relu_keeps_no_more_but_its_input_dies() -> None:
    def saved(inplace: bool) -> int | None:
        model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=inplace), nn.Linear(8, 8))
        return costlab.profile(model, (4, 8), mode="step").total.saved_bytes

    assert saved(True) == saved(False) == 4 * 8 * 4


def test_categories_add_up_and_blocks_round_up() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 3))
    trace = costlab.profile(model, (4, 8), mode="step", optimizer="adamw").trace
    assert trace.step is not None
    live = live_bytes(trace.step, len(trace.ops))
    params = sum(p.numel() * 4 for p in model.parameters())
    assert set(live["parameter"]) == {params}
    assert set(live["optimizer"]) == {2 * params}
    assert live["gradient"][-1] == params
    assert sum(peak_of_step(trace).categories.values()) == peak_of_step(trace).bytes
    assert peak_of_step(trace, 512).bytes % 512 == 0
    assert [allocated(size, 512) for size in (0, 1, 512, 513)] == [0, 512, 512, 1024]


def test_autocast_keeps_casts_of_weights() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    plain, amp = (costlab.profile(model, (2, 64), mode="step", amp=amp) for amp in (False, True))
    weight = 64 * 64 * 2  # of the second layer: the input needs no gradient, so the first one's is not kept
    assert amp.total.saved_bytes == weight + 2 * 64 * 2 + 2 * 64 * 2  # and both inputs, in half precision
    assert plain.total.saved_bytes == 2 * 64 * 4


def test_parameters_that_no_operator_reads_take_memory_and_no_gradient() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(4, 4), nn.Linear(100, 100)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    profile = costlab.profile(Spare(), (2, 4), mode="step", optimizer="momentum")
    assert profile.total.optimizer_bytes == 20 * 4
    assert (profile.total.peak_bytes or 0) > profile.total.param_bytes
