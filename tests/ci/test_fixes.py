"""`costlab lint --fix`: Python that folds batch norms, tried on the networks that it is for."""

from __future__ import annotations

import runpy

import pytest
import torch
from torch import nn

import costlab
from costlab.cli import run
from costlab.models import ModelSpec, load_model

NETS = """import torch
from torch import nn


class Loud(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).exp()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Conv2d(8, 8, 3, groups=2)
        self.norm = nn.BatchNorm2d(8, affine=False)
        self.third = nn.Sequential(nn.Conv2d(8, 4, 1), Loud(4))

    def forward(self, x):
        return self.third(self.norm(self.second(self.first(x))))
"""


def with_statistics(model: nn.Module) -> nn.Module:
    """The model in eval mode, its batch norms with statistics that change something."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.parametrize(("target", "folded"), [("nets.py:Net", 2), ("torchvision:resnet18", 20)])
def test_the_script_folds_batch_norms_and_keeps_the_outputs(target, folded, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    given = ["--input", "1,3,32,32"]
    assert run(["lint", target, *given, "--select", "X3", "--fix", "fold_it.py"]) == 0
    assert "written to fold_it.py: from fold_it import fold; fold(model.eval())" in capsys.readouterr().err
    model = with_statistics(load_model(ModelSpec(target), weights=True).model).double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    before, view = model(images), costlab.profile(model, (images,)).fused("bn")
    changed = runpy.run_path("fold_it.py")["fold"](model)
    assert sum(isinstance(module, nn.Identity) for module in changed.modules()) == folded
    assert torch.allclose(changed(images), before)
    if target != "nets.py:Net":  # where a subclass of a batch norm is left alone
        assert costlab.profile(changed, (images,)).total.memory_access == view.total.memory_access


def test_a_file_is_never_overwritten_and_nothing_to_fold_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("mine")
    assert run(["lint", "torchvision:vit_b_32", "--select", "X3", "--fix", "mine.py"]) == 2
    assert capsys.readouterr().err == "error: --fix mine.py: the file exists, and is not overwritten\n"
    assert (tmp_path / "mine.py").read_text() == "mine"
    assert run(["lint", "torchvision:vit_b_32", "--select", "X3", "--fix", "other.py"]) == 0
    assert "nothing to fold: other.py is not written" in capsys.readouterr().err
    assert not (tmp_path / "other.py").exists()
