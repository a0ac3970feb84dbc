"""The language model that a configuration names, without weights."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.models.meta_init import weightless
from costlab.models.providers.transformers.architecture import from_config, import_transformers, modeling_classes
from costlab.models.providers.transformers.configuration import offline, read_config
from costlab.tracing.global_state import global_state_restored

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A decoder with a language-modelling head."""

    model: torch.nn.Module
    config: Any  # of transformers, of the decoder
    quantization: Mapping[str, Any] | None  # the configuration's quantization_config
    name: str

    @property
    def positions(self) -> int | None:
        """The longest context that the configuration promises; None where it states none."""
        return getattr(self.config, "max_position_embeddings", None) or getattr(self.config, "n_positions", None)

    @property
    def embedding_params(self) -> int:
        """Elements of the input embedding; 0 where its weights are also those of the head."""
        model: Any = self.model
        table, head = (
            getattr(m, "weight", None) for m in (model.get_input_embeddings(), model.get_output_embeddings())
        )
        return 0 if table is None or table is head else int(table.numel())

    @property
    def learned_positions(self) -> bool:
        """Whether positions are rows of a table, which ends."""
        sizes = {m.num_embeddings for m in self.model.modules() if isinstance(m, torch.nn.Embedding)}
        tokens = self.config.vocab_size
        return self.positions is not None and any(0 <= n - self.positions <= 2 for n in sizes - {tokens})


def language_model(reference: str, arguments: Mapping[str, Any], dtype: str = "bfloat16") -> LanguageModel:
    """The causal language model of a transformers configuration, with weights of `dtype`; `arguments` override entries.

    Raises CostlabError if the configuration cannot be read, or its network does not generate text.
    """
    reference = reference.removeprefix("hf:")
    with global_state_restored(), offline():
        import_transformers()
        config = read_config(reference, arguments)
        quantization = getattr(config, "quantization_config", None)
        if quantization is not None:
            del config.quantization_config
        config.architectures = [causal_class(config).__name__]
        model = from_config(config, lambda build: weightless(build, fallback=False)).to(DTYPES[dtype]).eval()
    name = f"{type(model).__name__} ({config.model_type})"
    return LanguageModel(model, config.get_text_config(decoder=True), quantization, name)


def causal_class(config: Any) -> Any:
    """The class that generates text from this configuration.

    Raises CostlabError if there is none, or it needs an encoder.
    """
    transformers = import_transformers()
    auto = transformers.models.auto.modeling_auto
    named = (getattr(config, "architectures", None) or [None])[0]
    owner = modeling_classes(type(config)).get(named) if isinstance(named, str) else None
    for mapping in (auto.MODEL_FOR_CAUSAL_LM_MAPPING, auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING):
        if owner is None or not owner.can_generate():
            owner = mapping.get(type(config), None)
    if getattr(config, "is_encoder_decoder", False):
        raise CostlabError(f"{config.model_type} reads its prompt with an encoder; costlab llm takes decoders")
    encodes = type(config) in auto.MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    if owner is None or not owner.can_generate() or encodes:
        what = "is an encoder, which generates no text" if encodes else "has no network that generates text"
        raise CostlabError(f"{config.model_type} {what}; count it with: costlab report hf:...")
    return owner


def forward_arguments(model: torch.nn.Module) -> set[str]:
    """The names of the arguments of forward."""
    return set(inspect.signature(model.forward).parameters)
