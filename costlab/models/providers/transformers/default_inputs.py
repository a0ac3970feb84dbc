"""Default inputs of a transformers network, made from its forward's signature and its configuration.

A network gets its main input, what its forward requires, and what switches its other towers on: an image and the right
number of image tokens for a vision-language model, decoder tokens for an encoder-decoder. Sizes come from the
configuration; where it names none, an image has 224 pixels a side, a text 128 tokens, a waveform one second.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch

from costlab.models.providers.transformers import exceptions
from costlab.models.providers.transformers.context import Context
from costlab.models.providers.transformers.images import (
    TOKENS,
    grid_thw,
    image,
    image_size,
    pair,
    patches,
    positions,
    takes_patches,
    tokens,
    video,
)
from costlab.models.providers.transformers.signals import frames_mask, series, spectrogram, waveform
from costlab.models.providers.transformers.towers import TOWERS, is_absent, parameters_of, place_features, towers
from costlab.tracing.inputs import Inputs


def default_inputs(model: torch.nn.Module, config: Any) -> Inputs:
    """Keyword inputs for whatever forward takes; floating-point tensors have no data, tokens and masks have values."""
    signature = inspect.signature(model.forward).parameters
    parameters = {n: p for n, p in signature.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    context = Context(model, config, parameters)
    special = exceptions.makers_of(config, type(model).__name__)
    for name in wanted(context, special):
        maker = special.get(name) or MAKERS.get(name)
        if maker is not None and name in parameters:
            context.made[name] = maker(context)
    if "input_ids" not in special:
        place_features(context)
    if "use_cache" in parameters:
        context.made["use_cache"] = False
    made = {name: value for name, value in context.made.items() if value is not None}
    return Inputs(kwargs=made, absent={n: why for n, why in context.absent.items() if n in parameters})


def wanted(context: Context, special: dict[str, Any]) -> list[str]:
    """The inputs to make, in the order in which they are made."""
    parameters, config = context.parameters, context.config
    main = getattr(context.model, "main_input_name", "input_ids")
    names = list(main) if isinstance(main, (list, tuple)) else [main]
    names += [n for n, p in parameters.items() if p.default is p.empty]
    if not any(n in parameters for n in names):
        names += [n for n in ("input_ids", "inputs_embeds", "hidden_states") if n in parameters][:1]
    others = towers(context)
    if "input_ids" in parameters and (others or hasattr(config, "text_config")):
        names += ["input_ids"]
    if "input_ids" in names:
        names += inputs_beside_tokens(context)
    if getattr(config, "is_encoder_decoder", False):
        names += ["decoder_input_ids"]
    names += [n for n, beside in COMPANIONS.items() if n in parameters and beside in names]
    absent = [tower.input for tower in TOWERS if is_absent(tower, config)]
    needed = {n for n, p in parameters.items() if p.default is p.empty}
    made = dict.fromkeys([*names, *special])
    return [n for n in made if n in needed or (n not in absent and COMPANIONS.get(n) not in absent)]


def inputs_beside_tokens(context: Context) -> list[str]:
    """An image or a sound for each tower, with what its method requires; for a network without such methods, either."""
    names: list[str] = []
    for tower, owner in towers(context):
        if tower.input == "pixel_values_videos" and "pixel_values" in names:
            continue
        required = [n for n, p in parameters_of(tower, owner).items() if p.default is p.empty]
        names += [tower.input, *required]
    return names or [n for n in ("pixel_values", "input_features", "input_values") if n in context.parameters]


# Which input brings which other with it.
COMPANIONS = {
    "image_grid_thw": "pixel_values",
    "high_res_pixel_values": "pixel_values",
    "pixel_mask": "pixel_values",
    "spatial_shapes": "pixel_values",
    "pixel_position_ids": "pixel_values",
    "image_position_ids": "pixel_values",
    "target_sizes": "pixel_values",
    "input_features_mask": "input_features",
    "feature_attention_mask": "input_features",
    "audio_mel_mask": "audio_mel",
    "past_time_features": "past_values",
    "bbox": "input_ids",
}


def embeddings(*names: str, length: int = TOKENS) -> Callable[[Context], torch.Tensor]:
    """[1, length, hidden] in the place of what another network would give."""
    return lambda context: context.floats(1, length, context.entry(*names))


def hidden_states(context: Context) -> torch.Tensor:
    """The patches of an image, or [1, length, hidden]."""
    return patches(context) if takes_patches(context) else context.floats(1, TOKENS, context.entry("hidden_size"))


MAKERS: dict[str, Callable[[Context], Any]] = {
    "input_ids": tokens,
    "decoder_input_ids": tokens,
    "qformer_input_ids": tokens,
    "inputs_embeds": embeddings("hidden_size"),
    "hidden_states": hidden_states,
    "query_embeds": embeddings("hidden_size", length=32),
    "bbox": lambda c: torch.zeros(*c.made["input_ids"].shape, 4, dtype=torch.long),
    "pixel_values": image,
    "pixel_values_videos": video,
    "grid_thw": grid_thw,
    "image_grid_thw": grid_thw,
    "high_res_pixel_values": lambda c: c.floats(1, 3, *pair(c.entry("image_size", part=("high_res_vision_config",)))),
    "image_sizes": lambda c: torch.tensor([image_size(c)]),
    "merge_sizes": lambda c: torch.tensor([c.entry("spatial_merge_size", "merge_size", default=2)]),
    "image_merge_sizes": lambda c: torch.tensor([c.entry("spatial_merge_size", "merge_size", default=2)]),
    "pixel_mask": lambda c: torch.ones(1, *c.made["pixel_values"].shape[-2:], dtype=torch.long),
    "pixel_attention_mask": lambda c: torch.ones(c.made["pixel_values"].shape[:2], dtype=torch.long),
    "pixel_position_ids": positions,
    "image_position_ids": positions,
    "spatial_shapes": lambda c: grid_thw(c)[:, 1:],
    "input_features": spectrogram,
    "input_features_mask": frames_mask,
    "feature_attention_mask": frames_mask,
    "audio_mel": spectrogram,
    "audio_mel_mask": lambda c: torch.zeros(c.made["audio_mel"].shape[:2], dtype=torch.bool),
    "input_values": waveform,
    "padding_mask": lambda c: torch.ones(1, c.made["input_values"].shape[-1], dtype=torch.long),
    "past_values": series,
    "past_time_features": lambda c: c.floats(*c.made["past_values"].shape[:2], c.entry("num_time_features", default=0)),
    "past_observed_mask": lambda c: torch.ones(c.made["past_values"].shape),
    "past_values_padding": lambda c: torch.zeros(c.made["past_values"].shape, dtype=torch.long),
    "freq": lambda c: torch.zeros(1, 1, dtype=torch.long),
}
