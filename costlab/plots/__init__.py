"""Plots of a profile: each function takes a profile and optional axes, and returns the axes.

`pareto`, `distribution` and `predicted_vs_measured` take several networks. Without axes a new figure is made, which a
notebook shows; `plots.memory(profile).figure.savefig("memory.svg")` saves it. matplotlib is imported on first use.
"""

from costlab.plots._breakdown import breakdown
from costlab.plots._distribution import distribution
from costlab.plots._generations import generations
from costlab.plots._graph import graph
from costlab.plots._growth import growth
from costlab.plots._guidelines import guidelines
from costlab.plots._memory import memory
from costlab.plots._pareto import pareto
from costlab.plots._predicted_vs_measured import predicted_vs_measured
from costlab.plots._roofline import roofline
from costlab.plots._stages import stages
from costlab.plots._treemap import treemap

__all__ = [
    "breakdown",
    "distribution",
    "generations",
    "graph",
    "growth",
    "guidelines",
    "memory",
    "pareto",
    "predicted_vs_measured",
    "roofline",
    "stages",
    "treemap",
]
