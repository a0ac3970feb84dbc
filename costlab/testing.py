"""For test suites: `assert_budget` fails if a network costs more than its budget."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costlab.ci.budgets import check_budgets, parse_budgets
from costlab.core.files import read_profile
from costlab.core.profile import Profile
from costlab.tracing._profile import profile

if TYPE_CHECKING:
    import torch


def assert_budget(
    model: torch.nn.Module | Profile,
    inputs: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    base: Profile | Path | str | None = None,
    **budgets: int | str,
) -> None:
    """Assert that each metric is within its budget: `assert_budget(net, (1, 3, 224, 224), mult_adds="320 M")`.

    Args:
        model: a network, traced on `inputs` and `kwargs` as by `costlab.profile`; or a profile.
        inputs, kwargs: inputs of the network.
        base: a profile, or the path of a saved one, that changes such as `mult_adds="+1%"` count from.
        budgets: the largest value of each metric (`mult_adds`, `params`, `peak_activation_bytes`, ...): a whole number,
            or a string with a unit of the metric ("320 M", "8 MiB") or a change ("+1%").

    Raises:
        AssertionError: a budget is broken; the message names the modules that grew most, or are most expensive.
        CostlabError: unknown metric, an amount cannot be read, a change has no base, or the network cannot be
            traced.
    """
    __tracebackhide__ = True
    amounts = parse_budgets(budgets)
    before = base if base is None or isinstance(base, Profile) else read_profile(Path(base))
    traced = model if isinstance(model, Profile) else profile(model, inputs, kwargs)
    findings, _ = check_budgets(traced, amounts, before)
    if findings:
        raise AssertionError("\n".join(finding.message for finding in findings))
