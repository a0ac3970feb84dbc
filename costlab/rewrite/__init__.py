"""Rewrites of trained or untrained networks. They return a copy and never change the network they are given.

Names are imported on first use, so that a result can be read and shown without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from costlab.rewrite._dac import dac
    from costlab.rewrite._depthwise_separable import depthwise_separable
    from costlab.rewrite._netadapt import AdaptedNetwork, netadapt
    from costlab.rewrite._output_error import output_error
    from costlab.rewrite.result import KeptConvolution, ReplacedConvolution
    from costlab.rewrite.surgery import RewriteResult

MODULES = {
    "dac": "_dac",
    "depthwise_separable": "_depthwise_separable",
    "netadapt": "_netadapt",
    "AdaptedNetwork": "_netadapt",
    "output_error": "_output_error",
    "RewriteResult": "surgery",
    "ReplacedConvolution": "result",
    "KeptConvolution": "result",
}

__all__ = [
    "AdaptedNetwork",
    "KeptConvolution",
    "ReplacedConvolution",
    "RewriteResult",
    "dac",
    "depthwise_separable",
    "netadapt",
    "output_error",
]


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return getattr(importlib.import_module(f"costlab.rewrite.{MODULES[name]}"), name)
    raise AttributeError(f"module 'costlab.rewrite' has no attribute {name!r}")
