"""Labels for transformers networks, so that a training step differentiates the loss that they compute themselves."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from costlab.tracing.inputs import Inputs

Labels = dict[str, Any]


def with_labels(model: torch.nn.Module, inputs: Inputs) -> Inputs:
    """The inputs with labels as the head of a network takes them; as they are if it has none, or labels are given.

    The heads and the shapes of their labels are those of transformers' own tests.
    """
    from transformers.models.auto import modeling_auto

    parameters = inspect.signature(model.forward).parameters
    name = type(model).__name__
    for head, maker in HEADS.items():
        if name in members(getattr(modeling_auto, f"MODEL_FOR_{head}_MAPPING_NAMES", {})):
            labels = maker(model.config, inputs.kwargs)
            if labels.keys() <= parameters.keys() and not labels.keys() & inputs.kwargs.keys():
                return replace(inputs, kwargs={**inputs.kwargs, **labels})
    return inputs


def members(mapping: Mapping[str, Any]) -> set[str]:
    """The classes of a table of transformers, some of which have several for one type."""
    return {name for names in mapping.values() for name in ([names] if isinstance(names, str) else names)}


def of_tokens(config: Any, inputs: Mapping[str, Any]) -> Labels:
    """One class for each token, of the decoder if there is one."""
    tokens = inputs.get("decoder_input_ids", inputs.get("input_ids"))
    return {} if tokens is None else {"labels": torch.zeros(tokens.shape, dtype=torch.long)}


def of_sequences(config: Any, inputs: Mapping[str, Any]) -> Labels:
    """One class for each member of the batch; a number, or a number for each class, where those are predicted."""
    problem = getattr(config, "problem_type", None)
    if problem == "multi_label_classification":
        return {"labels": torch.zeros(batch(inputs), config.num_labels)}
    number = problem == "regression" or (problem is None and getattr(config, "num_labels", 2) == 1)
    return {"labels": torch.zeros(batch(inputs), dtype=torch.float32 if number else torch.long)}


def of_spans(config: Any, inputs: Mapping[str, Any]) -> Labels:
    """The first and the last token of each answer."""
    return {name: torch.zeros(batch(inputs), dtype=torch.long) for name in ("start_positions", "end_positions")}


def of_pixels(config: Any, inputs: Mapping[str, Any]) -> Labels:
    """One class for each pixel."""
    image = inputs.get("pixel_values")
    return {} if image is None else {"labels": torch.zeros(image.shape[0], *image.shape[-2:], dtype=torch.long)}


def of_pairs(config: Any, inputs: Mapping[str, Any]) -> Labels:
    """None: the pairs of images and texts in a batch are the labels."""
    return {"return_loss": True}


def batch(inputs: Mapping[str, Any]) -> int:
    """The first dimension of the first input."""
    return next(value.shape[0] for value in inputs.values() if isinstance(value, torch.Tensor))


HEADS: dict[str, Callable[[Any, Mapping[str, Any]], Labels]] = {
    "CAUSAL_LM": of_tokens,
    "MASKED_LM": of_tokens,
    "SEQ_TO_SEQ_CAUSAL_LM": of_tokens,
    "SPEECH_SEQ_2_SEQ": of_tokens,
    "IMAGE_TEXT_TO_TEXT": of_tokens,
    "MULTIMODAL_LM": of_tokens,
    "TOKEN_CLASSIFICATION": of_tokens,
    "SEQUENCE_CLASSIFICATION": of_sequences,
    "NEXT_SENTENCE_PREDICTION": of_sequences,
    "MULTIPLE_CHOICE": of_sequences,
    "IMAGE_CLASSIFICATION": of_sequences,
    "VIDEO_CLASSIFICATION": of_sequences,
    "AUDIO_CLASSIFICATION": of_sequences,
    "QUESTION_ANSWERING": of_spans,
    "DOCUMENT_QUESTION_ANSWERING": of_spans,
    "SEMANTIC_SEGMENTATION": of_pixels,
    "ZERO_SHOT_IMAGE_CLASSIFICATION": of_pairs,
}
