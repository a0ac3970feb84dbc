"""Measured times as plain data: of a network and its operators, with the machine that ran them. No torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, ClassVar

from costlab.core.graph import InputInfo
from costlab.core.serialization import jsonable
from costlab.errors import CostlabError
from costlab.formatting.notebook import html_repr
from costlab.measurement.documents import SCHEMA_VERSION, parse, without

if TYPE_CHECKING:
    import networkx as nx

    from costlab.core.profile import Profile

EnvironmentValue = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Timing:
    """Repeated times of the same thing."""

    seconds: tuple[float, ...]  # raw: of one run, for each repeat
    number: int = 1  # runs that each of `seconds` is the mean of

    def __post_init__(self) -> None:
        if not self.seconds or min(self.seconds) < 0 or self.number < 1:
            raise ValueError("a timing needs at least one repeat, of 0 seconds or more")

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def iqr(self) -> float:
        """Interquartile range; 0 for a single repeat."""
        if len(self.seconds) == 1:
            return 0.0
        low, _, high = quantiles(self.seconds, n=4, method="inclusive")
        return high - low


@dataclass(frozen=True)
class Measurement:
    """The result of `costlab.measure`. Seconds are of one forward pass of the whole batch."""

    __pydantic_config__: ClassVar = {"allow_inf_nan": False, "extra": "forbid"}

    name: str
    provider: str  # "zoo", "torchvision", "python", ...
    arguments: dict[str, Any]
    device: str  # "cpu", "cuda:0"
    dtype: str  # of the weights: "float32"
    amp: bool
    channels_last: bool
    compiled: bool
    threads: int
    batch: int
    inputs: tuple[InputInfo, ...]
    whole: Timing = field(repr=False)
    ops: dict[str, Timing] = field(repr=False)  # by the operator's name in the profile
    left_out: tuple[str, ...]  # operators that are not free but were not timed
    environment: dict[str, EnvironmentValue]
    interrupted: bool = False  # stopped early: fewer repeats than asked for

    @property
    def parts_seconds(self) -> float | None:
        """Sum of the operators' medians; None if none was timed."""
        return sum(timing.median for timing in self.ops.values()) if self.ops else None

    @property
    def overhead_seconds(self) -> float | None:
        """Time of the whole outside its operators: Python, views, gaps between operators."""
        return None if self.parts_seconds is None else self.whole.median - self.parts_seconds

    def join(self, profile: Profile) -> nx.DiGraph:
        """A copy of the profile's graph with `measured_seconds` on every node; None if it was not timed.

        Raises:
            CostlabError: the profile belongs to another network.
        """
        graph = profile.graph.copy()
        if self.ops and not self.ops.keys() & set(graph):
            raise CostlabError(f"the measurement of {self.name} belongs to another network than {profile.name}")
        for name, node in graph.nodes.items():
            node["measured_seconds"] = self.ops[name].median if name in self.ops else None
        return graph

    def to_json(self) -> str:
        """A JSON document (schema version 1) with every raw time."""
        whole = {"median": self.whole.median, "iqr": self.whole.iqr, **asdict(self.whole)}
        document = {
            "schema_version": SCHEMA_VERSION,
            **{key: jsonable(value) for key, value in vars(self).items() if key not in ("inputs", "whole", "ops")},
            "inputs": [entry._asdict() for entry in self.inputs],
            "parts_seconds": self.parts_seconds,
            "overhead_seconds": self.overhead_seconds,
            "whole": whole,
        }
        head = "".join(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)},\n" for key, value in document.items())
        ops = ",\n".join(
            json.dumps({"name": name, "median": timing.median, **asdict(timing)}) for name, timing in self.ops.items()
        )
        return "{\n" + head + '"ops": [\n' + ops + "\n]\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        """Read what `to_json` wrote; derived numbers are computed again. Raises CostlabError for anything else."""
        return parse(cls, text, "a costlab measurement", raw_measurement)

    def _repr_html_(self) -> str:
        return html_repr(self)


def raw_measurement(document: dict[str, Any]) -> dict[str, Any]:
    """A document without derived numbers, operators by name. Raises ValueError if a name is missing or repeated."""
    document = without(document, "parts_seconds", "overhead_seconds")
    entries = document.get("ops")
    if type(entries) is not list or not all(type(e) is dict and type(e.get("name")) is str for e in entries):
        raise ValueError("ops should be a list of objects with a name")
    ops = {entry["name"]: without(entry, "median", "iqr", "name") for entry in entries}
    if len(ops) < len(entries):
        raise ValueError("ops names an operator twice")
    return {**document, "whole": without(document.get("whole"), "median", "iqr"), "ops": ops}
