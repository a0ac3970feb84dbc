"""The steps of one language model at any batch and context, each traced once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from costlab.core.cost.attention import computed_share
from costlab.core.profile import Profile
from costlab.generations.experts import Experts, experts_of
from costlab.generations.language_model import LanguageModel, language_model
from costlab.generations.parallel import Plan, split
from costlab.generations.steps import Step, decode, prefill
from costlab.generations.weights import WeightFormat, stored_bytes, with_weights

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
        return sum(stored_bytes(self.language.model, self.form, self.is_expert).values())

    @property
    def whole_bytes(self) -> int:
        """Those of them that every device holds, since the plan does not split them; 0 on one device."""
        if self.plan.devices == 1:
            return 0
        sizes = stored_bytes(self.language.model, self.form, self.is_expert)
        return sum(size for name, size in sizes.items() if not self.plan.splits(name))

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
