"""Rewrites of trained or untrained networks: always a copy, never the network that was given."""

from costlab.rewrite.data_free import dac
from costlab.rewrite.outputs import output_error
from costlab.rewrite.separable import depthwise_separable
from costlab.rewrite.surgery import Rewritten
from costlab.rewriting import Layer, Left

__all__ = ["Layer", "Left", "Rewritten", "dac", "depthwise_separable", "output_error"]
