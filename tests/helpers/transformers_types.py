"""Every model type of transformers from its default configuration, written as transformers writes it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.models import ModelSpec, profile_of
from costlab.models.providers.transformers import import_transformers

NEVER_READ = 0.02  # of the parameters: above it the state says so


@dataclass(frozen=True)
class TypeOutcome:
    """What came of one type, or of one class of a type."""

    type: str
    network: str = ""
    mult_adds: int = 0
    params: int = 0
    never_read: float = 0.0  # share of the parameters
    uncounted: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    error: str = ""
    refused: str = ""  # why transformers itself cannot build or run it
    counted: int | None = None  # by torch's counter, with transformers alone
    uncounted_because: str = ""  # why torch's counter has no figure
    seconds: float = 0.0
    mebibytes: int = 0


@functools.cache
def exported_classes(model_type: str) -> tuple[str, ...]:
    """The classes that transformers exports for the configurations of a type, by name."""
    from costlab.models.providers.transformers.architecture import modeling_classes

    transformers = import_transformers()
    config_class = transformers.CONFIG_MAPPING[model_type]
    classes = modeling_classes(config_class)
    return tuple(
        name
        for name, owner in sorted(classes.items())
        if owner.config_class is config_class and hasattr(transformers, name) and has_forward(owner)
    )


def has_forward(owner: Any) -> bool:
    """Whether a class is a network, and not the base of others or one that only generates."""
    return owner.forward is not torch.nn.Module.forward


def save_default_config(model_type: str, folder: Path, architecture: str = "") -> str:
    """Have transformers write the default configuration of a type; gives the MODEL that `costlab` takes."""
    config = import_transformers().AutoConfig.for_model(model_type)
    if architecture:
        config.architectures = [architecture]
    target = folder / "-".join(filter(None, (model_type, architecture)))
    config.save_pretrained(target)
    return f"hf:{target}"


def attempt_type(model_type: str, folder: Path, architecture: str = "") -> TypeOutcome:
    """Profile a type, or one of its classes, from its default configuration alone."""
    try:
        target = save_default_config(model_type, folder, architecture)
    except Exception as error:
        return TypeOutcome(model_type, architecture, refused=f"no default configuration: {first_line(error)}")
    try:
        profile = profile_of(ModelSpec(target))
    except CostlabError as error:
        return TypeOutcome(model_type, architecture, error=first_line(error))
    except Exception as error:
        return TypeOutcome(model_type, architecture, error=f"NOT AN ERROR OF COSTLAB: {first_line(error)}")
    return TypeOutcome(
        model_type,
        profile.name.partition(" ")[0],
        profile.mult_adds,
        profile.params,
        profile.total.unused_params / max(profile.params, 1),
        tuple(profile.uncounted),
        tuple(profile.guesses),
        tuple(f"{i.name} {'x'.join(map(str, i.shape))}" for i in profile.trace.inputs),
    )


def alone(model_type: str, architecture: str = "") -> dict[str, Any]:
    """What transformers itself does with the default configuration: `refused`, `counted` or `uncounted_because`."""
    from helpers.transformers_alone import build_error, counted_alone

    from costlab.models.meta_init import weightless
    from costlab.models.providers.transformers.architecture import model_class
    from costlab.models.providers.transformers.default_inputs import default_inputs

    config = import_transformers().AutoConfig.for_model(model_type)
    if architecture:
        config.architectures = [architecture]
    try:
        owner = model_class(config)
    except CostlabError:
        return {"uncounted_because": "it has no class"}
    failed = build_error(owner, config)
    if failed:
        return {"refused": f"transformers cannot build it: {failed}"}
    model = weightless(lambda: owner._from_config(config), fallback=False)
    try:
        inputs = default_inputs(model, config)
    except Exception as error:
        return {"uncounted_because": first_line(error)}
    counted, because = counted_alone(model, inputs)
    return {"counted": counted, "uncounted_because": because}


def first_line(error: BaseException) -> str:
    """The type and first line of an error, without the advice at its end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0].partition("; set the inputs with --input")[0] if lines else type(error).__name__
    return text[:240]
