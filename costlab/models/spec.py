"""What a user asks for: a network by name, file or factory, and the inputs to give it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from costlab.core.graph import Mode


@dataclass(frozen=True)
class ModelSpec:
    """A network as the command line, the configuration file and a design space name it."""

    target: str  # a MODEL of the command line: "mobilenet_v2", "hf:config.json", "net.py:Net", "profile.json"
    arguments: Mapping[str, Any] = field(default_factory=dict)  # keyword arguments of the factory
    inputs: tuple[str, ...] = ()  # as --input takes them: "1,3,224,224", "ids=1,128:int64"; () for the default inputs
    batch: int | None = None  # None: that of the inputs
    resolution: int | None = None  # height and width of images
    dtype: str | None = None  # floating-point type of network and inputs
    mode: Mode = "eval"
    training: Mapping[str, Any] = field(default_factory=dict)  # options of `costlab.profile`; a loss by its reference
    max_iterations: int | None = None  # of a loop whose condition is unknown; None: the default of `costlab.profile`

    @property
    def is_saved_profile(self) -> bool:
        """Whether the target is a profile that costlab saved."""
        return self.target.endswith(".json") and not self.target.startswith("hf:")

    @property
    def is_changed(self) -> bool:
        """Whether anything other than the target is set."""
        return self != ModelSpec(self.target)
