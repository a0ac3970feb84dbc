"""NetAdapt's proposals: how few channels a group may keep so that a metric falls by a step's part."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from costlab.core.profile import Profile
from costlab.rewrite.adaptation.result import Proposal
from costlab.rewrite.channels.edited import Editor
from costlab.rewrite.channels.groups import ChannelGroup, Channels
from costlab.tracing.modules import unwrap

Measure = Callable[[Profile], float]
Rank = tuple[float, float]


@dataclass(frozen=True)
class State:
    """A network without some of its channels."""

    removed: frozenset[int]
    profile: Profile
    value: float


@dataclass(frozen=True)
class Candidate:
    """A proposal, and the network that it would make."""

    proposal: Proposal
    state: State
    group: ChannelGroup
    met: bool  # the metric falls as far as the step asks

    @property
    def loss(self) -> float:
        """What it loses if no accuracy tells: norm, summed over layers, which counts the more the fewer are left."""
        left = sum(channel not in self.state.removed for channel in self.group.channels)
        return self.proposal.lost * len(self.group.producers) * len(self.group.channels) / left

    def with_accuracy(self, accuracy: float | None) -> Candidate:
        """The same, with its accuracy."""
        return replace(self, proposal=replace(self.proposal, accuracy=accuracy))


class Proposer:
    """Makes the proposals of a network."""

    def __init__(self, channels: Channels, groups: Sequence[ChannelGroup], measure: Measure, multiple: int) -> None:
        self.channels, self.groups, self.measure, self.multiple = channels, groups, measure, multiple
        self.editor = Editor(channels)
        self.last_ranks: dict[str, Rank] = {}  # by group
        self.norms: Mapping[str, np.ndarray] = {}  # by group: [producers, channels] squared norms of filters

    def weigh(self, model: nn.Module, removed: frozenset[int] = frozenset()) -> bool:
        """Take filters' norms from a network that lacks the removed channels. False if it has no weights in memory."""
        model = unwrap(model)
        named = dict(model.named_parameters(remove_duplicate=False))
        keep = self.channels.mask(removed)
        norms = {}
        for group in self.groups:
            rows = []
            for name, axis in group.producers:
                weight = named[name].detach()
                if weight.is_meta:
                    self.norms = {}
                    return False
                numbers = self.channels.weights[name, axis]
                squares = weight.double().square().movedim(axis, 0).flatten(1).sum(1).cpu().numpy()
                by_channel = np.zeros(self.channels.count)
                np.add.at(by_channel, numbers[keep[numbers]], squares)
                rows.append(by_channel[list(group.channels)])
            norms[group.name] = np.array(rows)
        self.norms = norms
        return True

    def width(self, group: ChannelGroup) -> int:
        """Outputs of the group's first layer that are one channel: more than 1 for grouped convolutions."""
        return int((self.channels.weights[group.producers[0]] == group.channels[0]).sum())

    def start(self) -> State:
        """The whole network."""
        return State(frozenset(), self.channels.profile, self.measure(self.channels.profile))

    def without(self, state: State, channels: Sequence[int]) -> State:
        """The network without further channels: only operators that they touch are costed again."""
        removed = state.removed.union(channels)
        profile = self.editor.without(removed, channels, state.profile)
        return State(removed, profile, self.measure(profile))

    def places(self, state: State, group: ChannelGroup) -> list[int]:
        """Places in the group of the channels that are left, those with the smallest filters first."""
        left = [i for i, number in enumerate(group.channels) if number not in state.removed]
        shares = self.shares(group, left)
        return [left[i] for i in sorted(range(len(left)), key=lambda i: (shares[i], -i))]

    def shares(self, group: ChannelGroup, left: Sequence[int]) -> np.ndarray:
        """The share of the squared norm of all filters left that each has; the mean over the group's layers."""
        rows = self.norms.get(group.name)
        if rows is None:
            return np.full(len(left), 1 / len(left))
        rows = rows[:, left]
        sums = rows.sum(1, keepdims=True)
        return np.where(sums > 0, rows / np.where(sums > 0, sums, 1), 1 / len(left)).mean(0)

    def counts(self, group: ChannelGroup, left: int) -> list[int]:
        """How many channels a group may keep, most first."""
        width = self.width(group)
        return [count for count in range(left - 1, 0, -1) if count * width % self.multiple == 0]

    def least(self) -> State:
        """The network with the fewest channels that every group may keep."""
        removed = []
        for group in self.groups:
            counts = self.counts(group, len(group.channels))
            removed += list(group.channels[counts[-1] :]) if counts else []
        return self.without(self.start(), removed) if removed else self.start()

    def candidates(self, state: State, limit: float) -> list[Candidate]:
        """For every group, the most channels that bring the metric to the limit, and the fewest that do not."""
        return [candidate for group in self.groups for candidate in self.of_group(state, group, limit)]

    def best(self, state: State, limit: float, rank: Callable[[Candidate], Rank]) -> list[Candidate]:
        """Candidates, among them the one with the lowest rank, without pricing groups that cannot win.

        A group's rank seldom falls as others shrink: one whose last rank is above the best need not be priced again.
        """
        found: list[Candidate] = []
        best: Rank = (math.inf, math.inf)
        for group in sorted(self.groups, key=lambda g: self.last_ranks.get(g.name, (0, 0.0))):
            if best[0] < 2 and self.last_ranks.get(group.name, (0, 0.0)) > best:
                break
            own = self.of_group(state, group, limit)
            self.last_ranks[group.name] = min(map(rank, own), default=(math.inf, math.inf))
            best = min(best, self.last_ranks[group.name])
            found += own
        return found

    def of_group(self, state: State, group: ChannelGroup, limit: float) -> list[Candidate]:
        """The candidates of one group: bisected, with the first guess along a straight line."""
        order = self.places(state, group)
        counts = self.counts(group, len(order))
        if not counts:
            return []
        known: dict[int, State] = {}

        def at(index: int) -> State:
            if index not in known:
                gone = [group.channels[place] for place in order[: len(order) - counts[index]]]
                known[index] = self.without(state, gone)
            return known[index]

        last = len(counts) - 1
        if at(last).value > limit:
            return [self.candidate(state, at(last), group, order, counts[last], False)]
        low, high = -1, last  # counts[low] is too many, counts[high] is not
        value = state.value
        while high - low > 1:
            part = (value - limit) / (value - at(high).value) if value > at(high).value else 0.5
            middle = min(max(low + math.ceil(part * (high - low)), low + 1), high - 1)
            if at(middle).value <= limit:
                high = middle
            else:
                low, value = middle, at(middle).value
        found = [self.candidate(state, at(high), group, order, counts[high], True)]
        return found + ([self.candidate(state, at(low), group, order, counts[low], False)] if low >= 0 else [])

    def candidate(
        self, state: State, then: State, group: ChannelGroup, order: Sequence[int], count: int, met: bool
    ) -> Candidate:
        """A candidate with what it loses."""
        gone = sorted(order[: len(order) - count])
        left = sorted(order)
        shares = dict(zip(left, self.shares(group, left), strict=True))
        lost = float(sum(shares[place] for place in gone))
        proposal = Proposal(group.name, count * self.width(group), then.value, lost, None)
        return Candidate(proposal, then, group, met)
