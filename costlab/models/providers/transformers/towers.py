"""The vision and audio towers of a language model, and the tokens that their features take the place of."""

import inspect
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.models.providers.transformers.architecture import one_line
from costlab.models.providers.transformers.context import Context
from costlab.tracing.inputs import Inputs

PROMPT = 8  # tokens of text before and after the features


@dataclass(frozen=True)
class Tower:
    """One way into a network beside its tokens."""

    input: str
    getter: str  # the method that turns the input into features
    tokens: tuple[str, ...]  # entries of the configuration that name the token of a feature
    part: str  # its own configuration; a network without one has no such tower


IMAGE = ("image_token_id", "image_token_index", "img_token_id")
VIDEO = ("video_token_id", "video_token_index")
AUDIO = ("audio_token_id", "audio_token_index", "speech_token_id")

TOWERS = (
    Tower("pixel_values", "get_image_features", IMAGE, "vision_config"),
    Tower("pixel_values_videos", "get_video_features", VIDEO, "vision_config"),
    Tower("input_features", "get_audio_features", AUDIO, "audio_config"),
    Tower("input_values", "get_audio_features", AUDIO, "audio_config"),
)


def towers(context: Context) -> list[tuple[Tower, torch.nn.Module]]:
    """The towers whose input forward takes, each with the module that has its method."""
    owners = [(tower, owner_of(context.model, tower.getter)) for tower in TOWERS if tower.input in context.parameters]
    return [(tower, owner) for tower, owner in owners if owner is not None and not is_absent(tower, context.config)]


def is_absent(tower: Tower, config: Any) -> bool:
    """Whether a configuration leaves a tower out, or the token that stands for it."""
    tokens = [getattr(config, name) for name in tower.tokens if hasattr(config, name)]
    return getattr(config, tower.part, tower) is None or (bool(tokens) and all(token is None for token in tokens))


def owner_of(model: torch.nn.Module, getter: str) -> torch.nn.Module | None:
    """The network, or the outermost one inside it, that has a method for a tower."""
    return next((module for module in model.modules() if hasattr(module, getter)), None)


def parameters_of(tower: Tower, owner: torch.nn.Module) -> dict[str, inspect.Parameter]:
    """What the method of a tower takes; the network inside tells, where the outer one passes everything on."""
    for module in (getattr(owner, "model", None), owner):
        if hasattr(module, tower.getter):
            parameters = inspect.signature(getattr(module, tower.getter)).parameters
            return {n: p for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    return {}


def place_features(context: Context) -> None:
    """Put as many image or audio tokens into the text as the towers give features.

    A tower that cannot run with this configuration gets no input, and the network is one of text alone.
    """
    made, rows = context.made, []
    for tower, owner in towers(context):
        token = context.entry(*tower.tokens)
        if "input_ids" not in made or tower.input not in made or token is None:
            continue
        inputs = {name: made[name] for name in parameters_of(tower, owner) if name in made and name != "input_ids"}
        try:
            count = features_of(owner, tower.getter, inputs, context.model)
        except CostlabError as error:
            context.absent[tower.input] = unfit(tower, error)
            for name in inputs:
                if context.parameters[name].default is not inspect.Parameter.empty:
                    del made[name]
        else:
            rows.append(torch.full((1, count), token, dtype=torch.long))
    if not rows:
        return
    text = torch.zeros(1, PROMPT, dtype=torch.long)
    made["input_ids"] = torch.cat([text, *rows, text], dim=1)
    if "mm_token_type_ids" in context.parameters:
        kinds = [torch.full_like(row, kind) for kind, row in enumerate(rows, start=1)]
        made["mm_token_type_ids"] = torch.cat([torch.zeros_like(text), *kinds, torch.zeros_like(text)], dim=1)


def unfit(tower: Tower, error: CostlabError) -> str:
    """Why a tower gets no input."""
    why = f"fails, {one_line(error.__cause__)}" if error.__cause__ else f"does not fit, {error}"
    return f"the {tower.part.partition('_')[0]} tower of this configuration {why}"


def features_of(owner: torch.nn.Module, getter: str, inputs: dict[str, Any], model: Any) -> int:
    """How many tokens a tower's features take the place of: the tower is traced once by itself.

    Raises CostlabError if it cannot run, or its features are not as wide as the embeddings of the text.
    """
    from costlab.tracing._profile import profile

    shapes: list[tuple[int, int]] = []  # features, and their width; not an attribute: those are restored after a trace

    class Alone(torch.nn.Module):
        """The tower as a network of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.owner = owner

        def forward(self, **inputs: Any) -> Any:
            result = getattr(self.owner, getter)(**inputs)
            features = getattr(result, "pooler_output", result)
            if features is None:
                features = result.last_hidden_state
            members = features if isinstance(features, (list, tuple)) else [features]
            shapes.append((sum(prod(member.shape[:-1]) for member in members), members[0].shape[-1]))
            return result

    alone = profile(Alone(), Inputs(kwargs=inputs))
    count, width = shapes[-1]
    embedded = getattr(model.get_input_embeddings(), "embedding_dim", width)
    projected_later = any(path.endswith("multi_modal_projector") for path in alone.uncalled)
    if width != embedded and not projected_later:
        raise CostlabError(f"its features are {width:,} wide, the embeddings of the text {embedded:,}")
    return count
