"""Rewrites of trained or untrained networks: always a copy, never the network that was given.

Its functions are imported when they are first used, so that a result can be read and shown without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from costlab.rewrite._dac import dac
    from costlab.rewrite._depthwise_separable import depthwise_separable
    from costlab.rewrite._output_error import output_error
    from costlab.rewrite.result import Layer, Left
    from costlab.rewrite.surgery import Rewritten

HOMES = {
    "dac": "_dac",
    "depthwise_separable": "_depthwise_separable",
    "output_error": "_output_error",
    "Rewritten": "surgery",
    "Layer": "result",
    "Left": "result",
}

__all__ = ["Layer", "Left", "Rewritten", "dac", "depthwise_separable", "output_error"]


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(importlib.import_module(f"costlab.rewrite.{HOMES[name]}"), name)
    raise AttributeError(f"module 'costlab.rewrite' has no attribute {name!r}")
