"""From what a user types to a network without weights and inputs for it: the MODEL grammar and the providers."""

from costlab.models._load import Loaded, load, load_model
from costlab.models._profile_of import profile_of
from costlab.models.resolve import list_models
from costlab.models.spec import ModelSpec

__all__ = ["Loaded", "ModelSpec", "list_models", "load", "load_model", "profile_of"]
