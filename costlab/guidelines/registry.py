"""The table of guidelines by code, and the look-up by code or name."""

import difflib
from collections.abc import Mapping

from costlab.errors import CostlabError
from costlab.guidelines.model import Guideline
from costlab.guidelines.rules import (
    bias_before_norm,
    channel_multiples,
    checkpoint_candidates,
    dead_operators,
    element_wise,
    equal_channel_width,
    estimated_operators,
    fragmentation,
    group_convolution,
    host_synchronisation,
    kept_activations,
    launch_bound,
    layout_passes,
    mobile_channels,
    mobile_operators,
    redundant_copies,
    split_linear,
    tile_quantisation,
    uncounted_operators,
    unfolded_batch_norm,
    unused_parameters,
    wide_islands,
    written_out_attention,
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
    host_synchronisation,
    written_out_attention,
    tile_quantisation,
    wide_islands,
    bias_before_norm,
    layout_passes,
    launch_bound,
    split_linear,
    kept_activations,
    checkpoint_candidates,
    mobile_channels,
    mobile_operators,
)
GUIDELINES: dict[str, Guideline] = {module.GUIDELINE.code: module.GUIDELINE for module in MODULES}


def find_guideline(name: str, rules: Mapping[str, Guideline] = GUIDELINES) -> Guideline:
    """The guideline with that code or name, in any case. Raises CostlabError if there is none."""
    known = {key.lower(): rule for rule in rules.values() for key in (rule.code, rule.name)}
    guideline = known.get(name.strip().lower())
    if guideline is None:
        close = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"; did you mean {known[close[0]].name!r}?" if close else ""
        raise CostlabError(f"unknown guideline {name!r}{hint}; choose from {', '.join(rules)} (see `costlab explain`)")
    return guideline


def rule_label(rule: str) -> str:
    """A rule by code and name: `G1 equal-channel-width`."""
    return f"{rule} {GUIDELINES[rule].name}" if rule in GUIDELINES else rule
