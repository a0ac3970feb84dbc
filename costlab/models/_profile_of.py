"""The profile of whatever a MODEL names: read, taken from the cache, or traced."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from costlab.core.cost import RULES, Rule
from costlab.core.files import read_profile
from costlab.core.profile import Profile
from costlab.errors import CostlabError, ForwardError
from costlab.models import cache
from costlab.models.resolve import is_listed
from costlab.models.spec import ModelSpec


def profile_of(spec: ModelSpec, *, rules: Mapping[str, Rule] = RULES, cached: bool = False) -> Profile:
    """The profile of a specification; a saved one is read without torch.

    `cached`: look in the user's cache first, and keep the profile there, if a provider lists the network by name.
    Raises CostlabError if the network is unknown, cannot be built, or its forward fails on the inputs.
    """
    if spec.is_saved_profile:
        if spec.is_changed:
            raise CostlabError(
                f"{spec.target} is a saved profile: it cannot be traced again with other inputs or arguments"
            )
        return read_profile(Path(spec.target))
    if not (cached and rules is RULES and is_listed(spec.target)):
        return traced(spec, rules)
    key = cache.key_of(spec)
    profile = cache.read(key)
    if profile is None:
        profile = traced(spec, rules)
        cache.keep(key, profile)
    return profile


def training_options(spec: ModelSpec) -> dict[str, Any]:
    """The options of a training step, with the loss that is named.

    Raises CostlabError if an option is unknown or wrong, or the loss is not a function.
    """
    from costlab.models.providers.user_code import find_factory
    from costlab.tracing.step.options import check_options

    options = dict(spec.training)
    check_options(options)
    if "loss" in options:
        name = str(options["loss"])
        if not all(name.rpartition(":")):
            raise CostlabError(f"loss {name!r} names no function: write FILE.py:NAME")
        options["loss"] = find_factory(name)
        if not callable(options["loss"]):
            kind = type(options["loss"]).__name__
            raise CostlabError(f"{name} is no function but of type {kind}; a loss is a function of the outputs")
    return options


def traced(spec: ModelSpec, rules: Mapping[str, Rule]) -> Profile:
    """Load a network and trace it. Warnings and log messages, which may quote the file, stay off the terminal."""
    from costlab.models._load import load_model, silence_libraries
    from costlab.tracing._profile import profile
    from costlab.tracing.answers import MAX_ITERATIONS
    from costlab.tracing.global_state import global_state_restored

    loaded = load_model(spec)
    try:
        with global_state_restored():
            silence_libraries()
            return profile(
                loaded.model,
                loaded.inputs,
                mode=spec.mode,
                **training_options(spec),
                max_iterations=MAX_ITERATIONS if spec.max_iterations is None else spec.max_iterations,
                rules=rules,
                **loaded.origin,
            )
    except ForwardError as error:
        if not isinstance(error.__cause__, Exception) or not str(error).startswith("forward"):
            raise  # SystemExit and the like, or the backward pass: no input would help
        raise CostlabError(f"{error}; set the inputs with --input (repeatable)") from error
