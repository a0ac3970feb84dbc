"""A training step on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from costlab.cli import run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--optimizer", "adamw"], "--optimizer needs a training step: add --mode step"),
        (["--freeze", "conv1"], "--freeze needs a training step: add --mode step"),
        (["--mode", "step", "--optimizer", "adm"], "unknown optimizer 'adm'; nearest: adam"),
        (["--mode", "step", "--freeze", "nothing*"], "freeze 'nothing*' matches nothing"),
        (["--mode", "step", "--max-batch"], "--max-batch needs a memory"),
        (["--memory", "24GB"], "--memory goes with --max-batch"),
        (["--mode", "step", "--max-batch", "--memory", "1MB"], "not even a batch of 1 fits"),
    ],
)
def test_wrong_options_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "zoo:mobilenet_v1", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_step_is_reported_with_its_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "zoo:mobilenet_v1", "--mode", "step", "--optimizer", "adamw", "--amp"]) == 0
    text = capsys.readouterr().out
    assert "step: forward, backward, adamw" in text
    assert "peak memory" in text
    assert "for the backward pass" in text


def test_a_loss_comes_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "losses.py"
    file.write_text("def square(output):\n    return (output * output).mean()\n\nNUMBER = 3\n")
    arguments = ["report", "zoo:mobilenet_v1", "--mode", "step", "--by", "op", "--loss"]
    assert run([*arguments, f"{file}:square"]) == 0
    assert "mean" in capsys.readouterr().out
    assert run([*arguments, f"{file}:NUMBER"]) == 2
    assert "a loss is a function of the outputs" in capsys.readouterr().err
    for name in (file, "square", f"{file}:"):
        assert run([*arguments, str(name)]) == 2
        assert capsys.readouterr().err == f"error: loss '{name}' names no function: write FILE.py:NAME\n"


def test_a_step_is_measured_with_a_loss_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "import torch\n\n\ndef net():\n    return torch.nn.Linear(4, 4)\n\n\n"
        "def square(output):\n    return (output * output).mean()\n\n\ndef whole(output):\n    return output\n"
    )
    arguments = ["measure", f"{file}:net", "--input", "2,4", "--min-seconds", "0.01"]
    step = [*arguments, "--mode", "step", "--loss"]
    assert run([*step, f"{file}:square"]) == 0
    assert "training step" in capsys.readouterr().out
    for wrong, message in (
        ([*step, f"{file}:whole"], "the loss must return a scalar tensor, got a tensor of shape (2, 4)"),
        ([*step, f"{file}:nothing"], "nothing"),
        ([*arguments, "--loss", f"{file}:square"], "--loss needs a training step: add --mode step"),
    ):
        assert run(wrong) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_lint_checks_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["lint", "zoo:mobilenet_v1", "--isolated", "--select", "X16,X17", "--mode", "step"]
    assert run([*arguments, "--optimizer", "adamw"]) == 0
    text = capsys.readouterr().out
    assert "X17 checkpoint-candidate" in text
    assert "less for the backward pass" in text
    assert run(["lint", "zoo:mobilenet_v1", "--isolated", "--optimizer", "adamw"]) == 2
    assert "--optimizer needs a training step: add --mode step" in capsys.readouterr().err


def test_lint_takes_the_mode_from_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table = '[[tool.costlab.model]]\nname = "net"\ntarget = "zoo:mobilenet_v1"\n'
    (tmp_path / "pyproject.toml").write_text(
        f'{table}mode = "step"\ntraining = {{ optimizer = "adamw", amp = true }}\nbudgets = {{ peak_bytes = "1MB" }}\n'
    )
    assert run(["lint", "--select", "X16"]) == 1
    assert "peak_bytes" in capsys.readouterr().out
    (tmp_path / "pyproject.toml").write_text(f'{table}training = {{ optimizer = "adamw" }}\n')
    assert run(["lint"]) == 2
    assert 'training needs mode = "step"' in capsys.readouterr().err


def test_steps_are_compared_with_their_memory(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", "zoo:mobilenet_v1", "zoo:mobilenet_v1", "--head-argument", "width=0.5", "--mode", "step"]
    assert run([*arguments, "--amp", "--device", "rtx3090", "--fail-on", "peak_bytes>-10%"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n{label} " in shown for label in ("saved bytes", "gradient bytes", "peak memory"))
    assert run([*arguments, "--budget", "gradient_bytes<=1kB", "--format", "json"]) == 1
    gradients = json.loads(capsys.readouterr().out)["total"]["gradient_bytes"]
    assert gradients == {"base": 4 * 4_231_976, "head": 4 * 1_331_592}  # one of four bytes for each parameter


def test_a_step_grows_with_the_batch(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["report", "resnet18", "--mode", "step", "--amp", "--device", "rtx3090", "--over", "batch=2,4"]
    assert run([*arguments, "--format", "json"]) == 0
    grown = json.loads(capsys.readouterr().out)
    for position, batch in enumerate((2, 4)):
        assert run([*arguments[:-2], "--batch", str(batch), "--format", "json"]) == 0
        step = json.loads(capsys.readouterr().out)
        assert grown["seconds"][position] == step["latency"]["predicted_seconds"]
        assert all(numbers[position] == step["total"][key] for key, numbers in grown["totals"].items())
    assert grown["mode"] == "step"
    assert {"peak_bytes", "saved_bytes"} <= grown["totals"].keys()
