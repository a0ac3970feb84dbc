"""An analytical cost model and profiler for PyTorch networks.

Public names are imported when they are first used: `import costlab` does not import torch, and neither does reading a
saved profile.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from costlab.version import __version__

if TYPE_CHECKING:
    from costlab import plots, rewrite, zoo
    from costlab.comparing import compare
    from costlab.cost import RULES, Cost
    from costlab.errors import CostlabError
    from costlab.exporting import export
    from costlab.guidelines import GUIDELINES, lint
    from costlab.latency.measuring import measure
    from costlab.latency.predicting import predict
    from costlab.loading import load
    from costlab.profiles import Profile
    from costlab.profiling import profile
    from costlab.sweeping.running import sweep

HOMES = {
    "profile": "costlab.profiling",
    "predict": "costlab.latency.predicting",
    "load": "costlab.loading",
    "compare": "costlab.comparing",
    "lint": "costlab.guidelines",
    "export": "costlab.exporting",
    "measure": "costlab.latency.measuring",
    "sweep": "costlab.sweeping.running",
    "GUIDELINES": "costlab.guidelines",
    "Profile": "costlab.profiles",
    "Cost": "costlab.cost",
    "RULES": "costlab.cost",
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
