"""Which groups of channels can really be removed: the network is traced without some of them, as a check."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from costlab.errors import CostlabError
from costlab.rewrite.channels.edited import Editor
from costlab.rewrite.channels.groups import ChannelGroup, Channels, KeptGroup, find_channels
from costlab.rewrite.channels.slicing import sliced
from costlab.tracing._profile import profile


def removable_channels(
    model: nn.Module, inputs: Any, kwargs: Mapping[str, Any] | None = None, **origin: Any
) -> Channels:
    """The channels of a network, without groups that its code does not let go, such as those of fixed sizes.

    Raises CostlabError if the forward pass fails on these inputs, or the network cannot be copied.
    """
    channels = find_channels(model, inputs, kwargs, **origin)
    editor = Editor(channels)

    def failure(groups: Sequence[ChannelGroup]) -> str | None:
        """What happens without one channel of each group; None if the network has the shapes that it should have."""
        removed = [group.channels[-1] for group in groups]
        try:
            smaller = profile(sliced(model, channels, removed, weightless=True), inputs, kwargs)
        except CostlabError as error:
            return str(error)
        expected = editor.without(removed)
        if len(smaller.ops) != len(expected.ops):
            return "it takes another path"
        different = next((a for a, b in zip(smaller.ops, expected.ops, strict=True) if a.outputs != b.outputs), None)
        return f"{different.name} has another shape" if different else None

    refused = refusals(channels.groups, failure)
    kept = [KeptGroup(name, f"the network does not run without one: {why}") for name, why in refused.items()]
    groups = tuple(group for group in channels.groups if group.name not in refused)
    return replace(channels, groups=groups, kept=(*channels.kept, *kept))


def refusals(groups: Sequence[ChannelGroup], failure: Callable[[Sequence[ChannelGroup]], str | None]) -> dict[str, str]:
    """The names of the groups that cannot be removed, with the reason: halves that fail are halved again."""
    why = failure(groups) if groups else None
    if why is None:
        return {}
    if len(groups) == 1:
        return {groups[0].name: why}
    middle = len(groups) // 2
    return {**refusals(groups[:middle], failure), **refusals(groups[middle:], failure)}
