"""Pictures of a profile: a function a picture, which takes a profile and axes, or none, and returns the axes.

`pareto`, `distribution` and `predicted_vs_measured` take several networks. matplotlib is imported when something is
drawn. Without axes of your own a figure of a fitting size is made, which a notebook shows;
`plots.memory(profile).figure.savefig("memory.svg")` keeps it.
"""

from costlab.plots.agreement import predicted_vs_measured
from costlab.plots.dag import graph
from costlab.plots.depth import stages
from costlab.plots.distributions import distribution
from costlab.plots.fronts import pareto
from costlab.plots.lifetimes import memory
from costlab.plots.nesting import treemap
from costlab.plots.roofs import roofline
from costlab.plots.shares import breakdown
from costlab.plots.widths import guidelines

__all__ = [
    "breakdown",
    "distribution",
    "graph",
    "guidelines",
    "memory",
    "pareto",
    "predicted_vs_measured",
    "roofline",
    "stages",
    "treemap",
]
