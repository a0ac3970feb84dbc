"""Which class a configuration means, and that class built without weights."""

import contextlib
import importlib
import inspect
import warnings
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.models.meta_init import Construct
from costlab.models.providers.torchvision import import_torchvision


def import_transformers() -> Any:
    """transformers, quiet. Raises CostlabError where it is not installed."""
    with contextlib.suppress(CostlabError):
        import_torchvision()  # some of transformers' models import it
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "IProgress not found")  # in a notebook without widgets
            importlib.import_module("tqdm.auto")  # which transformers imports late
            import transformers
    except ModuleNotFoundError:
        raise CostlabError("transformers is not installed: pip install 'costlab[hf]'") from None
    transformers.logging.set_verbosity_error()
    return transformers


def from_config(config: Any, construct: Construct) -> torch.nn.Module:
    """The architecture that a configuration names first, else the bare model of its type, without weights.

    Raises CostlabError if transformers has no such architecture, or cannot build it from this configuration.
    """
    owner = model_class(config)
    without_cache(config)
    try:
        model: torch.nn.Module = construct(lambda: owner._from_config(config))
    except Exception as error:
        raise CostlabError(f"{owner.__name__} cannot be built from this configuration: {one_line(error)}") from error
    return model


def without_cache(config: Any) -> None:
    """Have a network and those inside it make no cache, also where a head's forward does not take `use_cache`."""
    for value in (config, *vars(config).values()):
        if getattr(value, "use_cache", False) is True and hasattr(value, "to_dict"):
            value.use_cache = False


def model_class(config: Any) -> Any:
    """The class of a configuration: `architectures[0]`, else AutoModel's, else the one that takes this configuration.

    Raises CostlabError if there is none.
    """
    transformers = import_transformers()
    name = (getattr(config, "architectures", None) or [None])[0]
    modeling = modeling_classes(type(config))
    if isinstance(name, str):
        owner = modeling.get(name) or getattr(transformers, name, None)
        if not (inspect.isclass(owner) and issubclass(owner, transformers.PreTrainedModel)):
            raise CostlabError(f"transformers {transformers.__version__} has no architecture {name!r}")
        return owner
    mapping = transformers.models.auto.modeling_auto.MODEL_MAPPING
    with contextlib.suppress(ValueError):  # a class that transformers names and does not have
        if type(config) in mapping:
            owner = mapping[type(config)]
            return owner[0] if isinstance(owner, (list, tuple)) else owner
    own = [
        c for c in modeling.values() if c.config_class is type(config) and not c.__name__.endswith("PreTrainedModel")
    ]
    if not own:
        raise CostlabError(f"{config.model_type}: give a configuration whose architectures name a class")
    stem = type(config).__name__.removesuffix("Config")

    def rank(name: str) -> tuple[bool, bool, int, str]:
        """The bare model first, then classes that users can import, then short names."""
        return name not in (stem, f"{stem}Model"), not hasattr(transformers, name), len(name), name

    return min(own, key=lambda c: rank(c.__name__))


def modeling_classes(config_class: type) -> dict[str, Any]:
    """The networks that stand beside a configuration class, by name."""
    transformers = import_transformers()
    package, _, module = config_class.__module__.rpartition(".")
    try:
        modeling = importlib.import_module(f"{package}.{module.replace('configuration_', 'modeling_', 1)}")
    except (ImportError, RuntimeError):
        return {}
    return {
        name: value
        for name, value in vars(modeling).items()
        if inspect.isclass(value) and issubclass(value, transformers.PreTrainedModel)
    }


def one_line(error: BaseException) -> str:
    """The type and the first line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
