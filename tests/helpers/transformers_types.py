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
    never_ran: str = ""  # modules that no input reached, if they hold more than NEVER_READ, and what was not given
    automatic: bool = False  # AutoModel has a class for the type
    architecture: str = ""  # a class of the type other than AutoModel's
    seconds: float = 0.0  # of the process
    mebibytes: int = 0  # by which its memory rose

    @property
    def state(self) -> str:
        """One line for the table."""
        if self.refused:
            return self.refused
        if self.error:
            return f"fails: {self.error}"
        remarks = [f"uncounted: {', '.join(self.uncounted)}"] if self.uncounted else []
        remarks += [f"estimate: {', '.join(self.guesses)}"] if self.guesses else []
        if self.never_read > NEVER_READ:
            remarks.append(f"{self.never_read:.0%} of the parameters in modules that never ran{self.never_ran}")
        return "; ".join(["profiled", *remarks])


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
    known = {"type": model_type, "architecture": architecture, "automatic": automatic(model_type)}
    try:
        target = save_default_config(model_type, folder, architecture)
    except Exception as error:
        return TypeOutcome(**known, refused=f"transformers has no default configuration: {first_line(error)}")
    try:
        profile = profile_of(ModelSpec(target))
    except CostlabError as error:
        return TypeOutcome(**known, error=first_line(error))
    except Exception as error:
        return TypeOutcome(**known, error=f"not an error of costlab's own: {first_line(error)}")
    paths = [*profile.never_ran]
    named = ", ".join(paths[:2]) + (f" and {len(paths) - 2} more" if len(paths) > 2 else "")
    missed = f"; not given: {profile.inputs_not_given}" if profile.inputs_not_given else ""
    return TypeOutcome(
        **known,
        network=profile.name.partition(" ")[0],
        mult_adds=profile.mult_adds,
        params=profile.params,
        never_read=profile.total.unused_params / max(profile.params, 1),
        uncounted=tuple(profile.uncounted),
        guesses=tuple(profile.guesses),
        inputs=tuple(f"{i.name} {'x'.join(map(str, i.shape))}" for i in profile.trace.inputs),
        never_ran=f": {named}{missed}" if paths else "",
    )


def automatic(model_type: str) -> bool:
    """Whether AutoModel has a class for a type."""
    transformers = import_transformers()
    return transformers.CONFIG_MAPPING[model_type] in transformers.models.auto.modeling_auto.MODEL_MAPPING


def without_costlab(model_type: str, architecture: str = "") -> dict[str, Any]:
    """What transformers itself does with the default configuration: `refused`, `counted` or `uncounted_because`."""
    from helpers.transformers_alone import build_error, counted_alone
    from helpers.transformers_limits import CANNOT_RUN

    from costlab.models.meta_init import weightless
    from costlab.models.providers.transformers.architecture import model_class
    from costlab.models.providers.transformers.default_inputs import default_inputs

    config = import_transformers().AutoConfig.for_model(model_type)
    if architecture:
        config.architectures = [architecture]
    try:
        owner = model_class(config)
    except CostlabError:
        return {"refused": "transformers has no class that takes this configuration"}
    failed = build_error(owner, config)
    if failed:
        return {"refused": f"transformers cannot build it: {failed}"}
    model = weightless(lambda: owner._from_config(config), fallback=False)
    try:
        inputs = default_inputs(model, config)
    except Exception as error:
        return {"uncounted_because": first_line(error)}
    counted, because = counted_alone(model, inputs)
    if counted is None and model_type in CANNOT_RUN:
        return {"refused": f"transformers cannot run it: {CANNOT_RUN[model_type]}"}
    return {"counted": counted, "uncounted_because": because}


def first_line(error: BaseException) -> str:
    """The type and first line of an error, without the advice at its end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0].partition("; set the inputs with --input")[0] if lines else type(error).__name__
    return text[:240]
