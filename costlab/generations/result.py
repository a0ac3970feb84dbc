"""What `costlab.generation` returns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from costlab.core.profile import Profile
from costlab.formatting.notebook import ShownInNotebooks


@dataclass(frozen=True)
class StepResult:
    """One forward pass of a generation: the prompt, or one further token for each sequence."""

    profile: Profile | None  # of one device's part, its weights as they are stored; None in a row of many
    mult_adds: int  # attention in full, also under a causal mask
    computed_mult_adds: int  # without the scores that a mask hides
    bytes_accessed: int
    predicted_seconds: float | None = None
    bound: str | None = None  # compute, weights, cache, activations, launches or communication
    parts: dict[str, float] | None = None  # seconds by what bounds them

    def data(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "mult_adds": self.mult_adds,
            "computed_mult_adds": self.computed_mult_adds,
            "bytes_accessed": self.bytes_accessed,
            "predicted_seconds": self.predicted_seconds,
            "bound": self.bound,
            "parts": self.parts,
        }


@dataclass(frozen=True)
class Generation(ShownInNotebooks):
    """The cost of generating text with a language model."""

    model: str
    device: str | None
    verified: bool  # whether anything was measured on it
    engine: str
    batch: int  # sequences
    prompt: int  # tokens
    generate: int  # tokens, the first of which the prefill gives
    weights: str  # how the matrices are stored
    products: str  # the type in which they are multiplied
    cache: str  # type of the cache
    devices: int  # that the network is split over
    params: int
    active_params: int  # without the experts that one token does not choose
    embedding_params: int  # of the input embedding, of which a token reads one row; 0 where it is also the head
    experts: int | None  # routed experts of a layer; None without experts
    experts_reached: float | None  # distinct experts of a layer that a decode step reaches; None without experts
    param_bytes: int  # on each device, like all bytes below
    whole_param_bytes: int  # those of them that every device holds, since the model's plan does not split them
    cache_bytes: int  # after the prompt, all sequences
    cache_bytes_per_token: float  # of one sequence, between the prompt's end and the last token
    peak_bytes: int
    memory: int | None  # of the device
    prefill: StepResult
    decode: StepResult  # one step at the end of the prompt
    mult_adds: int  # of the whole generation
    computed_mult_adds: int  # without the scores that a mask hides
    rounds: int  # in which an engine serves the batch, if it does not fit at once
    predicted_seconds: float | None  # prompt and all generated tokens of all sequences
    largest_batch: int | None  # that fits at this context; None without a device
    longest_context: int | None  # that fits at this batch
    positions: int | None  # the longest context that the model was made for
    turning_points: dict[str, int]  # the batch from which decode reads more cache than weights, or is compute-bound
    warnings: tuple[str, ...]

    @property
    def fits(self) -> bool | None:
        """Whether the device's memory suffices for one sequence at least; None without a device."""
        return (
            None
            if self.memory is None
            else self.largest_batch != 0 and (self.rounds > 1 or self.peak_bytes <= self.memory)
        )

    @property
    def tokens_per_second(self) -> float | None:
        """Generated tokens of all sequences for each second of the generation."""
        return self.batch * self.generate / self.predicted_seconds if self.predicted_seconds else None

    def without_profiles(self) -> Generation:
        """The same numbers without the graphs, many of which would fill the memory."""
        steps = {name: replace(getattr(self, name), profile=None) for name in ("prefill", "decode")}
        return replace(self, **steps)

    def data(self) -> dict[str, Any]:
        """The JSON form (docs/json.md)."""
        skipped = ("prefill", "decode", "warnings")
        plain = {key: value for key, value in vars(self).items() if key not in skipped}
        return {
            **plain,
            "fits": self.fits,
            "tokens_per_second": self.tokens_per_second,
            "prefill": self.prefill.data(),
            "decode": self.decode.data(),
            "warnings": list(self.warnings),
        }
