"""Small configurations of many language models, written as transformers writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from costlab.models.providers.transformers import import_transformers

SIZES = {  # entries of configurations; each type takes those that it has
    "vocab_size": 320,
    "hidden_size": 64,
    "n_embd": 64,
    "word_embed_proj_dim": 64,
    "intermediate_size": 96,
    "n_inner": 96,
    "ffn_dim": 96,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "num_hidden_layers": 2,
    "n_layer": 2,
    "num_attention_heads": 4,
    "n_head": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "n_positions": 256,
    "sliding_window": 8,
    "num_local_experts": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "state_size": 8,
    "time_step_rank": 8,
    "use_mambapy": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}


def save_small_config(model_type: str, folder: Path, **entries: Any) -> str:
    """A small configuration of a type in a folder, which is returned."""
    transformers = import_transformers()
    owner = transformers.CONFIG_MAPPING[model_type]
    default = owner()
    sizes = {key: value for key, value in SIZES.items() if hasattr(default, key)}
    owner(**sizes).save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))
    return str(folder)


def save_llama(folder: Path, **entries: Any) -> str:
    """The configuration of a Llama with 8 billion parameters, changed by `entries`."""
    transformers = import_transformers()
    sizes = {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 8192,
    }
    transformers.LlamaConfig(**{**sizes, **entries}).save_pretrained(folder)
    return str(folder)
