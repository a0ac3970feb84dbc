"""Predicted training steps: the kernels of backward and optimizer, and laws that hold on every device."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import costlab
from costlab.core.graph import PHASES
from costlab.core.optimizers import OPTIMIZERS
from costlab.errors import CostlabError
from costlab.latency.devices import find_device
from costlab.latency.execution import OPTIMIZER_FORMS, ExecutionConfig
from costlab.latency.lowering import WORK, KernelTable, lower
from costlab.latency.lowering.kernels import FACTOR, FACTORS
from costlab.latency.parameters import TRAINING

PARAMETERS = 3 * 16 * 9 + 16 + 16 * 32 * 9 + 16 + 16 + 32 * 10 + 10


class Network(nn.Module):
    """Convolutions, a batch norm and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.conv = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(torch.relu(self.norm(self.stem(x)))).mean((2, 3)))


def step_of(batch=32, network=Network, shape=(3, 32, 32), **options):
    return costlab.profile(network(), (batch, *shape), mode="step", **options)


def table_of(profile, device="rtx3090", **way):
    kernels = lower(profile, profile, ExecutionConfig(find_device(device), **way))
    return KernelTable(kernels, len(profile.ops))


@pytest.mark.parametrize("device", ["rtx3090", "h100", "i9-10940x"])
@pytest.mark.parametrize("amp", [False, True])
def test_phases_and_operators_sum_to_the_whole(device, amp):
    predicted = costlab.predict(step_of(optimizer="adamw", amp=amp), device)
    assert tuple(predicted.by_phase) == PHASES
    assert all(seconds > 0 for seconds in predicted.by_phase.values())
    assert sum(predicted.by_phase.values()) == pytest.approx(sum(predicted.by_op.values()))
    assert predicted.seconds >= sum(predicted.by_op.values())
    assert predicted.summary["predicted_seconds_by_phase"] == predicted.by_phase


def test_a_forward_pass_has_no_phases():
    predicted = costlab.predict(costlab.profile(Network(), (32, 3, 32, 32)), "rtx3090")
    assert not predicted.by_phase
    assert predicted.optimizer_form is None
    assert "predicted_seconds_by_phase" not in predicted.summary


@pytest.mark.parametrize("groups", [1, 4, 16])
@pytest.mark.parametrize("transposed", [False, True])
def test_kernels_compute_every_product_of_the_backward_pass(groups, transposed):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    profile = step_of(network=lambda: nn.Sequential(kind(16, 16, 3), nn.ReLU(), kind(16, 16, 3, groups=groups)),
                      shape=(16, 16, 16))  # fmt: skip
    table = table_of(profile, "i9-10940x")  # which pads no channels
    assert table.flops.sum() == 2 * profile.total.mult_adds
    tiled = table.flops > 0
    products = table.m * table.n * table.k * table.products
    depthwise = table.work == WORK["depthwise_convolution"]
    transposing = tiled & ~depthwise & (table.phase == 1)
    assert products[transposing] == pytest.approx(table.flops[transposing] / 2)


def test_the_gradient_of_a_weight_sums_over_the_batch_and_that_of_an_input_grows_with_it():
    small, large = (costlab.predict(step_of(batch), "rtx3090") for batch in (64, 512))
    scaled = costlab.predict(step_of(64), "rtx3090", batch=512)
    assert scaled.seconds == pytest.approx(large.seconds, rel=0.02)
    assert scaled.by_phase["backward"] > small.by_phase["backward"]
    assert scaled.by_phase["optimizer"] == small.by_phase["optimizer"]


def test_frozen_parameters_take_no_time_backward():
    whole, head = (costlab.predict(step_of(256, freeze=freeze), "rtx3090") for freeze in ((), ("*", "!head")))
    assert head.by_phase["backward"] < whole.by_phase["backward"] / 4
    assert head.by_phase["optimizer"] < whole.by_phase["optimizer"]
    assert head.by_phase["forward"] == pytest.approx(whole.by_phase["forward"])


def test_recomputed_activations_take_the_time_of_their_forward_pass_again():
    plain, again = (costlab.predict(step_of(256, checkpoint=glob), "rtx3090") for glob in ((), ("conv",)))
    forward = plain.by_op["conv/conv2d"]
    assert again.seconds == pytest.approx(plain.seconds + forward, rel=0.02)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_an_optimizer_makes_the_passes_that_torch_makes(optimizer):
    """`for-loop` reads and writes what the operators of torch.optim do, seen by a TorchDispatchMode."""
    profile = step_of(optimizer=optimizer)
    tables = {form: table_of(profile, optimizer_form=form) for form in OPTIMIZER_FORMS}
    moved = {form: float(table.constant[table.phase == 2].sum()) for form, table in tables.items()}
    launched = {form: float(table.launches[table.phase == 2].sum()) for form, table in tables.items()}
    elements = sum(OPTIMIZERS[optimizer].passes)
    assert moved["for-loop"] == moved["foreach"] == 4 * PARAMETERS * elements
    assert elements == elements_moved_by_torch(optimizer)
    assert moved["fused"] == sum(
        cost.bytes_accessed for op, cost in zip(profile.ops, profile.costs, strict=True) if op.phase == "optimizer"
    )
    assert moved["fused"] <= moved["foreach"]
    assert launched["fused"] <= launched["foreach"] < launched["for-loop"]


def elements_moved_by_torch(name: str) -> int:
    """Elements that torch's for-loop reads and writes for each element of a parameter, in its second step."""
    from torch.utils._python_dispatch import TorchDispatchMode

    parameter = nn.Parameter(torch.zeros(64))
    settings = {"foreach": False, "weight_decay": 0.01} if name == "adamw" else {"foreach": False}
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}.get(name, torch.optim.SGD)
    if name == "momentum":
        settings["momentum"] = 0.9
    stepper = kind([parameter], 0.1, **settings)
    count = 0

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal count
            result = func(*args, **(kwargs or {}))
            if func._schema.name not in ("aten::detach", "aten::alias"):
                read = {id(t): t for t in torch.utils._pytree.tree_leaves((args, kwargs))}.values()
                count += sum(t.numel() for t in (*read, result) if isinstance(t, torch.Tensor) and t.numel() == 64)
            return result

    for _ in range(2):
        parameter.grad = torch.ones(64)
        count = 0
        with Counting():
            stepper.step()
    return count // 64


@pytest.mark.parametrize("device", ["rtx3090", "i9-10940x"])
def test_autocast_is_cast_once(device):
    profile = step_of(amp=True)
    assert costlab.predict(profile, device, amp=True).by_op == costlab.predict(profile, device).by_op


def test_a_step_without_autocast_is_not_predicted_with_it():
    with pytest.raises(CostlabError, match="trace it with amp"):
        costlab.predict(step_of(), "rtx3090", amp=True)


def test_an_unknown_form_of_an_optimizer_is_an_error():
    with pytest.raises(CostlabError, match="unknown form of an optimizer 'multi'; use one of foreach, for-loop, fused"):
        costlab.predict(step_of(), "rtx3090", optimizer_form="multi")


@pytest.mark.parametrize("name", ["vgg11", "timm:vit_tiny_patch16_224", "timm:convnext_atto", "shufflenet_v2_x0_5"])
def test_a_step_takes_two_to_six_times_its_forward_pass(name):
    """Backward is twice the products; norms and sums weigh more."""
    model, _ = costlab.load(name)
    step = costlab.predict(costlab.profile(model, (64, 3, 224, 224), mode="step", optimizer="momentum"), "rtx3090")
    forward = costlab.predict(costlab.profile(model, (64, 3, 224, 224)), "rtx3090")
    assert 2 < step.seconds / forward.seconds < 6


def test_every_factor_is_a_parameter():
    assert set(FACTORS[1:]) == {name for name in TRAINING if not name.endswith("seconds")}
    assert len(FACTOR) == len(FACTORS)
