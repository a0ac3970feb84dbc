"""Configurations of transformers, read as data: no code, no weights, no network except for a hub id."""

import json
import os
import socket
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from costlab.core.files import read_text
from costlab.errors import CostlabError
from costlab.models.providers.transformers.architecture import import_transformers, one_line

LARGEST_FILE = 10_000_000  # bytes; a configuration has some thousand
LARGEST_ENTRY = (
    1 << 24
)  # of a number of labels, tokens, channels or positions: the largest published ones have 10 million
MOST_LAYERS = 1 << 10  # each is built: the deepest published networks have some 200
STAGES = ("depths", "num_blocks", "num_layers")  # ends of entries that list the layers of each stage
LAYERS = (*STAGES, "_layers", "n_layer", "depth")  # of those that count layers
IN_LIBRARY = ("eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3")


def read_config(reference: str, arguments: Mapping[str, Any]) -> Any:
    """The configuration as transformers understands it.

    Raises CostlabError if it cannot be read, it asks for code to be run or downloaded, or transformers rejects it.
    """
    raw = raw_config(reference)
    if contains_key(raw, "auto_map"):
        raise CostlabError(
            f"{reference} has an auto_map, code of its own to run; costlab only builds from transformers"
        )
    transformers = import_transformers()
    kind = raw["model_type"]
    if kind not in transformers.CONFIG_MAPPING:
        raise CostlabError(f"transformers {transformers.__version__} has no model type {kind!r}")
    unknown = [key for key in arguments if key not in raw and not is_entry(transformers, kind, key)]
    if unknown:
        raise CostlabError(f"{kind} has no configuration entry {unknown[0]!r}")
    entries = {**raw, **arguments}
    check_entries(reference, entries)
    owner = transformers.CONFIG_MAPPING[kind]
    try:
        return owner.from_dict(owner._decode_special_floats(entries))
    except Exception as error:
        raise CostlabError(f"transformers rejects the configuration {reference}: {one_line(error)}") from None


def raw_config(reference: str) -> dict[str, Any]:
    """The JSON object of a file, of a folder's config.json, or of a hub id."""
    path = Path(reference)
    if path.is_dir():
        path = path / "config.json"
    if path.exists():
        try:
            raw = json.loads(read_text(path, LARGEST_FILE))
        except (ValueError, RecursionError) as error:
            raise CostlabError(f"{path} is not a readable JSON configuration: {error}") from None
        if not isinstance(raw, dict) or not isinstance(raw.get("model_type"), str):
            raise CostlabError(f"{path} is not a transformers configuration: it has no model_type")
        return raw
    if reference.endswith(".json") or reference.startswith((".", os.sep)):
        raise CostlabError(f"{reference} does not exist: hf: takes a configuration file, its folder, or a hub id")
    return from_hub(reference)


def check_entries(reference: str, entries: Mapping[str, Any]) -> None:
    """Refuse what would download a kernel, and sizes that no network has.

    Raises CostlabError if an entry names an attention kernel outside transformers, or is an absurd number.
    """
    stack: list[tuple[str, Any]] = list(entries.items())
    while stack:
        key, value = stack.pop()
        name = key.rpartition(".")[2]
        if name in ("attn_implementation", "_attn_implementation", "experts_implementation"):
            for chosen in value.values() if isinstance(value, dict) else [value]:
                if isinstance(chosen, str) and name != "experts_implementation" and chosen not in IN_LIBRARY:
                    raise CostlabError(f"{reference}: {key} names a kernel outside transformers: use -a {name}=sdpa")
        many = isinstance(value, list)
        numbers = [number for number in (value if many else [value]) if type(number) is int]
        if name.endswith(STAGES if many else LAYERS):
            size, limit = sum(numbers), MOST_LAYERS
        else:
            size, limit = max(numbers, default=0) if is_size(name) else 0, LARGEST_ENTRY
        if size > limit:
            raise CostlabError(f"{reference}: {key} is {size:,}; at most {limit:,} can be built")
        if isinstance(value, dict):
            stack += [(f"{key}.{inner}", member) for inner, member in value.items()]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            stack += [(key, member) for member in value]


def is_size(name: str) -> bool:
    """Whether an entry counts what a network is built of, or the positions in its tables."""
    return name.startswith("num_") or name.endswith(
        ("_size", "_dim", "_channels", "_heads", "_positions", "_position_embeddings", "n_ctx", "context_length")
    )


def is_entry(transformers: Any, kind: str, key: str) -> bool:
    """Whether configurations of a type have an entry by default."""
    try:
        return hasattr(transformers.AutoConfig.for_model(kind), key)
    except Exception:  # a type without a default configuration: its constructor decides
        return True


def contains_key(value: Any, key: str) -> bool:
    """Whether a key occurs anywhere in nested JSON."""
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if key in value:
                return True
            stack += value.values()
        elif isinstance(value, list):
            stack += value
    return False


def from_hub(reference: str) -> dict[str, Any]:
    """The raw configuration from the local cache or the hub."""
    import_transformers()
    import huggingface_hub
    from huggingface_hub import constants

    huggingface_hub.utils.logging.set_verbosity_error()
    local = os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") or not reachable(constants.ENDPOINT)
    try:
        with hub_offline(local):
            path = huggingface_hub.hf_hub_download(reference, "config.json", local_files_only=local)
        raw = json.loads(read_text(Path(path), LARGEST_FILE))
    except Exception as error:
        why = "not in the local cache, and the hub cannot be reached" if local else one_line(error)
        raise CostlabError(
            f"no configuration for hf:{reference} ({why}); give a folder or file with its config.json"
        ) from None
    if not isinstance(raw, dict) or not isinstance(raw.get("model_type"), str):
        raise CostlabError(f"hf:{reference} has no model_type in its configuration")
    return raw


def reachable(endpoint: str) -> bool:
    """Whether a connection can be opened at all: the hub's client would try for half a minute."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    address = urllib.parse.urlsplit(endpoint)
    try:
        socket.create_connection((address.hostname or "", address.port or 443), timeout=3).close()
    except OSError:
        return False
    return True


@contextmanager
def offline() -> Iterator[None]:
    """Nothing that transformers or timm build in the body asks the hub for a file or a kernel."""
    with hub_offline(True):
        yield


@contextmanager
def hub_offline(value: bool) -> Iterator[None]:
    """The hub's client stays on this machine, or may ask the network, in the body."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, value
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
