"""Rewrites of trained or untrained networks: always a copy, never the network that was given."""

from costlab.rewrite._dac import dac
from costlab.rewrite._depthwise_separable import depthwise_separable
from costlab.rewrite._output_error import output_error
from costlab.rewrite.result import Layer, Left
from costlab.rewrite.surgery import Rewritten

__all__ = ["Layer", "Left", "Rewritten", "dac", "depthwise_separable", "output_error"]
