"""NetAdapt's loop: proposals, the best of them, and what the user's functions say and do."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from costlab.core.metrics import METRICS, PREDICTED
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.latency._predict import predict_with
from costlab.latency.execution import ExecutionConfig
from costlab.models.providers.user_code import errors_of
from costlab.rewrite.adaptation.journal import AdaptationJournal, weights_digest
from costlab.rewrite.adaptation.proposals import Candidate, Proposer, Rank, State
from costlab.rewrite.adaptation.result import Adaptation, AdaptationStep, ShrunkGroup
from costlab.rewrite.channels.groups import KeptGroup
from costlab.rewrite.channels.slicing import sliced
from costlab.rewrite.result import KeptConvolution

TOLERANCE = 0.02  # a proposal should not miss the target by more
LEAST = 0.005  # of what the first step asks for: a step that saves less is none

Accuracy = Callable[[nn.Module], float]
Training = Callable[[nn.Module, bool], object]


@dataclass(frozen=True)
class Goal:
    """What is to fall, how far, and in which steps."""

    metric: str
    execution: ExecutionConfig | None
    measure: Callable[[Profile], float]
    target: float
    first: float  # what the first step asks for
    decay: float

    def limit(self, state: State, step: int) -> float:
        """What the metric has to fall to in a step."""
        return max(self.target, state.value - self.first * self.decay**step)

    def rank(self, state: State) -> Callable[[Candidate], Rank]:
        """The order of proposals: those that meet the limit, by what they lose for what they save; then the others.

        A proposal that overshoots the target comes after those that save less than the step asks for.
        """

        def rank(candidate: Candidate) -> Rank:
            saved = state.value - candidate.state.value
            if saved < LEAST * self.first:
                return math.inf, math.inf
            if candidate.state.value < self.target * (1 - TOLERANCE):
                return 2, self.target - candidate.state.value
            return (0 if candidate.met else 1), candidate.loss / saved

        return rank


class Search:
    """A network on its way to a goal."""

    def __init__(
        self, model: nn.Module, proposer: Proposer, goal: Goal, evaluate: Accuracy | None, finetune: Training | None
    ) -> None:
        self.original, self.model = model, model
        self.proposer, self.goal = proposer, goal
        self.evaluate, self.finetune = evaluate, finetune
        self.state = self.start = proposer.start()
        self.steps: list[AdaptationStep] = []
        self.weights = proposer.weigh(model)
        if (evaluate or finetune) and not self.weights:
            raise CostlabError(f"{type(model).__name__} has no weights in memory: evaluate and finetune need them")
        fewest = proposer.least()
        least = fewest.value
        if least > goal.target:
            show, count = METRICS[goal.metric].format, len(proposer.groups)
            raise CostlabError(
                f"the target {show(goal.target)} is out of reach: with the fewest channels in all {count} groups that"
                f" can shrink, {show(least)} remain ({least / self.start.value:.2f}x){launches(goal, fewest.profile)}"
            )
        self.accuracy = self.first_accuracy = self.final_accuracy = self.judged(model, "as given")

    def settings(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """What another run has to have in common with this one to continue it."""
        goal, execution = self.goal, self.goal.execution
        return {
            "rewrite": "netadapt",
            "metric": goal.metric,
            "target": goal.target,
            "before": self.start.value,
            "device": execution.device.name if execution else None,
            "step": goal.first,
            "weights": weights_digest(self.original),
            "evaluate": getattr(self.evaluate, "__qualname__", None),
            "finetune": getattr(self.finetune, "__qualname__", None),
            **chosen,
        }

    def run(self, journal: AdaptationJournal | None, progress: Callable[[AdaptationStep, float], None]) -> None:
        """Take steps until the target is met. Raises CostlabError."""
        if journal is not None:
            self.resume(journal)
        while self.state.value > self.goal.target:
            step = self.step()
            if journal is not None:
                journal.append(step, self.model if self.finetune else None)
            way = self.start.value - self.goal.target
            progress(step, min((self.start.value - self.state.value) / way, 1.0))

    def resume(self, journal: AdaptationJournal) -> None:
        """Take the steps of a journal again, without judging proposals."""
        groups = {group.name: group for group in self.proposer.groups}
        for step in journal.steps():
            channels = [groups[step.proposal.group].channels[place] for place in step.removed]
            self.state = self.proposer.without(self.state, channels)
            self.steps.append(step)
            self.accuracy = step.accuracy
        if self.steps and (self.evaluate or self.finetune):
            self.model = sliced(self.original, self.proposer.channels, self.state.removed)
            if self.finetune:
                journal.load_weights(self.model, len(self.steps))
                self.proposer.weigh(self.model, self.state.removed)

    def step(self) -> AdaptationStep:
        """Take the best proposal. Raises CostlabError if none saves anything."""
        limit, rank = self.goal.limit(self.state, len(self.steps)), self.goal.rank(self.state)
        found = (
            self.proposer.candidates(self.state, limit)
            if self.evaluate
            else (self.proposer.best(self.state, limit, rank))
        )
        kind = min((rank(candidate)[0] for candidate in found), default=math.inf)
        if kind == math.inf:
            raise CostlabError(self.stuck())
        contenders = [candidate for candidate in found if rank(candidate)[0] == kind]
        if self.evaluate:
            return self.best_tried(contenders, self.loss if kind < 2 else rank)
        return self.take(min(contenders, key=rank), contenders, None)

    def loss(self, candidate: Candidate) -> Rank:
        """The accuracy that a candidate loses for each unit it saves; equal ones by the norms of filters."""
        saved = self.state.value - candidate.state.value
        drop = (self.accuracy or 0.0) - (candidate.proposal.accuracy or 0.0)
        return drop / saved, candidate.loss / saved

    def best_tried(self, contenders: Sequence[Candidate], order: Callable[[Candidate], Rank]) -> AdaptationStep:
        """Make and fine-tune the network of every contender, and take the best; only its network is kept."""
        number, before = len(self.steps) + 1, self.state.removed
        tried: list[Candidate] = []
        best: tuple[Rank, Candidate, nn.Module] | None = None
        for contender in contenders:
            when = f"in step {number}, {contender.group.name}"
            model = sliced(self.model, self.proposer.channels, contender.state.removed, before)
            if self.finetune:
                self.train(model, False, when)
            tried.append(contender.with_accuracy(self.judged(model, when)))
            if best is None or order(tried[-1]) < best[0]:
                best = order(tried[-1]), tried[-1], model
        assert best is not None
        return self.take(best[1], tried, best[2])

    def take(self, best: Candidate, contenders: Sequence[Candidate], model: nn.Module | None) -> AdaptationStep:
        """Carry out a proposal. `model`: its network, fine-tuned; None if it was not made yet."""
        number = len(self.steps) + 1
        gone = best.state.removed - self.state.removed
        if model is not None:
            self.model = model
        elif self.finetune:
            self.model = sliced(self.model, self.proposer.channels, best.state.removed, self.state.removed)
            self.train(self.model, False, f"in step {number}")
        if self.finetune:
            self.proposer.weigh(self.model, best.state.removed)
        self.state, self.accuracy = best.state, best.proposal.accuracy
        places = tuple(place for place, channel in enumerate(best.group.channels) if channel in gone)
        step = AdaptationStep(number, best.proposal, places, self.accuracy, tuple(c.proposal for c in contenders))
        self.steps.append(step)
        return step

    def trained(self) -> nn.Module:
        """The network without the channels, fine-tuned for the last time."""
        smaller = (
            sliced(self.original, self.proposer.channels, self.state.removed)
            if self.model is self.original
            else self.model
        )
        if self.finetune:
            self.train(smaller, True, "at the end")
        self.final_accuracy = self.judged(smaller, "at the end") if self.finetune else self.accuracy
        return smaller

    def judged(self, model: nn.Module, when: str) -> float | None:
        """What the accuracy function says of a network; None without one."""
        if self.evaluate is None:
            return None
        with errors_of(f"the accuracy function fails {when}:"), torch.no_grad():
            accuracy = float(self.evaluate(sliced(model, self.proposer.channels, (), ()).eval()))
        if not math.isfinite(accuracy):
            raise CostlabError(f"the accuracy function returns {accuracy} {when}: it must return a finite number")
        return accuracy

    def train(self, model: nn.Module, last: bool, when: str) -> None:
        """Have the user's function train a network in place."""
        assert self.finetune is not None
        shapes = [p.shape for p in model.parameters()]
        with errors_of(f"the fine-tuning function fails {when}:"), torch.enable_grad():
            self.finetune(model, last)
        if [p.shape for p in model.parameters()] != shapes:
            raise CostlabError(f"the fine-tuning function changes the shapes of weights {when}")

    def stuck(self) -> str:
        """Why no further step can be taken."""
        show, value = METRICS[self.goal.metric].format, self.state.value
        return (
            f"stopped after {len(self.steps)} steps at {show(value)} ({value / self.start.value:.2f}x), short of the"
            f" target {show(self.goal.target)}: no group of channels saves anything more"
        )

    def adaptation(self, head: Profile, multiple: int, kept: Sequence[KeptGroup]) -> Adaptation:
        """The record of the whole run."""
        proposer, removed = self.proposer, self.state.removed
        groups, left, fewer = [], [KeptConvolution(k.path, k.reason) for k in kept], []
        for group in proposer.groups:
            stay = [n for n in group.channels if n not in removed]
            width = proposer.width(group)
            if len(stay) == len(group.channels):
                few = not proposer.counts(group, len(stay))
                reason = f"fewer than {2 * multiple} channels" if few else "target reached without it"
                left.append(KeptConvolution(group.name, reason))
                continue
            groups.append(ShrunkGroup(group.name, len(group.channels) * width, len(stay) * width, group.layers))
            fewer += stay[-1:] if len(stay) > 1 else []
        rounded = multiple > 1 and self.goal.metric == PREDICTED and bool(fewer)
        return Adaptation(
            metric=self.goal.metric,
            execution=self.goal.execution,
            target=self.goal.target,
            before=self.start.value,
            after=self.goal.measure(head),
            multiple=multiple,
            after_unrounded=proposer.without(self.state, fewer).value if rounded else None,
            weights=self.weights,
            accuracy=self.first_accuracy,
            final_accuracy=self.final_accuracy,
            steps=tuple(self.steps),
            groups=tuple(groups),
            left=tuple(left),
            base=self.start.profile,
            head=head,
        )


def launches(goal: Goal, network: Profile) -> str:
    """What to do if a GPU waits for the CPU most of the time, which fewer channels do not change."""
    execution = goal.execution
    if goal.metric != PREDICTED or execution is None or not execution.gpu:
        return ""
    prediction = predict_with(network, execution, network.fused(execution.fusion))
    waits = prediction.overhead_seconds > prediction.seconds / 2
    return ", most of them waiting for the CPU to launch kernels: try a larger batch" if waits else ""
