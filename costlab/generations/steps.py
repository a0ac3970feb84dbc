"""The two steps of a generation, traced from the model: prefill makes the cache, decode reads and grows it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch

from costlab.core.cost import RULES
from costlab.core.cost.contractions import computed_share
from costlab.core.gc import gc_paused
from costlab.core.graph import Op
from costlab.core.memory import allocated
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.generations.language_model import LanguageModel, forward_arguments, language_model
from costlab.generations.parallel import Plan, split
from costlab.generations.weights import Experts, WeightFormat, experts_of, stored_bytes, with_weights
from costlab.tracing._profile import costed
from costlab.tracing.answers import Answers
from costlab.tracing.forward import stand_ins, trace
from costlab.tracing.modules import ModuleTracker, tensors_in
from costlab.tracing.recorder import Recorder
from costlab.tracing.step.lifetimes import WeakTable

BLOCK = 512  # bytes; what PyTorch's CUDA allocator rounds to
CACHES = ("past_key_values", "cache_params", "state", "mems")  # names of the cache in transformers' outputs


class ReturningRecorder(Recorder):
    """Keeps what the model returns, as inputs of another trace, and sees when Python frees each tensor."""

    table: WeakTable
    returned: Any = None
    live: tuple[int, ...] = ()  # bytes of inputs and activations at every operator

    def __init__(
        self,
        tracker: ModuleTracker,
        kinds: Collection[str],
        weigh: Callable[[Op], int],
        answers: Answers,
        home: torch.device,
    ) -> None:
        super().__init__(tracker, kinds, weigh, answers, home, WeakTable())
        self.table.position = lambda: len(self.ops)

    def finish(self, result: Any) -> None:
        super().finish(result)
        self.returned = result
        changes = [0] * (len(self.ops) + 1)
        for lifetime in self.table.lifetimes.values():
            if lifetime.storage.role in ("input", "activation"):
                size = allocated(lifetime.bytes, BLOCK)
                changes[max(lifetime.first, 0)] += size
                changes[len(self.ops) if lifetime.last is None else lifetime.last + 1] -= size
        self.live = tuple(accumulate(changes[:-1]))

    def let_go(self) -> Any:
        self.returned = stand_ins(([self.returned], {}))[0][0]
        return super().let_go()


@dataclass(frozen=True, eq=False)
class Step:
    """One forward pass of a generation."""

    profile: Profile
    peak_bytes: int  # largest sum of inputs and activations in eager mode, where Python frees a tensor
    cache_name: str  # of the argument that takes the cache
    cache: Any  # after the step, as the model made it: tensors without data

    @property
    def cache_bytes(self) -> int:
        """Bytes of all tensors of the cache, each storage once."""
        tensors = {id(t): t for t in tensors_in(self.cache) if t.dim()}
        return sum(t.numel() * t.element_size() for t in tensors.values())


def prefill(language: LanguageModel, batch: int, length: int) -> Step:
    """The forward pass over a prompt: it fills the cache and computes the logits of the last position.

    Args:
        batch: sequences.
        length: tokens of each prompt.

    Raises:
        CostlabError: the model fails, or returns no cache.
    """
    ids = torch.empty(batch, length, dtype=torch.int64, device="meta")
    kwargs: dict[str, Any] = {"input_ids": ids, "use_cache": True}
    if "logits_to_keep" in forward_arguments(language.model):
        kwargs["logits_to_keep"] = 1
    return step(language, kwargs)


def decode(language: LanguageModel, before: Step, batch: int) -> Step:
    """The forward pass of one further token for each sequence.

    Args:
        before: the step that left the cache.
        batch: sequences.

    Raises:
        CostlabError: the model fails on its own cache.
    """
    ids = torch.empty(batch, 1, dtype=torch.int64, device="meta")
    return step(language, {"input_ids": ids, before.cache_name: before.cache, "use_cache": True})


def step(language: LanguageModel, kwargs: dict[str, Any]) -> Step:
    """One traced forward pass, with the cache that it returns."""
    recorders: list[ReturningRecorder] = []

    def recorder(*args: Any) -> Recorder:
        recorders.append(ReturningRecorder(*args))
        return recorders[-1]

    with gc_paused():
        traced = trace(language.model, (), kwargs, RULES, recorder_type=recorder)
        profile = costed(traced, RULES, language.name, "hf", {})
    for name in CACHES:
        cache = getattr(recorders[-1].returned, name, None)
        if cache is not None:
            return Step(profile, max(recorders[-1].live, default=0), name, cache)
    raise CostlabError(
        f"{language.name} returns no cache of what it has read: an encoder generates no text, and a state kept inside"
        " the modules cannot be followed; count one forward pass with: costlab report hf:..."
    )


Key = tuple[int, int]  # sequences and tokens of each
KEPT = 8  # steps of each kind; a long sweep would fill the memory


@dataclass(frozen=True, eq=False)
class Traces:
    """A language model, its part on one of several devices, and the steps traced so far."""

    language: LanguageModel
    plan: Plan
    experts: Experts | None
    params: int  # of the whole network, as the next
    embedding_params: int
    form: WeightFormat | None
    _prefills: dict[Key, Step] = field(default_factory=dict)
    _decodes: dict[Key, Step] = field(default_factory=dict)
    _prefill_bytes: dict[Key, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, reference: str, arguments: Mapping[str, Any], dtype: str, form: WeightFormat | None, devices: int
    ) -> Traces:
        """The network of a configuration. Raises CostlabError."""
        language = language_model(reference, arguments, dtype)
        experts = experts_of(language.model, language.config)
        params = sum(p.numel() for p in language.model.parameters())
        embedding = language.embedding_params
        plan = split(language.model, language.config, devices)
        return cls(language, plan, experts, params, embedding, form)

    @property
    def active_params(self) -> int:
        """Parameters without the experts that one token does not choose."""
        if self.experts is None:
            return self.params
        idle = 1 - self.experts.chosen / self.experts.number
        return self.params - round(self.experts.params * idle)

    @property
    def param_bytes(self) -> int:
        """Bytes of parameters and buffers on one device, as they are stored."""
        return stored_bytes(self.language.model, self.form, self.is_expert)

    def is_expert(self, path: str) -> bool:
        """Whether a module belongs to the routed experts."""
        return self.experts is not None and path in self.experts.paths

    def prefill(self, batch: int, length: int) -> Step:
        """The step over the prompts."""
        return remembered(self._prefills, (batch, length), lambda: prefill(self.language, batch, length))

    def decode(self, batch: int, context: int) -> Step:
        """The step of one further token after `context` others."""
        return remembered(
            self._decodes, (batch, context), lambda: decode(self.language, self.prefill(batch, context), batch)
        )

    def prefill_bytes(self, batch: int, length: int) -> tuple[int, int]:
        """Peak of inputs and activations of the step over the prompts, and bytes of the cache after it."""
        key = batch, length
        if key not in self._prefill_bytes:
            step = self.prefill(batch, length)
            self._prefill_bytes[key] = step.peak_bytes, step.cache_bytes
        return self._prefill_bytes[key]

    def as_stored(self, profile: Profile, tokens: int) -> Profile:
        """A step that reads its weights as they are stored, and of experts those that its tokens reach."""
        share = self.experts.reached(tokens) / self.experts.number if self.experts else 1.0
        return with_weights(profile, self.form, self.is_expert, share)


def remembered(steps: dict[Key, Step], key: Key, trace: Callable[[], Step]) -> Step:
    """A step that was traced before, or is traced now; the oldest make room."""
    if key not in steps:
        while len(steps) >= KEPT:
            del steps[next(iter(steps))]
        steps[key] = trace()
    return steps[key]


def computed_mult_adds(profile: Profile) -> int:
    """Mult-adds without the scores that a causal or sliding mask hides."""
    hidden = sum(
        cost.mult_adds * (1 - computed_share(op))
        for op, cost in zip(profile.ops, profile.costs, strict=True)
        if cost is not None and "computed_share" in op.attrs
    )
    return profile.mult_adds - round(hidden)


def summed_over(value: Callable[[int], int], first: int, last: int) -> int:
    """The exact sum of a function over whole numbers, from few of its values where it is a line.

    A stretch counts as a line if two points inside it agree with its ends; other stretches are halved.
    """
    if last - first < 4:
        return sum(value(n) for n in range(first, last + 1))
    low, high = value(first), value(last)
    middle = (first + last) // 2
    probes = middle, first + (last - first) // 3
    if all((value(n) - low) * (last - first) == (high - low) * (n - first) for n in probes):
        return (low + high) * (last - first + 1) // 2
    return summed_over(value, first, middle) + summed_over(value, middle + 1, last)
