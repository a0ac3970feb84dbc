"""transformers networks from a configuration alone, never from weights."""

from collections.abc import Mapping
from typing import Any

import torch

from costlab.models.meta_init import Construct
from costlab.models.providers.transformers.architecture import from_config, import_transformers
from costlab.models.providers.transformers.configuration import offline, read_config
from costlab.models.providers.transformers.default_inputs import default_inputs
from costlab.tracing.inputs import Inputs

__all__ = ["build", "import_transformers"]


def build(reference: str, arguments: Mapping[str, Any], construct: Construct) -> tuple[torch.nn.Module, Inputs]:
    """The network without weights, and keyword inputs for it; `arguments` override entries of the configuration.

    Raises CostlabError if the configuration does not exist, needs code or files from elsewhere, or cannot be built by
    transformers.
    """
    with offline():
        config = read_config(reference, arguments)
        model = from_config(config, construct)
        return model, default_inputs(model, config)
