"""Which provider a MODEL belongs to, and the networks that providers list by name."""

import ast
import difflib
import fnmatch
import functools
import importlib
import importlib.util
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from costlab.core.files import read_text
from costlab.errors import CostlabError

LARGEST = 10_000_000  # bytes of a file of Python
LISTED = ("zoo", "torchvision", "timm")  # providers that list their networks, in the order of the search
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib")
FACTORY = "give the Python factory (file.py:factory) or a program of torch.export.save (model.pt2)"
OTHER_FILES = {  # by the end of their name, what they are and what to give instead
    ".safetensors": "holds weights without a network: give hf: with the folder or config.json beside it",
    ".gguf": "holds weights without a network: give hf: with the configuration of the original model",
    ".onnx": f"is an ONNX graph, which costlab does not read: {FACTORY}",
    ".tflite": f"is a TensorFlow Lite graph, which costlab does not read: {FACTORY}",
    ".h5": f"is a Keras file, which costlab does not read: {FACTORY}",
    ".keras": f"is a Keras file, which costlab does not read: {FACTORY}",
    ".torchscript": f"is TorchScript, which can run any code when opened: {FACTORY}",
    ".yaml": f"is YAML, which describes no network that costlab knows: {FACTORY}",
    ".yml": f"is YAML, which describes no network that costlab knows: {FACTORY}",
}
MODULES = {"hf": "transformers", "pt2": "exported", "python": "user_code"}  # those not called after their provider


class Resolved(NamedTuple):
    """A provider, and what the network is called there."""

    provider: str  # "zoo", "torchvision", "timm", "hf", "pt2" or "python"
    name: str


def resolve(target: str) -> Resolved:
    """The provider of a MODEL. Raises CostlabError if no provider has the name, or the file is a pickle."""
    prefix, colon, name = target.partition(":")
    if target.endswith(PICKLES):
        raise CostlabError(
            f"{target} is a pickle, which can run any code when opened: give the Python factory (file.py:factory)"
            " or save the network with torch.export.save"
        )
    for ending, advice in OTHER_FILES.items():
        if not colon and target.lower().endswith(ending):
            raise CostlabError(f"{target} {advice}")
    if target.endswith(".pt2"):
        return Resolved("pt2", target)
    if colon and prefix in LISTED:
        if name not in provider_module(prefix).names():
            raise CostlabError(f"{prefix} has no model {name!r}{nearest(name, list_models(prefix))}")
        return Resolved(prefix, name)
    if colon:
        return Resolved("hf", name) if prefix == "hf" else Resolved("python", target)
    for provider in LISTED:
        if installed(provider) and target in provider_module(provider).names():
            return Resolved(provider, target)
    if target.endswith(".py") and os.path.isfile(target):
        found = [f"{target}:{name}" for name in factories_in(target)]
        raise CostlabError(f"{target} is a file: name the network in it, as {' or '.join(found[:3]) or 'net.py:Net'}")
    if target.endswith(".py"):
        raise CostlabError(f"{target} does not exist")
    if os.path.isdir(target):
        raise CostlabError(f"{target} is a folder: give hf:{target} if it holds a config.json, or a file in it")
    missing = [p for p in LISTED if not installed(p)]
    hint = f" (not installed: {', '.join(missing)}; pip install 'costlab[{','.join(missing)}]')" if missing else ""
    raise CostlabError(f"no model {target!r}{nearest(target, list_models())}{hint}; `costlab models` lists them all")


def factories_in(path: str) -> list[str]:
    """The classes and functions of a file that may make a network, networks first; the file is not run."""
    try:
        statements = ast.parse(read_text(Path(path), LARGEST)).body
    except (SyntaxError, ValueError, RecursionError, CostlabError):
        return []
    classes = [each for each in statements if isinstance(each, ast.ClassDef)]
    networks = [each.name for each in classes if any("Module" in ast.unparse(base) for base in each.bases)]
    return [*reversed(networks), *(each.name for each in statements if isinstance(each, ast.FunctionDef))]


def is_listed(target: str) -> bool:
    """Whether a MODEL is a name that a provider lists, not a file, and not the user's own code or configuration."""
    provider, colon, _ = target.partition(":")
    return provider in LISTED if colon else not target.endswith((".pt2", *PICKLES))


def list_models(provider: str | None = None, pattern: str | None = None) -> dict[str, list[str]]:
    """The names that each installed provider offers: those that contain `pattern`, or match it as a glob.

    Raises CostlabError if a provider is unknown or not installed.
    """
    if provider is not None and provider not in LISTED:
        raise CostlabError(f"no provider {provider!r}; choose from {', '.join(LISTED)}")
    chosen = [provider] if provider else [p for p in LISTED if installed(p)]
    glob = pattern if pattern and any(c in pattern for c in "*?[") else f"*{pattern or ''}*"
    return {p: [n for n in provider_module(p).names() if fnmatch.fnmatchcase(n, glob)] for p in chosen}


@functools.lru_cache
def accepts_argument(target: str, argument: str) -> bool:
    """Whether the factory of a MODEL has a parameter of that name.

    Looks only at costlab's own networks and the user's: networks of libraries take their sizes from the inputs.

    Raises CostlabError for an unknown factory.
    """
    provider, colon, name = target.rpartition(":")
    if provider in ("", "zoo") and name in provider_module("zoo").names():
        factory = provider_module("zoo").factory(name)
    elif colon and provider not in (*LISTED, "hf"):
        factory = provider_module("python").find_factory(target)
    else:
        return False
    return callable(factory) and argument in inspect.signature(factory).parameters


def provider_module(provider: str) -> Any:
    """The module that builds the networks of a provider."""
    return importlib.import_module(f"costlab.models.providers.{MODULES.get(provider, provider)}")


def installed(provider: str) -> bool:
    """Whether the package behind a provider can be imported."""
    return provider == "zoo" or importlib.util.find_spec(provider) is not None


def nearest(name: str, models: Mapping[str, list[str]]) -> str:
    """The names closest to a misspelt one, as the end of a sentence."""
    names = dict.fromkeys(n for group in models.values() for n in group)
    close = difflib.get_close_matches(name, names, n=4, cutoff=0.6)
    return f"; nearest: {', '.join(close)}" if close else ""
