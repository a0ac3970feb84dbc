"""Training steps are measured as they run, and leave the network as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import costlab
from costlab.cli import run
from costlab.errors import CostlabError
from costlab.measurement.result import Measurement
from costlab.measurement.training import OPTIMIZERS, TrainingStep
from costlab.reports import timings as report

QUICK = {"min_seconds": 0.005, "threads": 1}
SHAPE = (4, 3, 8, 8)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    parts = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(288, 5)
    return nn.Sequential(*parts)


@pytest.mark.parametrize("mode", ["train", "step"])
def test_the_network_is_left_as_it_was(mode):
    model = network().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = costlab.measure(model, SHAPE, mode=mode, **QUICK)
    assert (found.mode, found.ops, found.left_out) == (mode, {}, found.left_out)
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_step_runs_forward_in_train_mode_backward_and_the_optimizer():
    seen = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 8)
            self.linear.weight.register_hook(lambda gradient: seen.append("backward"))

        def __deepcopy__(self, memo):
            return Watched()

        def forward(self, x):
            seen.append(f"forward {self.training} {torch.is_grad_enabled()}")
            return self.linear(x)

    seen.clear()
    costlab.measure(Watched(), torch.randn(2, 8), mode="step", **QUICK)
    steps = seen[seen.index("backward") - 1 :]
    assert steps[:4] == ["forward True True", "backward"] * 2


def test_a_step_differentiates_the_loss_that_is_given():
    losses = []

    def scaled(output):
        losses.append(0.25 * output.float().mean())
        losses[-1].register_hook(lambda gradient: losses.append(gradient))
        return losses[-1]

    found = costlab.measure(nn.Linear(8, 8), torch.randn(2, 8), mode="step", loss=scaled, amp=True, **QUICK)
    assert found.mode == "step"
    measured = [value for value in losses if not value.is_meta]
    assert len(measured) > 2
    assert all(torch.equal(gradient, torch.ones(())) for gradient in measured[1::2])
    with pytest.raises(CostlabError, match="the loss must return a scalar tensor, got a tensor of shape"):
        costlab.measure(nn.Linear(8, 8), (2, 8), mode="step", loss=lambda output: output, **QUICK)
    with pytest.raises(CostlabError, match="needs mode 'step'"):
        costlab.measure(nn.Linear(8, 8), (2, 8), loss=scaled, **QUICK)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_has_the_gradients_of_autograd_and_keeps_the_weights(optimizer):
    model, x = network(), torch.randn(SHAPE)
    model[3] = nn.Identity()
    weight = model[0].weight.clone()
    step = TrainingStep(model, lambda: model(x), optimizer)
    for _ in range(3):
        step()
    found = model[0].weight.grad.clone()
    model.zero_grad()
    model(x).sum().backward()
    assert torch.allclose(found, model[0].weight.grad, atol=1e-4)
    assert torch.equal(model[0].weight, weight)


@pytest.mark.parametrize(("optimizer", "states"), [("sgd", 0), ("momentum", 1), ("adamw", 2)])
def test_between_steps_the_states_stay(optimizer, states):
    model = nn.Linear(100, 10)
    step = TrainingStep(model, lambda: model(torch.ones(2, 100)), optimizer)
    step()
    counters = 4 * len(list(model.parameters())) if states == 2 else 0  # the number of steps
    assert step.state_bytes == 4 * 1010 * states + counters
    step.release_gradients()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_peak_of_a_step_stands_beside_the_predicted_one():
    model = nn.Sequential(*(nn.Linear(256, 256) for _ in range(3)))
    found = costlab.measure(model, (64, 256), mode="step", optimizer="momentum", **QUICK)
    assert found.peak_activation_bytes is None
    assert found.peak_bytes.measured == pytest.approx(found.peak_bytes.predicted, rel=0.05)
    assert found.peak_bytes.predicted > 3 * 4 * 3 * 256 * 256  # weights, gradients, one state
    facts = {fact.label: fact.value for fact in report.facts(found)}
    assert facts["mode"] == "training step: forward, backward and momentum, learning rate 0"
    assert facts["memory"].endswith("predicted")
    assert Measurement.from_json(found.to_json()) == found


def test_a_step_takes_longer_than_its_forward_pass():
    model = nn.Sequential(*(nn.Linear(512, 512) for _ in range(4)))
    times = [
        costlab.measure(model, (256, 512), mode=mode, ops=False, min_seconds=0.1, threads=1).whole.median
        for mode in ("eval", "step")
    ]
    assert times[1] > 1.5 * times[0]


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (nn.Linear(2, 2), {"mode": "step", "optimizer": "adamw8bit"}, "adamw8bit cannot be measured"),
        (nn.Linear(2, 2), {"mode": "step", "optimizer": "adan"}, "optimizer"),
        (nn.Linear(2, 2), {"optimizer": "adam"}, "needs mode 'step'"),
        (nn.Linear(2, 2), {"mode": "training"}, "unknown mode 'training'"),
        (nn.ReLU(), {"mode": "step"}, "no "),
    ],
)
def test_what_cannot_be_trained_is_one_line(model, options, words):
    with pytest.raises(CostlabError) as error:
        costlab.measure(model, (3, 2), **options, **QUICK)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_measures_a_step(capsys, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("from torch import nn\n\ndef net():\n    return nn.Linear(8, 8)\n")
    monkeypatch.chdir(tmp_path)
    words = ["measure", "mine.py:net", "--input", "4,8", "--mode", "step", "--min-seconds", "0.005"]
    assert run([*words, "--optimizer", "momentum"]) == 0
    assert "forward, backward and momentum" in capsys.readouterr().out
    assert run([*words, "--predict-for", "rtx3090"]) == 2
    assert "--predict-for needs --mode eval" in capsys.readouterr().err
