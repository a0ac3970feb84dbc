"""What `import costlab` offers: every public name works once every submodule is imported; the types are shipped."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.resources import files

import pytest
import torch

import costlab


def test_no_submodule_hides_a_public_name():
    for module in pkgutil.walk_packages(costlab.__path__, "costlab."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    model, inputs = costlab.load("zoo:mobilenet_v2")
    profile = costlab.profile(model, inputs)
    assert profile.mult_adds == 300_774_272
    results = {
        costlab.Profile: profile,
        costlab.Comparison: costlab.compare(profile, profile),
        costlab.Prediction: costlab.predict(profile, costlab.find_device("rtx3090")),
        costlab.LintResult: costlab.lint(profile),
        costlab.Finding: costlab.lint(profile).findings[0],
        costlab.Measurement: costlab.measure(torch.nn.ReLU(), (2, 3), min_seconds=0.01),
    }
    assert all(isinstance(value, kind) for kind, value in results.items())
    assert costlab.Cost(mult_adds=2).flops == 4
    assert costlab.RULES["conv2d"]
    assert costlab.GUIDELINES
    assert issubclass(costlab.CostlabError, Exception)
    assert costlab.zoo.mobilenet_v2(width=0.5)
    assert callable(costlab.rewrite.dac)
    assert callable(costlab.plots.roofline)
    assert callable(costlab.export)
    assert callable(costlab.sweep)


def test_every_public_name_is_listed_once_and_found():
    assert len(set(costlab.__all__)) == len(costlab.__all__)
    assert set(costlab.__all__) == {*costlab.MODULES, "__version__", "plots", "rewrite", "zoo"} == set(dir(costlab))
    assert all(getattr(costlab, name) is not None for name in costlab.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = costlab.nothing


def test_the_package_ships_its_types():
    assert (files("costlab") / "py.typed").is_file()
