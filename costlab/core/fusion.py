"""Fusion: a profile with the operators merged that would run as one. The result is a profile again.

`none` is the profile as traced. `bn` folds every batch norm with fixed statistics into the convolution before it.
`pointwise` also merges connected element-wise operators. `attrs["fused"]` of a merged operator lists the names of the
traced operators in execution order.

Folding adds a bias to a convolution without one, and removes the scale, the statistics and the traffic of the batch
norm. Parameters are those of the network: the convolution owns those of both.

Mult-adds and parameters stay the same; memory access and the peak of live activations never grow.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from costlab.core.cost import FAMILY_OF, Cost
from costlab.core.gc import gc_paused
from costlab.core.graph import Op, Tensor, Trace
from costlab.core.memory import live_activation_bytes

if TYPE_CHECKING:
    from costlab.core.profile import Profile

GROUP = "element_wise"  # the kind of merged element-wise operators
CONSTANT = ("parameter", "buffer", "constant")
NOT_BY_ELEMENT = ("cdist", "addr", "cross")  # element-wise family, but an output element needs many input elements


@dataclass(frozen=True)
class FusedGroup:
    """Operators merged into one, which runs at the position `host`."""

    members: tuple[int, ...]  # positions, in the order of execution
    host: int
    op: Op  # `after` is set later, by `rebuilt`
    cost: Cost


# Batch norm.


@gc_paused()
def fold_batch_norms(profile: Profile) -> Profile:
    """The profile with every batch norm that has fixed statistics folded into the convolution before it."""
    return rebuilt(profile, folds(profile))


def folds(profile: Profile) -> list[FusedGroup]:
    """Convolutions with the batch norms that can be folded into them.

    The batch norm is the only reader of the convolution's output, the weight is a constant, and the same batch norm
    follows every use of the weight: otherwise folding would copy it.
    """
    ops = profile.ops
    readers: dict[int, list[int]] = {}  # by operator
    users: dict[int, list[int]] = {}  # of parameters and buffers, by storage
    for position, op in enumerate(ops):
        for before in op.after:
            readers.setdefault(before, []).append(position)
        if not op.free:
            for storage in {t.storage for t in op.inputs if t.role in CONSTANT}:
                users.setdefault(storage, []).append(position)
    kept = set(profile.trace.outputs)
    chains: dict[int, list[int]] = {}
    for position, op in enumerate(ops):
        counted = not op.free and op.outputs and profile.costs[position] is not None
        if counted and FAMILY_OF.get(op.kind) == "convolution":
            last = position
            chain: list[int] = []
            while len(following := readers.get(last, [])) == 1 and ops[last].output.storage not in kept:
                if not foldable(ops[following[0]], ops[last], last) or profile.costs[following[0]] is None:
                    break
                last = following[0]
                chain.append(last)
            if chain:
                chains[position] = chain
    result = []
    agreed: dict[int, bool] = {}  # by weight, whether the same norms follow wherever it is used
    for position, chain in chains.items():
        weight = ops[position].find("weight")
        if weight is None or weight.role not in CONSTANT:
            continue
        if weight.storage not in agreed:
            norms = {
                tuple(tuple(t.storage for t in ops[norm].inputs[1:]) for norm in chains.get(user, ()))
                for user in users[weight.storage]
            }
            agreed[weight.storage] = len(norms) == 1
        if agreed[weight.storage]:
            result.append(folded(profile, position, chain))
    return result


def foldable(norm: Op, before: Op, position: int) -> bool:
    """Whether an operator is a batch norm with fixed statistics of exactly what the operator at `position` writes."""
    if norm.kind != "batch_norm" or norm.attrs.get("training") or norm.after != (position,) or not norm.inputs:
        return False
    x, *constants = norm.inputs
    written = before.output
    return (
        {"running_mean", "running_var"} <= {t.name for t in constants}
        and all(t.role in CONSTANT for t in constants)
        and (x.storage, x.shape, x.dtype) == (written.storage, written.shape, written.dtype)
        and len(norm.outputs) == 1
        and (norm.output.shape, norm.output.dtype) == (written.shape, written.dtype)
        and norm.output.storage != written.storage
    )


def folded(profile: Profile, position: int, chain: Sequence[int]) -> FusedGroup:
    """A convolution merged with the batch norms of `chain`: it has a bias and writes what the last of them wrote."""
    members = (position, *chain)
    conv, last = profile.ops[position], profile.ops[chain[-1]]
    cost = profile.costs[position]
    assert cost is not None
    inputs = conv.inputs
    if conv.find("bias") is None:
        bias = (last.find("bias") or last["running_mean"])._replace(name="bias")
        inputs = (*inputs, bias)
        cost = replace(cost, memory_access=cost.memory_access + bias.elements, read_bytes=cost.read_bytes + bias.bytes)
    return joined(profile, members, position, conv, conv.kind, inputs, last.outputs, cost)


def joined(
    profile: Profile,
    members: tuple[int, ...],
    host: int,
    named: Op,
    kind: str,
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    cost: Cost,
) -> FusedGroup:
    """The operators at `members` as one, with the name of `named` and the parameters of all of them."""
    ops = [profile.ops[m] for m in members]
    params, param_bytes = sum(op.params for op in ops), sum(op.param_bytes for op in ops)
    op = replace(
        named,
        kind=kind,
        inputs=inputs,
        outputs=outputs,
        attrs={**(named.attrs if kind == named.kind else {}), "fused": [op.name for op in ops]},
        estimated=any(op.estimated for op in ops),
        params=params,
        param_bytes=param_bytes,
        frozen_params=sum(op.frozen_params for op in ops),
    )
    return FusedGroup(members, host, op, replace(cost, params=params, param_bytes=param_bytes))


# Element-wise operators.


@gc_paused()
def merge_pointwise(profile: Profile) -> Profile:
    """The profile with connected element-wise operators as one.

    A group that would raise the peak of live activations stays apart. So does what an earlier merge left apart.
    """
    if any(op.kind == GROUP for op in profile.ops):
        return profile
    sizes, readers = storage_sizes(profile.trace), last_readers(profile)
    found = [group(profile, members, sizes, readers) for members in connected(profile)]
    limit = max(live_activation_bytes(profile.trace), default=0)
    position_of = {op.name: position for position, op in enumerate(profile.ops)}
    while True:
        view = rebuilt(profile, found)
        live = zip(view.ops, live_activation_bytes(view.trace), strict=True)
        over = sorted(position_of[op.name] for op, size in live if size > limit)
        if not over:
            return view
        fits = [g for g in found if bisect_left(over, g.members[0]) == bisect_right(over, g.host)]
        found = fits if len(fits) < len(found) else []


def connected(profile: Profile) -> list[tuple[int, ...]]:
    """Positions of element-wise operators that can run as one, at the position of the last of them.

    An operator joins the groups whose values it reads element by element, unless an operator outside has already read
    a value of the group, or overwritten one that the group reads. All other operators keep their order.
    """
    leader: dict[int, int] = {}  # of each element-wise operator, its group
    is_open: set[int] = set()
    writer: dict[int, tuple[int, int]] = {}  # by storage, the group that wrote it last, and how many elements
    read_by: dict[int, set[int]] = {}  # by storage, the groups that read it since

    def group_of(position: int) -> int:
        while leader.get(position, position) != position:
            leader[position] = position = leader[leader[position]]
        return position

    for position, op in enumerate(profile.ops):
        if op.free:  # waits for the one tensor that it views, not for other inputs such as one that lends a shape
            viewed = {t.storage for t in op.outputs}
            viewed = viewed if len(viewed) == 1 else set()
            is_open -= {group_of(writer[t.storage][0]) for t in op.inputs if t.storage in writer.keys() - viewed}
            continue
        by_element = profile.costs[position] is not None and maps_elements(op)
        joins: set[int] = set()
        closes: set[int] = set()
        for tensor in op.inputs:
            if tensor.storage in writer:
                before, elements = writer[tensor.storage]
                before = group_of(before)
                fits = by_element and before in is_open and elements == tensor.elements
                (joins if fits else closes).add(before)
        joins -= closes
        for tensor in op.outputs:
            closes |= {group_of(g) for g in read_by.pop(tensor.storage, ())} - joins
            if tensor.storage in writer:
                closes |= {group_of(writer[tensor.storage][0])} - joins
        is_open -= closes
        if by_element:
            for other in joins:
                leader[other] = position
            leader[position] = position
            is_open -= joins
            is_open.add(position)
        for tensor in op.outputs:
            writer[tensor.storage] = position, tensor.elements
        for storage in {t.storage for t in op.inputs} - {t.storage for t in op.outputs}:
            read_by.setdefault(storage, set()).add(position)
    members: dict[int, list[int]] = {}
    for position in leader:
        members.setdefault(group_of(position), []).append(position)
    return [tuple(sorted(m)) for m in members.values() if len(m) > 1]


def maps_elements(op: Op) -> bool:
    """Whether every output element comes from one element of each input, broadcast or not."""
    if op.kind == "batch_norm":
        return not op.attrs.get("training") and op.find("running_mean") is not None
    return FAMILY_OF.get(op.kind) == "element_wise" and op.kind not in NOT_BY_ELEMENT


def group(
    profile: Profile, members: tuple[int, ...], sizes: dict[int, tuple[int, int]], readers: dict[int, int]
) -> FusedGroup:
    """Element-wise operators as one, which reads every outside value and writes every value used outside once."""
    ops = [profile.ops[m] for m in members]
    host = members[-1]
    outside: dict[Tensor, int] = {}  # how often each is read; names do not matter
    written: dict[int, Tensor] = {}
    for op in ops:
        for tensor in op.inputs:
            if tensor.storage not in written:
                tensor = tensor._replace(name="")
                outside[tensor] = outside.get(tensor, 0) + 1
        written.update((t.storage, t) for t in op.outputs)
    reads: list[Tensor] = []
    for tensor, times in outside.items():
        apart = times * tensor.elements <= sizes[tensor.storage][0]  # parts of one memory, such as two halves
        reads += [tensor] * (times if apart else 1)
    kept = set(profile.trace.outputs)
    writes = [t for s, t in written.items() if t.role != "activation" or s in kept or readers.get(s, -1) > host]
    writes = writes or list(ops[-1].outputs)
    read_elements, read_bytes = capped(reads, sizes)
    cost = Cost(
        element_wise_ops=sum(cost.element_wise_ops for m in members if (cost := profile.costs[m]) is not None),
        memory_access=read_elements + sum(t.elements for t in writes),
        read_bytes=read_bytes,
        write_bytes=sum(t.bytes for t in writes),
        activation_bytes=sum(t.bytes for t in writes),
    )
    inputs = tuple(t._replace(name=f"inputs.{i}") for i, t in enumerate(reads))
    names = ["output"] if len(writes) == 1 else [str(i) for i in range(len(writes))]
    outputs = tuple(t._replace(name=name) for t, name in zip(writes, names, strict=True))
    return joined(profile, members, host, ops[-1], GROUP, inputs, outputs, cost)


def last_readers(profile: Profile) -> dict[int, int]:
    """By storage, the position of the last operator that reads it."""
    readers: dict[int, int] = {}
    for position, op in enumerate(profile.ops):
        if not op.free:
            readers.update((t.storage, position) for t in op.inputs)
    return readers


def storage_sizes(trace: Trace) -> dict[int, tuple[int, int]]:
    """Elements and bytes of every storage: the largest that an operator sees."""
    sizes: dict[int, tuple[int, int]] = {}
    for op in trace.ops:
        for tensor in (*op.inputs, *op.outputs):
            elements, size = sizes.get(tensor.storage, (0, 0))
            sizes[tensor.storage] = max(elements, tensor.elements), max(size, tensor.bytes)
    return sizes


def capped(reads: Iterable[Tensor], sizes: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Elements and bytes moved by reading these tensors, of each storage at most what it holds."""
    sums: dict[int, tuple[int, int]] = {}
    for tensor in reads:
        elements, size = sums.get(tensor.storage, (0, 0))
        sums[tensor.storage] = elements + tensor.elements, size + tensor.bytes
    elements = sum(min(count, sizes[storage][0]) for storage, (count, _) in sums.items())
    return elements, sum(min(size, sizes[storage][1]) for storage, (_, size) in sums.items())


# The trace with merged operators.


def rebuilt(profile: Profile, groups: Sequence[FusedGroup]) -> Profile:
    """The profile with each of `groups` in the place of its members; all other operators keep their order."""
    if not groups:
        return profile
    ops = profile.ops
    host = {member: each.host for each in groups for member in each.members}
    at = {each.host: each for each in groups}
    written = {t.storage for each in groups for m in each.members for t in ops[m].outputs}
    gone = written - {t.storage for each in groups for t in each.op.outputs}
    roots: list[frozenset[int]] = []  # of every free operator, what wrote the memory that it views
    place: list[int] = []
    for position, op in enumerate(ops):
        root, at_least = frozenset[int](), host.get(position, position)
        if op.free:
            root = root.union(*(roots[i] if ops[i].free else (i,) for i in op.after))
            at_least = max((at_least, *(place[i] for i in op.after)))  # a view waits for what it views
        roots.append(root)
        place.append(at_least)

    def is_kept(position: int) -> bool:
        if not ops[position].free:
            return host.get(position, position) == position
        return host.keys().isdisjoint(roots[position]) or all(t.storage not in gone for t in ops[position].outputs)

    order = sorted(filter(is_kept, range(len(ops))), key=lambda p: (place[p], p not in at, p))
    index = {position: i for i, position in enumerate(order)}

    def sources(members: tuple[int, ...]) -> tuple[int, ...]:
        """The new positions of the operators that `members` read, looking through views of their own results."""
        positions: set[int] = set()
        for member in members:
            for before in ops[member].after:
                through = ops[before].free and (before not in index or not roots[before].isdisjoint(members))
                positions |= roots[before] if through else {before}
        return tuple(sorted({index[host.get(i, i)] for i in positions - set(members)}))

    def without_gone(op: Op) -> Op:
        """A view without the inputs that no longer exist and only gave it its shape."""
        viewed = {t.storage for t in op.outputs}
        inputs = tuple(t for t in op.inputs if t.storage in viewed or t.storage not in gone)
        return op if inputs == op.inputs else replace(op, inputs=inputs)

    new_ops: list[Op] = []
    new_costs: list[Cost | None] = []
    for position in order:
        each = at.get(position)
        op, cost = (each.op, each.cost) if each else (ops[position], profile.costs[position])
        op = without_gone(op) if op.free else op
        after = sources(each.members if each else (position,))
        new_ops.append(op if op.after == after else replace(op, after=after))
        new_costs.append(cost)
    trace = replace(profile.trace, ops=tuple(new_ops), held={})  # no Python runs it
    return replace(profile, trace=trace, costs=tuple(new_costs))
