"""Measured times as plain data: of a network and its operators, with the machine that ran them. No torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, ClassVar

from costlab.core.graph import InputInfo, Mode
from costlab.core.serialization import jsonable
from costlab.errors import CostlabError
from costlab.formatting import units
from costlab.formatting.facts import title
from costlab.formatting.notebook import ShownInNotebooks
from costlab.measurement.documents import SCHEMA_VERSION, parse, without

if TYPE_CHECKING:
    import networkx as nx

    from costlab.core.profile import Profile

PEAKS = ("peak_activation_bytes", "peak_bytes")
SEPARATE = ("inputs", "whole", "ops", "host", "activity", *PEAKS)  # written in a form of their own
HOST = {"name", "host"}  # all that the entry of an operator has whose device time is unknown
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


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel, copy or fill that ran on the device in one pass."""

    name: str
    op: str | None  # the operator that launched it, as in the profile; None: outside of all, or a compiled network
    stream: int | None
    grid: tuple[int, ...] | None  # blocks; None for a copy
    block: tuple[int, ...] | None  # threads of a block
    seconds: float  # median share of the device's busy time, which all kernels sum to
    fused: tuple[str, ...] = ()  # kinds of the operators that torch.compile fused into it, as its name says


@dataclass(frozen=True)
class DeviceActivity:
    """What a device that works on its own did in one pass."""

    source: str  # of the operators' times: "kernels" of a trace, "graph" or "events"
    busy: Timing | None = field(default=None, repr=False)  # of the whole network: while anything runs on the device
    kernels: tuple[Kernel, ...] = field(default=(), repr=False)  # in order of their start
    unattributed_seconds: float | None = None  # of kernels that no operator launched


@dataclass(frozen=True, slots=True)
class Memory:
    """A peak in bytes."""

    measured: int | None  # None: this device does not tell
    predicted: int


@dataclass(frozen=True)
class Measurement(ShownInNotebooks):
    """The result of `costlab.measure`. Seconds are of one forward pass or training step of the whole batch."""

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
    ops: dict[str, Timing] = field(repr=False)  # by the operator's name in the profile; on a GPU its device time
    left_out: tuple[str, ...]  # operators that are not free but were not timed
    environment: dict[str, EnvironmentValue]
    interrupted: bool = False  # stopped early: fewer repeats than asked for
    host: dict[str, Timing] = field(
        default_factory=dict, repr=False
    )  # on a GPU: until the CPU has launched the operator
    activity: DeviceActivity | None = None  # None on a CPU
    peak_activation_bytes: Memory | None = None  # in one forward pass in eval mode, the inputs included; if each tensor
    # were freed after its last use, which is what is predicted
    mode: Mode = "eval"
    optimizer: str | None = None  # of a training step
    peak_bytes: Memory | None = None  # of everything, parameters included, in a forward pass in eval mode or a step
    page_faults: int | None = None  # of a run on a CPU: pages that the system hands out in it

    @property
    def parts_seconds(self) -> float | None:
        """Sum of the operators' medians; None if none was timed."""
        return sum(timing.median for timing in self.ops.values()) if self.ops else None

    @property
    def overhead_seconds(self) -> float | None:
        """Time of the whole outside its operators: Python, views, gaps between operators."""
        return None if self.parts_seconds is None else self.whole.median - self.parts_seconds

    @property
    def busy_share(self) -> float | None:
        """Share of the whole during which the device works; None if that is unknown."""
        busy = self.activity.busy if self.activity else None
        return None if busy is None or not self.whole.median else min(busy.median / self.whole.median, 1.0)

    def join(self, profile: Profile) -> nx.DiGraph:
        """A copy of the profile's graph with `measured_seconds` on every node; None if it was not timed.

        Raises CostlabError if the profile belongs to another network.
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
            **{key: jsonable(value) for key, value in vars(self).items() if key not in SEPARATE},
            "inputs": [entry._asdict() for entry in self.inputs],
            "parts_seconds": self.parts_seconds,
            "overhead_seconds": self.overhead_seconds,
            "busy_share": self.busy_share,
            "whole": whole,
            "activity": asdict(self.activity) if self.activity else None,
            **{key: asdict(peak) if (peak := getattr(self, key)) else None for key in PEAKS},
        }
        head = "".join(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)},\n" for key, value in document.items())
        ops = ",\n".join(json.dumps(self.entry(name)) for name in {**self.ops, **self.host})
        return "{\n" + head + '"ops": [\n' + ops + "\n]\n}\n"

    def entry(self, name: str) -> dict[str, Any]:
        """The times of an operator as plain data."""
        timing, host = self.ops.get(name), self.host.get(name)
        own = {"median": timing.median, **asdict(timing)} if timing else {}
        return {"name": name, **own, **({"host": {"median": host.median, **asdict(host)}} if host else {})}

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        """Read what `to_json` wrote; derived numbers are computed again. Raises CostlabError for anything else."""
        return parse(cls, text, "a costlab measurement", raw_measurement)

    def __str__(self) -> str:
        """The time of the whole and its spread."""
        spread = f"{units.seconds(self.whole.median)} measured (IQR {units.seconds(self.whole.iqr)})"
        return f"{title(self)}: {spread} on {self.device}, batch {self.batch}, {self.dtype}"


def raw_measurement(document: dict[str, Any]) -> dict[str, Any]:
    """A document without derived numbers, operators by name. Raises ValueError if a name is missing or repeated."""
    document = without(document, "parts_seconds", "overhead_seconds", "busy_share")
    entries = document.get("ops")
    if type(entries) is not list or not all(type(e) is dict and type(e.get("name")) is str for e in entries):
        raise ValueError("ops should be a list of objects with a name")
    ops = {entry["name"]: without(entry, "median", "name", "host") for entry in entries if len(entry.keys() - HOST)}
    host = {entry["name"]: without(entry["host"], "median") for entry in entries if "host" in entry}
    if len({entry["name"] for entry in entries}) < len(entries):
        raise ValueError("ops names an operator twice")
    return {**document, "whole": without(document.get("whole"), "median", "iqr"), "ops": ops, "host": host}
