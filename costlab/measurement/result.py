"""Measured times as plain data: of a whole network and of its operators, with where they were taken. No torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, ClassVar

from costlab.core.graph import InputInfo
from costlab.core.serialization import jsonable
from costlab.errors import CostlabError

if TYPE_CHECKING:
    import networkx as nx

    from costlab.core.profile import Profile

SCHEMA_VERSION = 1
Fact = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Timing:
    """How long something took, again and again."""

    seconds: tuple[float, ...]  # of one run, for each repeat; raw
    number: int = 1  # runs that each of them is the mean of

    def __post_init__(self) -> None:
        if not self.seconds or min(self.seconds) < 0 or self.number < 1:
            raise ValueError("a timing has at least one repeat, of no less than 0 seconds")

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def iqr(self) -> float:
        """The distance between the quartiles; 0 for a single repeat."""
        if len(self.seconds) == 1:
            return 0.0
        low, _, high = quantiles(self.seconds, n=4, method="inclusive")
        return high - low


@dataclass(frozen=True)
class Measurement:
    """What `costlab.measure` found. Seconds are of one forward pass of the whole batch."""

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
    left_out: tuple[str, ...]  # operators of the profile that are not free and have no time
    environment: dict[str, Fact]
    interrupted: bool = False  # fewer repeats than were asked for

    @property
    def parts_seconds(self) -> float | None:
        """The medians of all operators together; None where none was timed."""
        return sum(timing.median for timing in self.ops.values()) if self.ops else None

    @property
    def overhead_seconds(self) -> float | None:
        """The whole less its parts: Python, views, and whatever else lies between operators."""
        return None if self.parts_seconds is None else self.whole.median - self.parts_seconds

    def join(self, profile: Profile) -> nx.DiGraph:
        """A copy of the profile's graph with `measured_seconds` on every node; None where an operator has no time.

        Raises:
            CostlabError: the profile is of another network.
        """
        graph = profile.graph.copy()
        if self.ops and not self.ops.keys() & set(graph):
            raise CostlabError(f"the measurement of {self.name} has no operator of {profile.name}: another network")
        for name, node in graph.nodes.items():
            node["measured_seconds"] = self.ops[name].median if name in self.ops else None
        return graph

    def to_json(self) -> str:
        """A JSON document (schema version 1) that holds every raw time."""
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
        """Read what `to_json` wrote; derived numbers are derived again. Raises CostlabError for anything else."""
        from pydantic import TypeAdapter, ValidationError

        try:
            document = json.loads(text)
            if type(document) is not dict or document.get("schema_version") != SCHEMA_VERSION:
                raise ValueError(f"it has no schema_version {SCHEMA_VERSION}")
            for derived in ("schema_version", "parts_seconds", "overhead_seconds"):
                document.pop(derived, None)
            document["whole"] = raw(document.get("whole"))
            document["ops"] = by_name(document.get("ops"))
            return TypeAdapter(cls).validate_json(json.dumps(document), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the document"
            raise CostlabError(f"not a costlab measurement: {where}: {first['msg']}") from None
        except json.JSONDecodeError as error:
            raise CostlabError(
                f"not a costlab measurement: no valid JSON in line {error.lineno}: {error.msg}"
            ) from None
        except (ValueError, RecursionError) as error:
            what = str(error) if isinstance(error, ValueError) else "lists nest too deep"
            raise CostlabError(f"not a costlab measurement: {what[:200]}") from None

    def _repr_html_(self) -> str:
        from costlab.formatting.notebook import html_repr

        return html_repr(self)


def raw(entry: Any) -> Any:
    """A timing without the numbers that follow from its seconds."""
    return {k: v for k, v in entry.items() if k not in ("median", "iqr", "name")} if type(entry) is dict else entry


def by_name(entries: Any) -> dict[str, Any]:
    """The list of operators as a mapping; ValueError where a name is missing or stands twice."""
    if type(entries) is not list or not all(type(e) is dict and type(e.get("name")) is str for e in entries):
        raise ValueError("ops should be a list of objects that have a name")
    timings = {entry["name"]: raw(entry) for entry in entries}
    if len(timings) < len(entries):
        raise ValueError("an operator stands twice in ops")
    return timings
