"""From what a user types to a network without weights and inputs for it: the MODEL grammar and the providers."""

from __future__ import annotations

import difflib
import fnmatch
import functools
import importlib
import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costlab.core import serialization as saving
from costlab.core.cost import RULES, Rule
from costlab.core.profile import Profile
from costlab.errors import CostlabError, ForwardError

if TYPE_CHECKING:
    import torch

NAMED = ("zoo", "torchvision", "timm")  # looked up in this order
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib")


@dataclass(frozen=True)
class Loaded:
    """A network, inputs for it, and where it came from."""

    model: torch.nn.Module
    args: tuple[Any, ...]  # positional inputs of forward
    kwargs: dict[str, Any]  # keyword inputs of forward
    name: str
    provider: str
    arguments: dict[str, Any]  # what the factory was given


def profile_of(
    target: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    inputs: Sequence[str] = (),
    batch: int | None = None,
    resolution: int | None = None,
    dtype: str | None = None,
    train: bool = False,
    rules: Mapping[str, Rule] = RULES,
    cached: bool = False,
) -> Profile:
    """The profile of whatever `target` names; a saved one is read without torch. Raises CostlabError.

    With `cached` that of a network which a provider knows by name is taken from the user's cache, or kept in it.
    """
    if target.endswith(".json") and not target.startswith("hf:"):
        asked = [arguments, inputs, batch, resolution, dtype, train]
        if any(asked):
            raise CostlabError(f"{target} is a saved profile: it cannot be traced again with other inputs or arguments")
        return saving.read(Path(target))
    if cached and rules is RULES and listed(target):
        from costlab.models import cache as caching

        given: dict[str, Any] = {"batch": batch, "resolution": resolution, "dtype": dtype, "train": train}
        key = caching.key_of(target, {"arguments": dict(arguments or {}), "inputs": list(inputs), **given})
        kept = caching.read(key)
        if kept is None:
            kept = profile_of(target, arguments, inputs=inputs, **given)
            caching.keep(key, kept)
        return kept
    from costlab.tracing.profiler import profile

    loaded = load_model(target, arguments, inputs=inputs, batch=batch, resolution=resolution, dtype=dtype)
    try:
        return profile(
            loaded.model,
            list(loaded.args),
            loaded.kwargs,
            train=train,
            rules=rules,
            name=loaded.name,
            provider=loaded.provider,
            arguments=loaded.arguments,
        )
    except ForwardError as error:
        raise CostlabError(f"{error}; --input (repeatable) gives it others") from error


def listed(target: str) -> bool:
    """Whether a target is a name that a provider lists: no file, and no code or configuration of the user's."""
    provider, colon, _ = target.partition(":")
    return provider in NAMED if colon else not target.endswith((".pt2", *PICKLES))


def load_model(
    target: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    inputs: Sequence[str] = (),
    batch: int | None = None,
    resolution: int | None = None,
    dtype: str | None = None,
    weights: bool = False,
) -> Loaded:
    """The network that `target` names, built without weights, with the inputs asked for or the provider's own.

    Args:
        target: a name, `zoo:NAME`, `torchvision:NAME`, `timm:NAME`, `hf:CONFIG`, `module:factory`, `file.py:factory`
            or a `.pt2` file.
        arguments: keyword arguments of the factory.
        inputs: shapes such as `1,3,224,224`, `1,128:int64` or `name=1,128:int64`.
        batch, resolution, dtype: change the inputs; a floating-point dtype changes the network as well.
        weights: build the weights for real, with the values that the network's constructor gives them.

    Raises:
        CostlabError: there is no such network, or it cannot be built.
    """
    from costlab.models import inputs as given
    from costlab.models.meta_init import weights_wanted

    arguments = dict(arguments or {})
    with weights_wanted(weights):
        loaded = resolve(target, arguments)
    if inputs:
        args, kwargs = given.parse(inputs)
        flags = {k: v for k, v in loaded.kwargs.items() if isinstance(v, bool)}
        loaded = Loaded(loaded.model, args, {**flags, **kwargs}, loaded.name, loaded.provider, arguments)
    number = given.dtype_of(dtype) if dtype else None
    model = loaded.model
    if number is not None:
        if not number.is_floating_point:
            raise CostlabError(f"--dtype {dtype} is no floating-point type: float32, float16, bfloat16, float64")
        model = model.to(number)
    args = given.adjusted(loaded.args, batch, resolution, number)
    kwargs = given.adjusted(loaded.kwargs, batch, resolution, number)
    return Loaded(model, args, kwargs, loaded.name, loaded.provider, arguments)


def resolve(target: str, arguments: dict[str, Any]) -> Loaded:
    """Find who provides `target`, and have it built with default inputs."""
    provider, colon, name = target.partition(":")
    if target.endswith(PICKLES):
        raise CostlabError(
            f"{target} is a pickle, which can run any code when opened: give the Python factory (file.py:factory)"
            " or save the network with torch.export.save"
        )
    if target.endswith(".pt2"):
        from costlab.models.providers import exported

        if not Path(target).is_file():
            raise CostlabError(f"{target} does not exist")
        if arguments:
            raise CostlabError(f"{target} is an exported program: it takes no -a {next(iter(arguments))}")
        model, args, kwargs = exported.build(Path(target))
        return Loaded(model, args, kwargs, Path(target).name, "pt2", {})
    if colon and provider == "hf":
        from costlab.models.providers import transformers as hf_models

        model, args, kwargs, label = hf_models.build(name, arguments)
        return Loaded(model, args, kwargs, label, "hf", arguments)
    if colon and provider in NAMED:
        if name not in module_of(provider).names():
            raise CostlabError(f"{provider} has no model {name!r}{nearest(name, list_models(provider))}")
        return named(provider, name, arguments)
    if colon:
        from costlab.models.providers import user_code

        model, args = user_code.build(target, arguments)
        return Loaded(model, args, {}, name, "python", arguments)
    for candidate in NAMED:
        if installed(candidate) and target in module_of(candidate).names():
            return named(candidate, target, arguments)
    missing = [p for p in NAMED if not installed(p)]
    hint = f" (not installed: {', '.join(missing)}; pip install 'costlab[{','.join(missing)}]')" if missing else ""
    raise CostlabError(f"no model {target!r}{nearest(target, list_models())}{hint}; `costlab models` lists them all")


def named(provider: str, name: str, arguments: dict[str, Any]) -> Loaded:
    """A network of a provider that lists its networks by name."""
    try:
        model, args = module_of(provider).build(name, arguments)
    except CostlabError:
        raise
    except Exception as error:
        what = str(error).strip().splitlines() or [type(error).__name__]
        given = " ".join(f"-a {key}={value}" for key, value in arguments.items())
        raise CostlabError(
            f"{provider}:{name} cannot be built{' with ' + given if given else ''}: {what[0][:300]}"
        ) from error
    return Loaded(model, args, {}, name, provider, arguments)


def list_models(provider: str | None = None, pattern: str | None = None) -> dict[str, list[str]]:
    """The names that each installed provider offers, those that hold `pattern` or match it as a glob.

    Raises:
        CostlabError: no such provider, or the one asked for is not installed.
    """
    if provider is not None and provider not in NAMED:
        raise CostlabError(f"no provider {provider!r}; there are {', '.join(NAMED)}")
    chosen = [provider] if provider else [p for p in NAMED if installed(p)]
    glob = pattern if pattern and any(c in pattern for c in "*?[") else f"*{pattern or ''}*"
    return {p: [n for n in module_of(p).names() if fnmatch.fnmatchcase(n, glob)] for p in chosen}


@functools.lru_cache
def takes(target: str, argument: str) -> bool:
    """Whether the factory that `target` names has a parameter of that name. Raises CostlabError where there is none.

    Only costlab's own networks and the user's are looked at: those of libraries have their sizes from the input.
    """
    provider, colon, name = target.rpartition(":")
    if provider in ("", "zoo") and name in module_of("zoo").names():
        factory = module_of("zoo").factory(name)
    elif colon and provider not in (*NAMED, "hf"):
        from costlab.models.providers import user_code

        factory = user_code.found(target)
    else:
        return False
    return callable(factory) and argument in inspect.signature(factory).parameters


def module_of(provider: str) -> Any:
    return importlib.import_module(f"costlab.models.providers.{provider}")


def installed(provider: str) -> bool:
    return provider == "zoo" or importlib.util.find_spec(provider) is not None


def nearest(name: str, models: Mapping[str, list[str]]) -> str:
    """The names closest to a misspelt one, as the end of a sentence."""
    names = dict.fromkeys(n for group in models.values() for n in group)
    close = difflib.get_close_matches(name, names, n=4, cutoff=0.6)
    return f"; nearest: {', '.join(close)}" if close else ""


def load(target: str, **arguments: Any) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    """`model, inputs = costlab.load("timm:vit_base_patch16_224")`: a network without weights, and inputs for it.

    Keyword arguments go to the factory. Inputs that forward takes by keyword are bound to their position.
    """
    loaded = load_model(target, arguments)
    if not loaded.kwargs:
        return loaded.model, loaded.args
    bound = inspect.signature(loaded.model.forward).bind(*loaded.args, **loaded.kwargs)
    bound.apply_defaults()
    return loaded.model, bound.args
