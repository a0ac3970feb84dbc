"""Build the network that a MODEL names, without weights, and inputs for it."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costlab.errors import CostlabError
from costlab.models.resolve import LISTED, Resolved, provider_module, resolve
from costlab.models.spec import ModelSpec
from costlab.tracing.inputs import Inputs

if TYPE_CHECKING:
    import torch

    from costlab.models.meta_init import Construct


@dataclass(frozen=True)
class Loaded:
    """A network, inputs for it, and where it came from."""

    model: torch.nn.Module
    inputs: Inputs
    name: str
    provider: str
    arguments: dict[str, Any]  # of the factory

    @property
    def origin(self) -> dict[str, Any]:
        """Name, provider and arguments, as `profile` and `measure` take them."""
        return {"name": self.name, "provider": self.provider, "arguments": self.arguments}


def load(target: str, **arguments: Any) -> tuple[torch.nn.Module, Inputs]:
    """A network without weights, and inputs for it: `model, inputs = costlab.load("timm:vit_base_patch16_224")`.

    `profile`, `measure` and the others take both as they are; `inputs.call(model)` runs the network.

    Args:
        target: a MODEL of the command line.
        arguments: keyword arguments of the factory.

    Raises:
        CostlabError: unknown network, or it cannot be built.
    """
    loaded = load_model(ModelSpec(target, arguments))
    return loaded.model, loaded.inputs


def load_model(spec: ModelSpec, *, weights: bool = False) -> Loaded:
    """The network of a specification with its inputs; with `weights` the values that its constructor gives them.

    Raises CostlabError if the network is unknown or cannot be built.
    """
    from costlab.models.inputs import adjusted, dtype_of, parse
    from costlab.models.meta_init import plain, weightless
    from costlab.tracing.global_state import global_state_restored

    with global_state_restored():
        silence_libraries()
        resolved = resolve(spec.target)
        without_weights = partial(weightless, fallback=resolved.provider != "hf")
        loaded = build(resolved, dict(spec.arguments), plain if weights else without_weights)
    inputs = loaded.inputs
    if spec.inputs:
        inputs = parse(spec.inputs, inputs)
    dtype = dtype_of(spec.dtype) if spec.dtype else None
    if dtype is not None and not dtype.is_floating_point:
        raise CostlabError(
            f"--dtype {spec.dtype} is not a floating-point type: choose float32, float16, bfloat16 or float64"
        )
    model = loaded.model if dtype is None else loaded.model.to(dtype)
    inputs = adjusted(inputs, spec.batch, spec.resolution, dtype)
    if spec.mode == "step" and loaded.provider == "hf" and "loss" not in spec.training:
        from costlab.models.providers.transformers.labels import with_labels

        inputs = with_labels(model, inputs)
    return replace(loaded, model=model, inputs=inputs)


def silence_libraries() -> None:
    """Keep warnings and log messages off the terminal, until the global state is restored."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)


def build(resolved: Resolved, arguments: dict[str, Any], construct: Construct) -> Loaded:
    """Have a provider build its network, with the default inputs.

    Raises CostlabError if the network cannot be built.
    """
    provider, name = resolved
    module = provider_module(provider)
    if provider == "pt2":
        if not Path(name).is_file():
            raise CostlabError(f"{name} does not exist")
        if arguments:
            raise CostlabError(f"{name} is an exported program: it takes no -a {next(iter(arguments))}")
        from costlab.models.meta_init import plain

        model, inputs = module.build(Path(name), weights=construct is plain)
        return Loaded(model, inputs, Path(name).name, provider, {})
    try:
        model, inputs = module.build(name, arguments, construct)
    except CostlabError:
        raise
    except Exception as error:
        if provider not in LISTED:
            raise
        what = str(error).strip().splitlines() or [type(error).__name__]
        given = " ".join(f"-a {key}={value}" for key, value in arguments.items())
        raise CostlabError(
            f"{provider}:{name} cannot be built{' with ' + given if given else ''}: {what[0][:300]}"
        ) from error
    if provider == "hf":
        name = f"{type(model).__name__} ({model.config.model_type})"
    return Loaded(model, inputs, name.rpartition(":")[2] if provider == "python" else name, provider, arguments)
