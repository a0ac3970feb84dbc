"""Every guideline by its code."""

from __future__ import annotations

from costlab.guidelines.model import Guideline
from costlab.guidelines.rules import (
    channel_multiples,
    dead_operators,
    element_wise,
    equal_channel_width,
    estimated_operators,
    fragmentation,
    group_convolution,
    redundant_copies,
    uncounted_operators,
    unfolded_batch_norm,
    unused_parameters,
)

MODULES = (
    equal_channel_width,
    group_convolution,
    fragmentation,
    element_wise,
    redundant_copies,
    channel_multiples,
    unfolded_batch_norm,
    unused_parameters,
    dead_operators,
    uncounted_operators,
    estimated_operators,
)
GUIDELINES: dict[str, Guideline] = {module.GUIDELINE.code: module.GUIDELINE for module in MODULES}
