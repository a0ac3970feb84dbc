"""An analytical cost model and profiler for PyTorch networks.

Public names are imported when they are first used: `import costlab` does not import torch, and neither does reading a
saved profile.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from costlab._version import __version__

if TYPE_CHECKING:
    from costlab import plots, rewrite, zoo
    from costlab.choosing._choose import choose
    from costlab.choosing.result import Choice
    from costlab.comparison import Comparison, compare
    from costlab.core.cost import RULES, Cost
    from costlab.core.growth import Growth
    from costlab.core.profile import Profile
    from costlab.errors import CostlabError
    from costlab.exporters._export import export
    from costlab.generations._generation import generation
    from costlab.generations.result import Generation
    from costlab.guidelines import GUIDELINES, lint
    from costlab.guidelines.model import Finding, LintResult
    from costlab.latency._predict import predict
    from costlab.latency.devices import find_device
    from costlab.latency.prediction import Prediction
    from costlab.measurement._measure import measure
    from costlab.measurement.result import Measurement
    from costlab.models import load
    from costlab.sweeps._scale import scale
    from costlab.sweeps._sweep import sweep
    from costlab.tracing._profile import profile
    from costlab.tracing.inputs import shape

MODULES = {  # where each public name is defined
    "Choice": "costlab.choosing.result",
    "Comparison": "costlab.comparison",
    "Cost": "costlab.core.cost",
    "CostlabError": "costlab.errors",
    "Finding": "costlab.guidelines.model",
    "GUIDELINES": "costlab.guidelines",
    "Generation": "costlab.generations.result",
    "Growth": "costlab.core.growth",
    "LintResult": "costlab.guidelines.model",
    "Measurement": "costlab.measurement.result",
    "Prediction": "costlab.latency.prediction",
    "Profile": "costlab.core.profile",
    "RULES": "costlab.core.cost",
    "choose": "costlab.choosing._choose",
    "compare": "costlab.comparison",
    "export": "costlab.exporters._export",
    "generation": "costlab.generations._generation",
    "find_device": "costlab.latency.devices",
    "lint": "costlab.guidelines",
    "load": "costlab.models",
    "measure": "costlab.measurement._measure",
    "predict": "costlab.latency._predict",
    "profile": "costlab.tracing._profile",
    "scale": "costlab.sweeps._scale",
    "shape": "costlab.tracing.inputs",
    "sweep": "costlab.sweeps._sweep",
}

__all__ = [
    "GUIDELINES",
    "RULES",
    "Choice",
    "Comparison",
    "Cost",
    "CostlabError",
    "Finding",
    "Generation",
    "Growth",
    "LintResult",
    "Measurement",
    "Prediction",
    "Profile",
    "__version__",
    "choose",
    "compare",
    "export",
    "find_device",
    "generation",
    "lint",
    "load",
    "measure",
    "plots",
    "predict",
    "profile",
    "rewrite",
    "scale",
    "shape",
    "sweep",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name in ("plots", "rewrite", "zoo"):
        return importlib.import_module(f"costlab.{name}")
    if name in MODULES:
        return getattr(importlib.import_module(MODULES[name]), name)
    raise AttributeError(f"module 'costlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
