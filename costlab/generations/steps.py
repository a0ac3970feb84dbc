"""The two steps of a generation, traced from the model: prefill makes the cache, decode reads and grows it."""

from dataclasses import dataclass
from typing import Any

import torch

from costlab.core.cost import RULES
from costlab.core.gc import gc_paused
from costlab.core.memory import eager_activation_bytes
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.generations.language_model import LanguageModel, forward_arguments
from costlab.tracing._profile import costed
from costlab.tracing.forward import stand_ins, trace
from costlab.tracing.modules import tensors_in
from costlab.tracing.recorder import Recorder

BLOCK = 512  # bytes; what PyTorch's CUDA allocator rounds to
CACHES = ("past_key_values", "cache_params", "state", "mems")  # names of the cache in transformers' outputs


class ReturningRecorder(Recorder):
    """Keeps what the model returns, as inputs of another trace."""

    returned: Any = None

    def finish(self, result: Any) -> None:
        super().finish(result)
        self.returned = result

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

    Raises CostlabError if the model fails, or returns no cache.
    """
    ids = torch.empty(batch, length, dtype=torch.int64, device="meta")
    kwargs: dict[str, Any] = {"input_ids": ids, "use_cache": True}
    if "logits_to_keep" in forward_arguments(language.model):
        kwargs["logits_to_keep"] = 1
    return step(language, kwargs)


def decode(language: LanguageModel, before: Step, batch: int) -> Step:
    """The forward pass of one further token for each sequence, after the step that left the cache.

    Raises CostlabError if the model fails on its own cache.
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
            return Step(profile, eager_activation_bytes(traced, BLOCK), name, cache)
    raise CostlabError(
        f"{language.name} returns no cache of what it has read: an encoder generates no text, and a state kept inside"
        " the modules cannot be followed; count one forward pass with: costlab report hf:..."
    )
