"""NetAdapt: fewer channels, step by step, until a network meets a target (Yang et al., arXiv 1804.03230).

Each step asks for a part of the metric. For every group of channels a proposal keeps the most channels that save that
part; as in MobileNet V3 (arXiv 1905.02244), the proposal that loses the least accuracy for each unit saved is carried
out. Without an accuracy function, it is the one that loses the least of its filters' squared norm.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from costlab.core.amounts import parse_amount
from costlab.core.metrics import METRICS, PREDICTED
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.latency._predict import predict_with
from costlab.latency.devices import find_device
from costlab.latency.execution import ExecutionConfig
from costlab.rewrite.adaptation.journal import AdaptationJournal
from costlab.rewrite.adaptation.proposals import Proposer
from costlab.rewrite.adaptation.result import METRIC_OF, Adaptation, AdaptationStep
from costlab.rewrite.adaptation.search import Accuracy, Goal, Search, Training
from costlab.rewrite.channels.groups import ChannelGroup, Channels, KeptGroup
from costlab.rewrite.channels.removable import removable_channels
from costlab.rewrite.surgery import ancestors, path_filter
from costlab.tracing._profile import profile
from costlab.tracing.modules import unwrap


@dataclass(frozen=True)
class AdaptedNetwork:
    """A network with fewer channels, and how it came about."""

    model: nn.Module
    adaptation: Adaptation


def netadapt(
    model: nn.Module,
    inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    target_latency: float | str | None = None,
    target_mult_adds: float | str | None = None,
    target_params: float | str | None = None,
    target_peak_memory: float | str | None = None,
    device: Any = None,
    amp: bool = False,
    fusion: str = "none",
    channels_last: bool = False,
    multiple: int = 8,
    step: float = 0.02,
    decay: float = 0.99,
    evaluate: Accuracy | None = None,
    finetune: Training | None = None,
    skip: str | Sequence[str] = (),
    only: str | Sequence[str] = (),
    journal: Path | None = None,
    progress: Callable[[AdaptationStep, float], None] = lambda step, part: None,
    **origin: Any,
) -> AdaptedNetwork:
    """A copy of `model` with fewer channels, which meets exactly one target; `model` is left as it was.

    Args:
        inputs, kwargs: as for `costlab.profile`; latency is predicted for their batch.
        target_latency, target_mult_adds, target_params, target_peak_memory: a fraction of the network's own (0.5 or
            "0.5x"), or an amount ("3 ms", "150 M", "8 MB"). Memory is the peak of activations.
        device, amp, fusion, channels_last: what latency is predicted for, as in `costlab.predict`.
        multiple: channels are left in multiples of this.
        step: the part of the metric that the first step saves; each further one saves `decay` times the one before.
        evaluate: the accuracy of a network, more is better. Without it, proposals are compared by filters' norms.
        finetune: trains a network in place: of every proposal, before `evaluate` compares it; once more at the end.
        skip, only: globs on the paths of layers; a glob that matches a module includes its submodules.
        journal: a file of the steps, from which the same call continues.
        progress: called after each step, with the part of the way that is done.
        origin: name, provider and arguments of the profiles.

    Raises:
        CostlabError: an argument is invalid, the target is out of reach, or the user's functions fail.
    """
    model = unwrap(model)
    metric, wanted = one_target(
        latency=target_latency, mult_adds=target_mult_adds, params=target_params, peak_memory=target_peak_memory
    )
    check(metric, device, multiple, step, decay)
    execution = None if device is None else execution_on(device, amp, fusion, channels_last)
    channels = removable_channels(model, inputs, kwargs, **origin)
    before = measured(channels.profile, metric, execution)
    measure = partial(measured, metric=metric, execution=execution)
    goal = Goal(metric, execution, measure, target_value(wanted, metric, before), step * before, decay)
    groups, unselected = selected(channels, skip, only)
    search = Search(model, Proposer(channels, groups, goal.measure, multiple), goal, evaluate, finetune)
    settings = search.settings({"multiple": multiple, "decay": decay, "skip": skip, "only": only})
    search.run(None if journal is None else AdaptationJournal(journal, settings), progress)
    smaller = search.trained()
    head = profile(smaller, inputs, kwargs, **origin)
    return AdaptedNetwork(smaller, search.adaptation(head, multiple, (*channels.kept, *unselected)))


def check(metric: str, device: Any, multiple: int, step: float, decay: float) -> None:
    """Raise CostlabError for arguments out of range."""
    if metric == PREDICTED and device is None:
        raise CostlabError("target_latency needs device=..., the device to predict it for")
    if multiple < 1 or not 0 < step < 1 or not 0 < decay <= 1:
        raise CostlabError(f"multiple must be at least 1, step and decay in (0, 1]; got {multiple}, {step}, {decay}")


def execution_on(device: Any, amp: bool, fusion: str, channels_last: bool) -> ExecutionConfig:
    """How the network runs on a device, given by name, file or itself. Raises CostlabError."""
    found = find_device(device) if isinstance(device, (str, Path)) else device
    return ExecutionConfig(found, None, None, amp, fusion, channels_last)


def one_target(**targets: float | str | None) -> tuple[str, float | str]:
    """The metric and the target that are given. Raises CostlabError unless there is exactly one."""
    given = [(METRIC_OF[name], value) for name, value in targets.items() if value is not None]
    if len(given) != 1:
        raise CostlabError(f"netadapt needs exactly one of {', '.join(f'target_{name}' for name in targets)}")
    return given[0]


def target_value(wanted: float | str, metric: str, now: float) -> float:
    """A target as a value of the metric: `0.5x` or 0.5 of what it is now, or an amount. Raises CostlabError."""
    text = str(wanted).strip()
    if not isinstance(wanted, str) or re.fullmatch(r"\d*\.?\d+x?", text):
        part = float(text.rstrip("x"))
        if not 0 < part < 1:
            raise CostlabError(f"a target is a part of what the network needs now, such as 0.5x, or an amount: {text}")
        return part * now
    amount = parse_amount(text, metric)
    if amount.relative:
        raise CostlabError(f"{text!r} is a change; write the target itself, such as 0.5x")
    if amount.value >= now:
        raise CostlabError(f"the target {text} is met already: {METRICS[metric].format(now)}")
    return float(amount.value)


def measured(network: Profile, metric: str, execution: ExecutionConfig | None) -> float:
    """A metric of a network."""
    if metric == PREDICTED and execution is not None:
        return predict_with(network, execution, network.fused(execution.fusion)).seconds
    value: float = getattr(network.total, metric)
    return value


def selected(
    channels: Channels, skip: str | Sequence[str], only: str | Sequence[str]
) -> tuple[list[ChannelGroup], list[KeptGroup]]:
    """The groups that may shrink, and those that were not selected.

    Raises CostlabError if no group may shrink, or a glob matches nothing.
    """
    paths = list(dict.fromkeys(name for path in modules_of(channels) for name in reversed(ancestors(path))))
    skipped, chosen = path_filter("skip", skip, paths), path_filter("only", only, paths)
    groups, left = [], []
    for group in channels.groups:
        layers = group.layers
        if any(map(skipped, layers)) or (only and not any(map(chosen, layers))):
            left.append(KeptGroup(group.name, "not selected"))
        else:
            groups.append(group)
    if not groups:
        kept = sorted((*channels.kept, *left), key=lambda kept: kept.reason == "the network returns it")
        why = f"{kept[0].path or 'the network'}: {kept[0].reason}" if kept else "it has no layer that produces them"
        raise CostlabError(f"no channels of {channels.profile.name} can be removed; {why}")
    return groups, left


def modules_of(channels: Channels) -> list[str]:
    """The paths of all modules that produce channels."""
    return [*(path for group in channels.groups for path in group.layers), *(kept.path for kept in channels.kept)]
