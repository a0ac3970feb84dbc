"""A profile: a traced network with the cost of every operator, added up by module, by kind and in total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from costlab.core.cost import COST_KEYS, Cost, total
from costlab.core.fusion import fold_batch_norms, merge_pointwise
from costlab.core.graph import FUSIONS, ModuleInfo, Op, Source, Trace
from costlab.core.memory import eager_activation_bytes, peak_activation_bytes, peak_of_step, saved_bytes
from costlab.core.metrics import METRICS
from costlab.core.serialization import check_totals, op_data, parse_document, profile_fields, to_json
from costlab.errors import CostlabError
from costlab.formatting.facts import title
from costlab.formatting.notebook import ShownInNotebooks
from costlab.formatting.units import times

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd


PRINTED = ("mult_adds", "params", "memory_access", "peak_activation_bytes")


@dataclass(frozen=True, slots=True)
class Total(Cost):
    """The cost of the whole network."""

    unused_params: int = 0  # elements of parameters that no operator reads, part of `params`
    peak_activation_bytes: int = 0  # largest sum of live storages in execution order
    peak_bytes: int | None = None  # the same of everything, parameters and buffers included; None if unknown
    saved_bytes: int | None = None  # kept for the backward pass; this and the next two in mode "step" only
    gradient_bytes: int | None = None  # of all trainable parameters
    optimizer_bytes: int | None = None
    trainable_params: int | None = None  # of `params`, those that require a gradient


@dataclass(frozen=True, slots=True)
class CostRow(Cost):
    """The cost of some operators together: of a module, or of a kind."""

    name: str = ""  # module path or kind
    type: str = ""  # class of the module
    source: Source | None = None
    output_shape: tuple[int, ...] | None = None
    ops: int = 0  # operators that are not free
    unused_params: int = 0
    uncounted: int = 0  # operators without a cost rule, which the sums leave out
    saved_bytes: int | None = None  # kept for the backward pass, in mode "step"
    frozen_params: int = 0  # those of `params` that require no gradient
    calls: int | None = None  # of the module; None if no call was seen

    @property
    def trainable_params(self) -> int:
        """Those of `params` that require a gradient."""
        return self.params - self.frozen_params


class EndedLoop(NamedTuple):
    """A loop that only an unknown value would end."""

    source: Source | None  # the line that asks for the value
    rounds: int  # how often it ran


@dataclass(frozen=True)
class Profile(ShownInNotebooks):
    """The cost of one forward pass or training step, operator by operator: plain data that never changes."""

    name: str
    provider: str  # "zoo", "torchvision", "python", ...
    arguments: Mapping[str, Any]
    trace: Trace = field(repr=False)
    costs: tuple[Cost | None, ...] = field(repr=False)  # one for each of trace.ops; None if no rule knows its kind
    torch: str  # versions that traced it
    costlab: str

    @property
    def ops(self) -> tuple[Op, ...]:
        """The operators, in execution order."""
        return self.trace.ops

    @property
    def mode(self) -> str:
        """ "eval", "train" or "step"."""
        return self.trace.mode

    @cached_property
    def forward(self) -> Profile:
        """The first forward pass of a training step by itself; the profile itself if it is of a forward pass."""
        if self.trace.step is None:
            return self
        count = next((i for i, op in enumerate(self.ops) if op.phase != "forward"), len(self.ops))
        trace = replace(self.trace, ops=self.ops[:count], mode="train", step=None)
        return replace(self, trace=trace, costs=self.costs[:count])

    @cached_property
    def total(self) -> Total:
        """The sum of all operators, and of the parameters that none of them reads."""
        unused = sum(m.unused_params for m in self.trace.modules)
        unused_bytes = sum(m.unused_param_bytes for m in self.trace.modules)
        sums = summed(zip(self.ops, self.costs, strict=True), unused, unused_bytes)
        peak = peak_activation_bytes(self.trace)
        memory = self._memory(sums["params"], sums["param_bytes"])
        return Total(**sums, unused_params=unused, peak_activation_bytes=peak, **memory)

    def _memory(self, params: int, param_bytes: int) -> dict[str, int]:
        """What is known of parameters and memory beyond activations."""
        step = self.trace.step
        if step is not None:
            known = {key: getattr(step, key) for key in ("gradient_bytes", "optimizer_bytes", "trainable_params")}
            return {**known, "saved_bytes": sum(self.saved.values()), "peak_bytes": peak_of_step(self.trace).bytes}
        frozen = sum(op.frozen_params for op in self.ops) + sum(m.unused_frozen_params for m in self.trace.modules)
        known = {"trainable_params": params - frozen}
        buffers = self.trace.buffer_bytes
        if buffers is None:
            return known
        return {**known, "peak_bytes": param_bytes + buffers + eager_activation_bytes(self.trace)}

    @cached_property
    def saved(self) -> dict[int, int]:
        """The bytes that each operator keeps for the backward pass, by its position."""
        return saved_bytes(self.trace)

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
        """The number of operators of each kind without a cost rule; totals leave them out."""
        return dict(Counter(op.kind for op, cost in zip(self.ops, self.costs, strict=True) if cost is None))

    @cached_property
    def estimated(self) -> dict[str, int]:
        """The number of operators of each kind whose size is an estimate."""
        return dict(Counter(op.kind for op in self.ops if op.estimated))

    @cached_property
    def guesses(self) -> dict[str, int]:
        """The number of operators of each kind that had to guess a size: the first estimated ones."""
        guessed = (op for op in self.ops if op.estimated and not any(self.ops[i].estimated for i in op.after))
        return dict(Counter(op.kind for op in guessed))

    @cached_property
    def ended_loops(self) -> tuple[EndedLoop, ...]:
        """Loops whose condition depends on unknown values, which `max_iterations` ended."""
        ended = ((op.source, op.attrs.get("ended_after")) for op in self.ops if op.estimated)
        return tuple(EndedLoop(source, rounds) for source, rounds in ended if rounds is not None)

    @cached_property
    def graph(self) -> nx.DiGraph:
        """The operators as a DAG: nodes in execution order with flat plain data, edges along tensors."""
        import networkx as nx

        graph = nx.DiGraph(name=self.name)
        for op, cost in zip(self.ops, self.costs, strict=True):
            graph.add_node(op.name, **op_data(op, cost))
        graph.add_edges_from(self.edges())
        return graph

    def edges(self) -> list[tuple[str, str]]:
        """Pairs of operator names: the second reads what the first writes."""
        ops = self.ops
        return [(ops[i].name, op.name) for op in ops for i in op.after]

    @cached_property
    def uncalled(self) -> tuple[str, ...]:
        """Paths of the modules that were never called: neither they nor their children ran an operator."""
        ran = {op.module for op in self.ops} | {m.path for m in self.trace.modules if m.output_shape is not None}
        above = {".".join(parts[:n]) for parts in (path.split(".") for path in ran) for n in range(len(parts) + 1)}
        return tuple(m.path for m in self.trace.modules if m.path not in above)

    @cached_property
    def never_ran(self) -> dict[str, int]:
        """The outermost modules that no input reached: path to elements of the parameters in them, if there are any."""
        uncalled, held = set(self.uncalled), Counter[str]()
        for module in self.trace.modules:
            if module.path in uncalled:
                parts = module.path.split(".")
                paths = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
                held[next(path for path in paths if path in uncalled)] += module.unused_params
        return {path: elements for path, elements in held.items() if elements}

    @property
    def inputs_not_given(self) -> str:
        """The inputs that forward was not given: with reasons if a provider left some out, else all."""
        left_out = [f"{name}: {reason}" for name, reason in self.trace.absent.items() if reason]
        return "; ".join(left_out) or ", ".join(self.trace.absent)

    def by_module(self, depth: int | None = None, caller: bool = False) -> dict[str, CostRow]:
        """The cost of each module; the rows sum to the total.

        Args:
            depth: how many names of a module path to keep; deeper modules are added to their parents. None: every
                module has its own row, without its children.
            caller: put a module that is called from outside its parent below its caller instead.

        Raises:
            CostlabError: the depth is negative.
        """
        if depth is not None and depth < 0:
            raise CostlabError(f"depth must be 0 or greater, got {depth}")
        infos = {m.path: m for m in self.trace.modules}
        rows: dict[str, list[int]] = {cut(m.path, depth): [] for m in self.trace.modules}
        for position, op in enumerate(self.ops):
            path = op.attrs.get("caller", op.module) if caller else op.module
            rows.setdefault(cut(path, depth), []).append(position)
        own: dict[str, list[ModuleInfo]] = {}
        for module in self.trace.modules:
            own.setdefault(cut(module.path, depth), []).append(module)
        result = {}
        for path, positions in rows.items():
            info = infos.get(path)
            keys = "type", "source", "output_shape", "calls"
            about = {key: getattr(info, key) for key in keys} if info else {}
            result[path] = self._row(path, positions, own.get(path, ()), **about)
        return result

    def by_kind(self) -> dict[str, CostRow]:
        """The cost of each kind of operator, most mult-adds first; parameters that no operator reads are left out."""
        groups: dict[str, list[int]] = {}
        for position, op in enumerate(self.ops):
            if not op.free:
                groups.setdefault(op.kind, []).append(position)
        rows = [self._row(kind, positions) for kind, positions in groups.items()]
        rows.sort(key=lambda row: (-row.mult_adds, -row.memory_access))
        return {row.name: row for row in rows}

    def _row(self, name: str, positions: list[int], own: Sequence[ModuleInfo] = (), **about: Any) -> CostRow:
        costs = [(self.ops[p], self.costs[p]) for p in positions]
        unused = sum(m.unused_params for m in own)
        sums = summed(costs, unused, sum(m.unused_param_bytes for m in own))
        frozen = sum(op.frozen_params for op, _ in costs) + sum(m.unused_frozen_params for m in own)
        ops, uncounted = sum(not op.free for op, _ in costs), sum(cost is None for _, cost in costs)
        if self.trace.step is not None:
            about["saved_bytes"] = sum(self.saved.get(p, 0) for p in positions)
        about |= {"ops": ops, "unused_params": unused, "uncounted": uncounted, "frozen_params": frozen}
        return CostRow(**sums, name=name, **about)

    def fused(self, fusion: str) -> Profile:
        """The profile with the operators merged that would run as one; worked out once.

        Args:
            fusion: "none" (as traced), "bn" (batch norms folded into convolutions) or "pointwise" (element-wise
                operators merged as well).

        Raises:
            CostlabError: unknown fusion.
        """
        if fusion not in FUSIONS:
            raise CostlabError(f"unknown fusion {fusion!r}; choose one of {', '.join(FUSIONS)}")
        return self if fusion == "none" else self._with_folded_norms if fusion == "bn" else self._with_merged_pointwise

    @cached_property
    def _with_folded_norms(self) -> Profile:
        return fold_batch_norms(self)

    @cached_property
    def _with_merged_pointwise(self) -> Profile:
        return merge_pointwise(self._with_folded_norms)

    def to_pandas(self) -> pd.DataFrame:
        """A data frame with a row for each operator and the columns of the graph's nodes."""
        try:
            import pandas as pd
        except ImportError:
            raise CostlabError("to_pandas needs pandas: pip install pandas") from None
        return pd.DataFrame(
            [{"name": op.name, **op_data(op, cost)} for op, cost in zip(self.ops, self.costs, strict=True)]
        )

    def to_json(self) -> str:
        """The profile as a JSON document (schema version 1); `Profile.from_json` reads it back without loss."""
        return to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Profile:
        """Read what `to_json` wrote.

        Raises:
            CostlabError: the text is anything else, or its totals are not the sums of its operators.
        """
        document = parse_document(text)
        profile = cls(**profile_fields(document))
        check_totals(document, profile.total)
        return profile

    def __str__(self) -> str:
        """The title, the main totals, and what they leave out."""
        totals = ", ".join(f"{METRICS[key].format(getattr(self.total, key))} {METRICS[key].label}" for key in PRINTED)
        left_out = f"; not counted: {times(self.uncounted)}" if self.uncounted else ""
        return f"{title(self)}: {totals}{left_out}"


def cut(path: str, depth: int | None) -> str:
    """The first `depth` names of a module path."""
    return path if depth is None else ".".join(path.split(".")[:depth])


def summed(costs: Iterable[tuple[Op, Cost | None]], unused_params: int, unused_param_bytes: int) -> dict[str, Any]:
    """The sum of some operators' costs and of parameters that no operator reads.

    An operator without a cost rule adds the parameters that it is the first to read.
    """
    pairs = list(costs)
    cost = total(c for _, c in pairs if c is not None)
    sums = {key: getattr(cost, key) for key in COST_KEYS}
    sums["params"] += unused_params + sum(op.params for op, c in pairs if c is None)
    sums["param_bytes"] += unused_param_bytes + sum(op.param_bytes for op, c in pairs if c is None)
    return sums
