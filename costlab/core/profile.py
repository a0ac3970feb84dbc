"""A profile: a traced network with the cost of every operator, added up by module, by kind and in total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.core.cost import Cost, total
from costlab.core.graph import ITEM_BYTES, Op, Source, Tensor, Trace
from costlab.errors import CostlabError

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

COST_KEYS = tuple(f.name for f in fields(Cost))


@dataclass(frozen=True, slots=True)
class Total(Cost):
    """The cost of the whole network."""

    unused_params: int = 0  # elements of parameters that no operator reads, part of `params`
    peak_activation_bytes: int = 0  # largest sum of live storages in execution order


@dataclass(frozen=True, slots=True)
class Row(Cost):
    """The cost of some operators together: of a module, or of a kind."""

    name: str = ""  # module path or kind
    type: str = ""  # class of the module
    source: Source | None = None
    output_shape: tuple[int, ...] | None = None
    ops: int = 0  # operators that are not free
    unused_params: int = 0


@dataclass(frozen=True)
class Profile:
    """The cost of one forward pass, operator by operator. Prints nothing; holds plain data; never changes."""

    name: str
    provider: str  # "zoo", "torchvision", "python", ...
    arguments: Mapping[str, Any]
    trace: Trace = field(repr=False)
    costs: tuple[Cost | None, ...] = field(repr=False)  # beside trace.ops; None where no rule knows the kind
    torch: str  # versions that traced it
    costlab: str

    @property
    def ops(self) -> tuple[Op, ...]:
        return self.trace.ops

    @property
    def mode(self) -> str:
        return self.trace.mode

    @cached_property
    def total(self) -> Total:
        """The sum of all operators, with the parameters that none of them reads."""
        cost = total(c for c in self.costs if c is not None)
        unused = sum(m.unused_params for m in self.trace.modules)
        uncounted = [op for op, cost in zip(self.ops, self.costs, strict=True) if cost is None]
        sums = {key: getattr(cost, key) for key in COST_KEYS}
        sums["params"] += unused + sum(op.params for op in uncounted)
        sums["param_bytes"] += sum(m.unused_param_bytes for m in self.trace.modules)
        sums["param_bytes"] += sum(op.param_bytes for op in uncounted)
        return Total(**sums, unused_params=unused, peak_activation_bytes=peak_activation_bytes(self.trace))

    @property
    def params(self) -> int:
        """Elements of the distinct parameters."""
        return self.total.params

    @property
    def mult_adds(self) -> int:
        """Multiply-accumulates of all contractions."""
        return self.total.mult_adds

    @cached_property
    def uncounted(self) -> dict[str, int]:
        """How many operators of which kind no rule knows. Totals leave them out."""
        return dict(Counter(op.kind for op, cost in zip(self.ops, self.costs, strict=True) if cost is None))

    @cached_property
    def estimated(self) -> dict[str, int]:
        """How many operators of which kind rest on a guessed size."""
        return dict(Counter(op.kind for op in self.ops if op.estimated))

    @cached_property
    def guesses(self) -> dict[str, int]:
        """How many operators of which kind had to guess: those that made the total an estimate."""
        guessed = (op for op in self.ops if op.estimated and not any(self.ops[i].estimated for i in op.after))
        return dict(Counter(op.kind for op in guessed))

    @cached_property
    def graph(self) -> nx.DiGraph:
        """The operators as a DAG: nodes in execution order, flat plain data on each; edges follow tensors."""
        import networkx as nx

        graph = nx.DiGraph(name=self.name)
        for op, cost in zip(self.ops, self.costs, strict=True):
            graph.add_node(op.name, **node(op, cost))
        graph.add_edges_from(self.edges())
        return graph

    @cached_property
    def derived(self) -> dict[Any, Any]:
        """What others work out of this profile and keep with it, by keys of their own."""
        return {}

    def edges(self) -> list[tuple[str, str]]:
        """Pairs of operator names: the second reads what the first wrote."""
        ops = self.ops
        return [(ops[i].name, op.name) for op in ops for i in op.after]

    def by_module(self, depth: int | None = None) -> dict[str, Row]:
        """Rows by module path, cut to `depth` names; without depth every module for itself. Rows sum to the total."""
        if depth is not None and depth < 0:
            raise CostlabError(f"depth is a number of path components, 0 or more; {depth} is not")
        infos = {m.path: m for m in self.trace.modules}
        rows: dict[str, list[int]] = {cut(m.path, depth): [] for m in self.trace.modules}
        for position, op in enumerate(self.ops):
            rows.setdefault(cut(op.module, depth), []).append(position)
        unused: Counter[str] = Counter()
        unused_bytes: Counter[str] = Counter()
        for module in self.trace.modules:
            unused[cut(module.path, depth)] += module.unused_params
            unused_bytes[cut(module.path, depth)] += module.unused_param_bytes
        result = {}
        for path, positions in rows.items():
            info = infos.get(path)
            about = {"type": info.type, "source": info.source, "output_shape": info.output_shape} if info else {}
            result[path] = self._row(path, positions, unused[path], unused_bytes[path], **about)
        return result

    def by_kind(self) -> dict[str, Row]:
        """Rows by operator kind, dearest in mult-adds first; unread parameters have no kind and are left out."""
        groups: dict[str, list[int]] = {}
        for position, op in enumerate(self.ops):
            if not op.free:
                groups.setdefault(op.kind, []).append(position)
        rows = [self._row(kind, positions) for kind, positions in groups.items()]
        rows.sort(key=lambda row: (-row.mult_adds, -row.memory_access))
        return {row.name: row for row in rows}

    def _row(self, name: str, positions: list[int], unused: int = 0, unused_bytes: int = 0, **about: Any) -> Row:
        known = [(self.ops[p], self.costs[p]) for p in positions]
        cost = total(c for _, c in known if c is not None)
        sums = {key: getattr(cost, key) for key in COST_KEYS}
        sums["params"] += unused + sum(op.params for op, c in known if c is None)
        sums["param_bytes"] += unused_bytes + sum(op.param_bytes for op, c in known if c is None)
        return Row(**sums, name=name, ops=sum(not op.free for op, _ in known), unused_params=unused, **about)

    def fused(self, fusion: str) -> Profile:
        """The profile with operators joined that would run as one: "none", "bn" or "pointwise"."""
        from costlab.core.fusion import fused

        return fused(self, fusion)

    def to_pandas(self) -> pd.DataFrame:
        """One row an operator, the columns those of the graph's nodes."""
        try:
            import pandas as pd
        except ImportError:
            raise CostlabError("to_pandas needs pandas: pip install pandas") from None
        return pd.DataFrame(
            [{"name": op.name, **node(op, cost)} for op, cost in zip(self.ops, self.costs, strict=True)]
        )

    def to_json(self) -> str:
        """The profile as a JSON document (schema version 1); `Profile.from_json` reads it back without loss."""
        from costlab.core.serialization import to_json

        return to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Profile:
        """Read what `to_json` wrote. Raises CostlabError where it is anything else."""
        from costlab.core.serialization import from_json

        return from_json(text)

    def _repr_html_(self) -> str:
        from costlab.formatting.notebook import html_repr

        return html_repr(self)


def node(op: Op, cost: Cost | None) -> dict[str, Any]:
    """One operator as flat plain data; costs that are not known are None, parameters always are."""
    costs = {key: getattr(cost, key) if cost else None for key in COST_KEYS}
    return {
        "kind": op.kind,
        "module": op.module,
        **costs,
        "params": op.params,
        "param_bytes": op.param_bytes,
        "bytes_accessed": cost.bytes_accessed if cost else None,
        "arithmetic_intensity": cost.arithmetic_intensity if cost else None,
        "free": op.free,
        "estimated": op.estimated,
        "inputs": [tensor_data(t) for t in op.inputs],
        "outputs": [tensor_data(t) for t in op.outputs],
        "attrs": dict(op.attrs),
        "source": op.source._asdict() if op.source else None,
    }


def tensor_data(tensor: Tensor) -> dict[str, Any]:
    return {**tensor._asdict(), "shape": list(tensor.shape)}


def cut(path: str, depth: int | None) -> str:
    """The first `depth` names of a module path."""
    return path if depth is None else ".".join(path.split(".")[:depth])


def peak_activation_bytes(trace: Trace) -> int:
    """The largest sum of live storages in execution order."""
    return max(live_activation_bytes(trace), default=0)


class Life(NamedTuple):
    """A storage from the operator that makes it to the last one that needs it."""

    first: int  # position of an operator; -1 where the model was handed it
    last: int
    bytes: int
    shape: tuple[int, ...]
    maker: Op | None


def lives_of(trace: Trace) -> list[Life]:
    """Every storage of activations, in the order in which they appear.

    A storage lives from the operator that makes it (an input: from the start) to the last operator that touches it or
    a view of it; what the model returns lives to the end. Parameters, buffers and workspace are left out.
    """
    born: dict[int, Life] = {}
    last: dict[int, int] = {}
    left_out = set()
    for position, op in enumerate(trace.ops):
        for tensor, maker in (*((t, None) for t in op.inputs), *((t, op) for t in op.outputs)):
            storage = tensor.storage
            if tensor.role in ("parameter", "buffer", "constant"):
                left_out.add(storage)
            if storage not in born:
                held = tensor.elements * ITEM_BYTES[tensor.dtype]
                born[storage] = Life(position if maker else -1, position, held, tensor.shape, maker)
            last[storage] = position
    last.update((storage, len(trace.ops) - 1) for storage in trace.outputs)
    return [life._replace(last=last[storage]) for storage, life in born.items() if storage not in left_out]


def live_activation_bytes(trace: Trace) -> list[int]:
    """The sum of live storages at every operator."""
    change = [0] * (len(trace.ops) + 1)
    for life in lives_of(trace):
        change[max(life.first, 0)] += life.bytes
        change[life.last + 1] -= life.bytes
    return list(accumulate(change[:-1]))
