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
    from costlab.comparison import compare
    from costlab.core.cost import RULES, Cost
    from costlab.core.profile import Profile
    from costlab.errors import CostlabError
    from costlab.exporters import export
    from costlab.guidelines import GUIDELINES, lint
    from costlab.latency._predict import predict
    from costlab.measurement._measure import measure
    from costlab.models import load
    from costlab.sweeps.running import sweep
    from costlab.tracing._profile import profile

HOMES = {
    "profile": "costlab.tracing._profile",
    "predict": "costlab.latency._predict",
    "load": "costlab.models",
    "compare": "costlab.comparison",
    "lint": "costlab.guidelines",
    "export": "costlab.exporters",
    "measure": "costlab.measurement._measure",
    "sweep": "costlab.sweeps.running",
    "GUIDELINES": "costlab.guidelines",
    "Profile": "costlab.core.profile",
    "Cost": "costlab.core.cost",
    "RULES": "costlab.core.cost",
    "CostlabError": "costlab.errors",
}

__all__ = [
    "GUIDELINES",
    "RULES",
    "Cost",
    "CostlabError",
    "Profile",
    "__version__",
    "compare",
    "export",
    "lint",
    "load",
    "measure",
    "plots",
    "predict",
    "profile",
    "rewrite",
    "sweep",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name in ("plots", "rewrite", "zoo"):
        return importlib.import_module(f"costlab.{name}")
    if name in HOMES:
        return getattr(importlib.import_module(HOMES[name]), name)
    raise AttributeError(f"module 'costlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
