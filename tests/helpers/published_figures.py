"""Mult-adds and parameters that torchvision publishes with its weights, beside what costlab counts."""

from __future__ import annotations


def published_differences() -> tuple[int, list[str]]:
    """How many published figures are reproduced, and those that are not, with the reason."""
    from helpers.published_weights import build, figures, inputs, published
    from helpers.second_stages import SECOND_STAGE

    from costlab.tracing._profile import profile

    same, differences = 0, []
    for name, weights in published():
        billions, params = figures(weights)
        result = profile(build(name, weights), inputs(name, weights))
        if f"{result.mult_adds / 1e9:.3f}" == f"{billions:.3f}" and result.params == params:
            same += 1
        else:
            reason = SECOND_STAGE.get(name, ("", "unexplained"))[1]
            differences.append(
                f"| `{weights}` | {billions:.3f} G | {result.mult_adds / 1e9:.3f} G (estimate) | {reason} |"
            )
    return same, differences
