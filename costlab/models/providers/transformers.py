"""transformers networks from a configuration alone, never from weights."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import socket
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from costlab.core.files import read_text
from costlab.errors import CostlabError
from costlab.models.meta_init import Construct
from costlab.models.providers.torchvision import import_torchvision
from costlab.tracing.inputs import Inputs

LARGEST = 10_000_000  # bytes of a configuration
TOKENS = 128
AUDIO_SAMPLES = 16_000  # one second


def build(reference: str, arguments: Mapping[str, Any], construct: Construct) -> tuple[torch.nn.Module, Inputs]:
    """The network without weights, and keyword inputs for it.

    Args:
        reference: a folder with a config.json, a configuration file, or an id on the hub.
        arguments: override entries of the configuration.
    """
    config = read_config(reference, arguments)
    model = from_config(config, construct)
    return model, Inputs(kwargs=default_inputs(model, config))


def read_config(reference: str, arguments: Mapping[str, Any]) -> Any:
    """The configuration of a reference. Raises CostlabError if it is missing or needs custom code."""
    path = Path(reference)
    if path.is_dir():
        path = path / "config.json"
    if path.exists():
        try:
            raw = json.loads(read_text(path, LARGEST))
        except (ValueError, RecursionError) as error:
            raise CostlabError(f"{path} is not a readable JSON configuration: {error}") from None
        if not isinstance(raw, dict) or not isinstance(raw.get("model_type"), str):
            raise CostlabError(f"{path} is not a transformers configuration: it has no model_type")
    elif reference.endswith(".json") or reference.startswith((".", os.sep)):
        raise CostlabError(f"{reference} does not exist: write hf: and a configuration file, its folder or a hub id")
    else:
        raw = from_hub(reference)
    if has_auto_map(raw):
        raise CostlabError(
            f"{reference} has an auto_map, which runs code of its own; costlab only builds networks of transformers"
        )
    transformers = import_transformers()
    fields = {key: value for key, value in raw.items() if key != "model_type"}
    unknown = [key for key in arguments if key not in fields and not known_field(transformers, raw, key)]
    if unknown:
        raise CostlabError(f"{raw['model_type']} has no configuration entry {unknown[0]!r}")
    try:
        return transformers.AutoConfig.for_model(raw["model_type"], **{**fields, **arguments})
    except Exception as error:
        raise CostlabError(f"transformers rejects the configuration {reference}: {one_line(error)}") from None


def known_field(transformers: Any, raw: Mapping[str, Any], key: str) -> bool:
    """Whether the configurations of a type have an entry."""
    try:
        return hasattr(transformers.AutoConfig.for_model(raw["model_type"]), key)
    except Exception:
        return True


def has_auto_map(value: Any) -> bool:
    """Whether there is an `auto_map` at any depth."""
    if isinstance(value, dict):
        return "auto_map" in value or any(has_auto_map(v) for v in value.values())
    return isinstance(value, list) and any(has_auto_map(v) for v in value)


def from_hub(reference: str) -> dict[str, Any]:
    """The raw configuration from the local cache of the hub, or from the hub."""
    import_transformers()
    import huggingface_hub
    from huggingface_hub import constants

    huggingface_hub.utils.logging.set_verbosity_error()
    offline = constants.HF_HUB_OFFLINE or not reachable(constants.ENDPOINT)
    try:
        path = huggingface_hub.hf_hub_download(reference, "config.json", local_files_only=offline)
        raw = json.loads(read_text(Path(path), LARGEST))
    except Exception as error:
        why = "not in the local cache, and the hub cannot be reached" if offline else one_line(error)
        raise CostlabError(
            f"no configuration for hf:{reference} ({why}); give a folder or file with its config.json"
        ) from None
    if not isinstance(raw, dict) or "model_type" not in raw:
        raise CostlabError(f"hf:{reference} has no model_type in its configuration")
    return raw


def reachable(endpoint: str) -> bool:
    """Whether a connection can be opened: the hub's own client would try for half a minute."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    address = urllib.parse.urlsplit(endpoint)
    try:
        socket.create_connection((address.hostname or "", address.port or 443), timeout=3).close()
    except OSError:
        return False
    return True


def import_transformers() -> Any:
    """transformers. Raises CostlabError if it is not installed."""
    with contextlib.suppress(CostlabError):
        import_torchvision()  # some of transformers' models import it
    try:
        import transformers
    except ModuleNotFoundError:
        raise CostlabError("transformers is not installed: pip install 'costlab[hf]'") from None
    transformers.logging.set_verbosity_error()
    return transformers


def from_config(config: Any, construct: Construct) -> torch.nn.Module:
    """The first architecture of the configuration, else the bare model of its type."""
    transformers = import_transformers()
    name = (getattr(config, "architectures", None) or [None])[0]
    owner = getattr(transformers, name, None) if isinstance(name, str) else None
    if name is not None and owner is None:
        raise CostlabError(f"transformers {transformers.__version__} has no architecture {name!r}")
    try:
        if owner is not None:
            return construct(lambda: owner._from_config(config))
        return construct(lambda: transformers.AutoModel.from_config(config, trust_remote_code=False))
    except Exception as error:
        raise CostlabError(
            f"{name or config.model_type} cannot be built from this configuration: {one_line(error)}"
        ) from error


def default_inputs(model: torch.nn.Module, config: Any) -> dict[str, Any]:
    """Inputs for forward: 128 tokens, an image, a spectrogram or a second of audio."""
    parameters = inspect.signature(model.forward).parameters
    main = getattr(model, "main_input_name", "input_ids")
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    vision = getattr(config, "vision_config", None) or config
    tokens = torch.zeros(1, TOKENS, dtype=torch.long)
    inputs: dict[str, Any] = {}
    if main == "input_ids" or ("input_ids" in parameters and main == "pixel_values" and hasattr(config, "text_config")):
        length = min(TOKENS, getattr(text, "max_position_embeddings", TOKENS) or TOKENS)
        inputs["input_ids"] = tokens[:, :length]
    dual = hasattr(config, "vision_config") and hasattr(config, "text_config")
    if main == "pixel_values" or (dual and "pixel_values" in parameters and contrastive(model)):
        size = getattr(vision, "image_size", 224)
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        channels = getattr(vision, "num_channels", 3)
        shape: tuple[int, ...] = (1, channels, height, width)
        if getattr(config, "num_frames", None):
            shape = (1, config.num_frames, channels, height, width)
        inputs["pixel_values"] = torch.empty(shape, device="meta")
    if main == "input_features":
        bins = getattr(config, "num_mel_bins", 80)
        frames = 2 * getattr(config, "max_source_positions", 512)
        whisper = hasattr(config, "max_source_positions") and config.model_type == "whisper"
        inputs["input_features"] = torch.empty((1, bins, frames) if whisper else (1, frames, bins), device="meta")
    if main == "input_values":
        channels = getattr(config, "audio_channels", None)
        shape = (1, AUDIO_SAMPLES) if channels is None else (1, channels, AUDIO_SAMPLES)
        inputs["input_values"] = torch.empty(shape, device="meta")
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in parameters:
        inputs["decoder_input_ids"] = tokens
    if "use_cache" in parameters:
        inputs["use_cache"] = False
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return {
        key: value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for key, value in inputs.items()
    }


def contrastive(model: torch.nn.Module) -> bool:
    """Whether both towers run on one call, as in CLIP; a generative model takes images only beside special tokens."""
    return hasattr(model, "logit_scale") or hasattr(model, "text_projection")


def one_line(error: BaseException) -> str:
    """The type of an error and the first line of its message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
