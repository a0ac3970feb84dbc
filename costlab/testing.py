"""For test suites: `assert_budget` fails where a network costs more than it may."""

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
    """`assert_budget(net, (1, 3, 224, 224), mult_adds="320 M", params=3_505_000)`: each total is at most that.

    Args:
        model: a network, traced on `inputs` and `kwargs` as `costlab.profile` takes them; or a profile.
        base: a profile, or the file of one, that a change such as `mult_adds="+1%"` counts from.
        budgets: the largest value of a total (`mult_adds`, `params`, `memory_access`, `peak_activation_bytes`, ...): a
            whole number, a number with a prefix (powers of 1000), or a change.

    Raises:
        AssertionError: a budget is broken; the message names the modules that grew most, or cost most.
        CostlabError: there is no such total, an amount cannot be read, a change has no base, or the network cannot be
            traced.
    """
    __tracebackhide__ = True
    amounts = parse_budgets(budgets)
    before = base if base is None or isinstance(base, Profile) else read_profile(Path(base))
    traced = model if isinstance(model, Profile) else profile(model, inputs, kwargs)
    findings, _ = check_budgets(traced, amounts, before)
    if findings:
        raise AssertionError("\n".join(finding.message for finding in findings))
