"""`costlab.generation`: what generating text with a language model takes, in memory and in time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting.units import size
from costlab.generations.cache_kernels import engine_mult_adds
from costlab.generations.checkpoints import read_checkpoint
from costlab.generations.engines import Engine, find_engine
from costlab.generations.result import Generation, StepResult
from costlab.generations.steps import Step
from costlab.generations.timing import StepTime, all_reduce_seconds, timed
from costlab.generations.traces import Traces, computed_mult_adds, summed_over
from costlab.generations.weights import CACHE_BYTES, FORMATS, NETWORK_TYPES, WeightFormat, format_of
from costlab.latency.device import Device
from costlab.latency.devices import find_device

LONGEST = 1 << 24  # tokens of a context
CHUNK = 8192  # tokens of prompts that an engine reads at once


def generation(
    target: str,
    *,
    device: str | Path | Device | None = None,
    batch: int = 1,
    prompt: int = 2048,
    generate: int = 256,
    weights: str | None = None,
    cache: str = "bf16",
    tp: int = 1,
    engine: str = "eager",
    checkpoint: str | Path | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Generation:
    """The cost of generating text with a transformers language model, from its configuration alone.

    Prefill (the forward pass over the prompt) and decode (one forward pass for each further token) are traced from the
    model itself, with the cache that it makes.

    Args:
        target: "hf:CONFIG", a configuration file, its folder or a hub id.
        device: where it runs; without one, nothing is predicted.
        batch: sequences at a time.
        prompt: tokens of each prompt.
        generate: tokens generated for each sequence, the first by prefill.
        weights: "bf16", "fp16", "fp32", "fp8", "int8", "int4" or "mxfp4"; default: what the configuration says.
        cache: type of the cache: "bf16", "fp16" or "fp8".
        tp: devices among which the network is split (tensor parallelism, by the model's own plan).
        engine: "eager" (transformers), "graphs" (compiled, CUDA graphs), "vllm" or "tensorrt-llm".
        checkpoint: a .safetensors or .gguf file or an index, whose header gives the size of the weights.
        arguments: override entries of the configuration.

    Returns:
        Memory, mult-adds and, with a device, predicted seconds. Bytes are those of one device.

    Raises:
        CostlabError: the configuration names no decoder, or an argument is out of its range.
    """
    setting = setting_of(
        target,
        device=device,
        weights=weights,
        cache=cache,
        tp=tp,
        engine=engine,
        checkpoint=checkpoint,
        arguments=arguments,
    )
    return setting.generation(batch, prompt, generate)


def setting_of(
    target: str,
    *,
    device: str | Path | Device | None,
    weights: str | None,
    cache: str,
    tp: int,
    engine: str,
    checkpoint: str | Path | None,
    arguments: Mapping[str, Any] | None,
) -> Setting:
    """A network and how it runs, for any batch and lengths; the arguments of `generation`. Raises CostlabError."""
    chosen = None if device is None else device if isinstance(device, Device) else find_device(device)
    in_range("tp", tp)
    if cache not in CACHE_BYTES:
        raise CostlabError(f"no cache type {cache!r}; choose one of {', '.join(CACHE_BYTES)}")
    how = find_engine(engine)
    if chosen is not None and tp > 1 and chosen.link is None:
        raise CostlabError(f"{chosen.name} has no link to other devices, which --tp needs: [link] of a device file")
    traces, name = loaded(target, arguments or {}, weights, checkpoint, tp)
    return Setting(traces, name, chosen, how, cache)


def in_range(name: str, value: int) -> None:
    """Raise CostlabError for a number of sequences, tokens or devices that cannot be."""
    if type(value) is not int or not 1 <= value <= LONGEST:
        raise CostlabError(f"{name} must be a positive integer of at most {LONGEST:,}, got {value!r}")


def loaded(
    target: str, arguments: Mapping[str, Any], weights: str | None, checkpoint: str | Path | None, devices: int
) -> tuple[Traces, str]:
    """The network with its weights as they are stored, and the name of that. Raises CostlabError."""
    if weights is not None and weights not in (*FORMATS, *NETWORK_TYPES):
        raise CostlabError(f"no weight type {weights!r}; choose one of {', '.join((*NETWORK_TYPES, *FORMATS))}")
    form = FORMATS.get(weights or "")
    traces = Traces.of(target, arguments, NETWORK_TYPES.get(weights or "", "bfloat16"), form, devices)
    if checkpoint is not None:
        read = read_checkpoint(Path(checkpoint))
        bits = read.matrix_bits or 8 * read.bytes / traces.params
        return replace(traces, form=WeightFormat(read.name, bits, None, 0, kept=())), read.name
    if weights is None and traces.language.quantization is not None:
        form = format_of(traces.language.quantization)
        return replace(traces, form=form), form.name if form else "bf16"
    return traces, weights or "bf16"


@dataclass(frozen=True, eq=False)
class Setting:
    """A network and how it runs: everything but batch and lengths."""

    traces: Traces
    weights: str
    device: Device | None
    engine: Engine
    cache: str

    def generation(self, batch: int, prompt: int, generate: int) -> Generation:
        """The cost of one batch. Raises CostlabError."""
        for name, value in (("batch", batch), ("prompt", prompt), ("generate", generate)):
            in_range(name, value)
        traces, last = self.traces, prompt + generate
        warnings = self.warnings(last)
        first, step = traces.prefill(batch, prompt), traces.decode(batch, prompt)
        cache, final = self.cache_bytes(batch, prompt), self.cache_bytes(batch, last)
        decoded = self.decoded_mult_adds(batch, prompt, generate)
        room = None if self.device is None else self.device.memory
        largest = self.largest_batch(prompt, generate)
        rounds = -(-batch // largest) if self.engine.schedules and largest else 1
        peak = self.peak_bytes(-(-batch // rounds), prompt, generate)
        timed_prefill, timed_decode, seconds = self.seconds(-(-batch // rounds), prompt, generate)
        if room is not None and largest is not None and largest < batch:
            needed = f"does not fit: {size(peak)} in {size(room)}"
            warnings.append(f"does not fit at once: served in {rounds} rounds" if rounds > 1 else needed)
        return Generation(
            model=traces.language.name,
            device=self.device.name if self.device else None,
            verified=self.device is None or self.device.verified,
            engine=self.engine.name,
            batch=batch,
            prompt=prompt,
            generate=generate,
            weights=self.weights,
            products=self.products,
            cache=self.cache,
            devices=traces.plan.devices,
            params=traces.params,
            active_params=traces.active_params,
            embedding_params=traces.embedding_params,
            experts=traces.experts.number if traces.experts else None,
            experts_reached=traces.experts.reached(batch) if traces.experts else None,
            param_bytes=traces.param_bytes,
            whole_param_bytes=traces.whole_bytes,
            cache_bytes=cache,
            cache_bytes_per_token=(final - cache) / generate / batch,
            peak_bytes=peak,
            memory=room,
            prefill=self.result(first, batch * prompt, timed_prefill),
            decode=self.result(step, batch, timed_decode),
            mult_adds=first.profile.mult_adds + decoded,
            computed_mult_adds=computed_mult_adds(first.profile) + decoded,
            rounds=rounds,
            predicted_seconds=None if seconds is None else rounds * seconds,
            largest_batch=largest,
            longest_context=self.longest_context(batch, prompt),
            positions=traces.language.positions,
            turning_points=self.turning_points(prompt),
            warnings=tuple(warnings),
        )

    @property
    def products(self) -> str:
        """The type in which weights are multiplied."""
        narrow = self.traces.form.computes if self.traces.form else None
        if narrow is not None and self.device is not None and narrow in self.device.matrix_flops:
            return narrow
        own = next(self.traces.language.model.parameters()).dtype
        return next((name for name, dtype in NETWORK_TYPES.items() if str(own).endswith(dtype)), str(own))

    def warnings(self, last: int) -> list[str]:
        """What a user should know before trusting the rest. Raises CostlabError for a context that cannot be."""
        most = self.traces.language.positions
        if most is None or last <= most:
            return []
        if self.traces.language.learned_positions:
            name = self.traces.language.name
            raise CostlabError(f"{name} has a table of {most:,} positions; prompt and generated tokens are {last:,}")
        return [f"prompt and generated tokens are {last:,}, beyond the {most:,} positions that the model was made for"]

    def result(self, step: Step, tokens: int, time: StepTime | None) -> StepResult:
        """One step with its weights as they are stored."""
        profile = self.traces.as_stored(step.profile, tokens)
        return StepResult(
            profile=profile,
            mult_adds=profile.mult_adds,
            computed_mult_adds=computed_mult_adds(profile),
            bytes_accessed=profile.total.bytes_accessed,
            predicted_seconds=time.seconds if time else None,
            bound=time.bound if time else None,
            parts=time.parts if time else None,
        )

    def decoded_mult_adds(self, batch: int, prompt: int, generate: int) -> int:
        """Mult-adds of all decode steps."""
        if generate == 1:
            return 0
        return summed_over(
            lambda context: self.traces.decode(batch, context).profile.mult_adds, prompt, prompt + generate - 2
        )

    def cache_bytes(self, batch: int, context: int) -> int:
        """Bytes of the cache after `context` tokens of each sequence."""
        return self.traces.prefill_bytes(batch, context)[1] * CACHE_BYTES[self.cache] // 2

    def peak_bytes(self, batch: int, prompt: int, generate: int) -> int:
        """Largest sum of weights, cache and activations, on one device."""
        traces = self.traces
        last = self.cache_bytes(batch, prompt + generate - 1)
        if self.engine.schedules:
            return traces.param_bytes + last + self.chunk_bytes(prompt)
        saved = self.cache_bytes(batch, prompt) * (2 - CACHE_BYTES[self.cache])
        reading = traces.prefill_bytes(batch, prompt)[0] - saved
        return traces.param_bytes + max(reading, last)

    def chunk_bytes(self, prompt: int) -> int:
        """Bytes of activations while an engine reads a part of the prompts."""
        peak, cache = self.traces.prefill_bytes(1, min(prompt, CHUNK))
        return peak - cache

    def largest_batch(self, prompt: int, generate: int) -> int | None:
        """The most sequences that fit with prompt and generated tokens; None if the device states no memory."""
        if self.device is None or self.device.memory is None:
            return None
        room = self.engine.memory_share * self.device.memory
        if self.engine.schedules:
            room -= self.traces.param_bytes + self.chunk_bytes(prompt)
            return max(0, int(room // max(1, self.cache_bytes(1, prompt + generate))))
        one, two = (self.peak_bytes(n, prompt, generate) for n in (1, 2))
        return max(0, 1 + math.floor((room - one) / max(1, two - one))) if one <= room else 0

    def longest_context(self, batch: int, prompt: int) -> int | None:
        """The longest prompt that fits at this batch, if memory grows evenly; None if nothing limits it."""
        if self.device is None or self.device.memory is None:
            return None
        room = self.engine.memory_share * self.device.memory
        one, two = (self.peak_bytes(batch, n, 1) for n in (prompt, 2 * prompt))
        reach = beyond(prompt, one, (two - one) / prompt, room)
        if self.engine.schedules and prompt < CHUNK and (reach is None or reach > CHUNK):
            at_chunk = one + (two - one) * (CHUNK - prompt) / prompt
            cached = (self.cache_bytes(batch, 2 * prompt) - self.cache_bytes(batch, prompt)) / prompt
            return beyond(CHUNK, at_chunk, cached, room)  # longer prompts are read in parts: only the cache grows
        return reach

    def seconds(self, batch: int, prompt: int, generate: int) -> tuple[StepTime | None, StepTime | None, float | None]:
        """Of prefill, of the first decode step, and of a whole generation (Simpson's rule over the contexts)."""
        if self.device is None:
            return None, None, None
        first = self.step_seconds(self.traces.prefill(batch, prompt).profile, batch, batch * prompt)
        last = max(prompt, prompt + generate - 2)
        contexts = prompt, (prompt + last) // 2, last
        steps = [self.step_seconds(self.traces.decode(batch, n).profile, batch, batch) for n in contexts]
        low, middle, high = (step.seconds for step in steps)
        return first, steps[0], first.seconds + (generate - 1) * (low + 4 * middle + high) / 6

    def step_seconds(self, profile: Profile, batch: int, tokens: int) -> StepTime:
        """Seconds of one step on the device."""
        assert self.device is not None
        plan, exchange = self.traces.plan, 0.0
        if plan.devices > 1 and self.device.link is not None:
            exchange = all_reduce_seconds(*plan.reduced_bytes(profile), plan.devices, self.device.link)
        return timed(
            self.traces.as_stored(profile, tokens),
            self.device,
            self.engine,
            batch,
            communication=exchange,
            computes=self.traces.form.computes if self.traces.form else None,
            cache_scale=CACHE_BYTES[self.cache] / 2,
        )

    def turning_points(self, prompt: int) -> dict[str, int]:
        """The batch from which a decode step reads more cache than weights, and from which arithmetic takes longest."""
        points = {}
        weights, cache = self.traces.param_bytes, self.cache_bytes(1, prompt)
        if cache:
            points["cache"] = math.ceil(weights / cache)
        if self.device is not None:
            profile = self.traces.decode(1, prompt).profile
            mult_adds = engine_mult_adds(profile) if self.engine.schedules else profile.mult_adds
            work = 2 * mult_adds / self.device.peak_flops(NETWORK_TYPES.get(self.products, self.products))
            spare = work - cache / self.device.bandwidth
            if spare > 0:
                points["compute"] = math.ceil(weights / self.device.bandwidth / spare)
        return points


def beyond(tokens: int, needed: float, growth: float, room: float) -> int | None:
    """How many tokens fit into a room if `tokens` need that much and each further one `growth`; None: any number."""
    if growth <= 0:
        return 0 if needed > room else None
    return max(0, math.floor(tokens + (room - needed) / growth))
