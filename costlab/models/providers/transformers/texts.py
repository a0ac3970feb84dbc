"""Tokens that a network takes."""

from __future__ import annotations

import torch

from costlab.models.providers.transformers.context import Context

TOKENS = 128


def tokens(context: Context) -> torch.Tensor:
    """[1, 128] tokens, or as many as the network has positions for."""
    text = getattr(context.config, "text_encoder", None) or context.config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None) or TOKENS
    return torch.zeros(1, min(TOKENS, positions) if positions > 0 else TOKENS, dtype=torch.long)
