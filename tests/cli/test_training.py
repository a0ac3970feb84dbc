"""A training step on the command line."""

from __future__ import annotations

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
