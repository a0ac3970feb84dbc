"""A network with advice followed: the edits of fixes, made in a profile.

A removed operator becomes a view, so that its readers see what it read. Fused and merged operators take the place of
their members. Every edit is of operators by name, so that it holds for a network and for each fusion of it; edits of
operators that a profile does not have, because they are already fused, change nothing.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from costlab.core.cost import FAMILY_OF, Cost, cost_of, total
from costlab.core.fusion import FusedGroup, folds, group, last_readers, rebuilt, storage_sizes
from costlab.core.graph import Op, Tensor
from costlab.core.profile import Profile
from costlab.guidelines.analysis.layers import layer_shape, resized, with_channels
from costlab.guidelines.model import Fix

Edit = Callable[[Op], Op | None]  # None: the operator cannot be changed


def edited(profile: Profile, fixes: Iterable[Fix]) -> Profile:
    """The profile in which all of `fixes` are made; costs are those of the new operators."""
    fixes = list(fixes)
    profile = rebuilt(profile, list(fused_groups(profile, fixes)))
    ops, costs = list(profile.ops), list(profile.costs)
    position = {op.name: i for i, op in enumerate(ops)}
    for fix in fixes:
        for name, edit in edits(fix):
            i = position.get(name)
            changed = None if i is None or ops[i].free else edit(ops[i])
            if i is not None and changed is not None:
                ops[i], costs[i] = changed, cost_of(changed) or costs[i]
    changed_profile = replace(profile, trace=replace(profile.trace, ops=tuple(ops)), costs=tuple(costs))
    return with_merged(changed_profile, [names for fix in fixes for names in fix.merged])


def edits(fix: Fix) -> Iterator[tuple[str, Edit]]:
    """The changes of single operators, by name."""
    for name in fix.removed:
        yield name, lambda op: replace(op, free=True)
    for name, other in fix.replaced.items():
        yield name, lambda op, other=other: replace(other, after=op.after)  # type: ignore[misc]
    for name, channels in fix.resized.items():
        yield name, lambda op, channels=channels: with_layer_channels(op, *channels)  # type: ignore[misc]


def with_layer_channels(op: Op, inputs: int, outputs: int, groups: int) -> Op | None:
    """The layer with other channels and groups; None if it cannot be resized."""
    layer = layer_shape(op)
    return resized(op, layer, inputs, outputs, groups) if layer else None


def fused_groups(profile: Profile, fixes: Sequence[Fix]) -> Iterator[FusedGroup]:
    """The operators that fixes fuse: convolutions with their batch norms, and element-wise operators."""
    wanted = dict.fromkeys(names for fix in fixes for names in fix.fused)
    if not wanted:
        return
    position = {op.name: i for i, op in enumerate(profile.ops)}
    foldable = {tuple(profile.ops[m].name for m in fold.members): fold for fold in folds(profile)}
    sizes, readers = storage_sizes(profile.trace), last_readers(profile)
    taken: set[int] = set()
    for names in wanted:
        members = tuple(position[name] for name in names if name in position)
        if len(members) < len(names) or not taken.isdisjoint(members):
            continue
        taken.update(members)
        yield foldable[names] if names in foldable else group(profile, members, sizes, readers)


# Independent operators as one.


def with_merged(profile: Profile, levels: Iterable[Sequence[str]]) -> Profile:
    """The profile in which the operators of each level are merged, one for each kind of work."""
    position = {op.name: i for i, op in enumerate(profile.ops)}
    ops, costs = list(profile.ops), list(profile.costs)
    host: dict[int, int] = {}
    for level in levels:
        alike: dict[object, list[int]] = {}
        for i in (position[name] for name in level if name in position):
            if not ops[i].free and costs[i] is not None and i not in host:
                alike.setdefault(kind_of_work(ops[i]), []).append(i)
        for members in alike.values():
            if len(members) > 1:
                first = members[0]
                host.update(dict.fromkeys(members, first))
                pairs = [(profile.ops[i], cost) for i in members if (cost := profile.costs[i]) is not None]
                ops[first], costs[first] = merged(pairs)
    return in_order(profile, ops, costs, host) if host else profile


def kind_of_work(op: Op) -> object:
    """Equal for operators that one operator could do together: the time of depthwise layers grows with their taps."""
    layer = layer_shape(op)
    return (FAMILY_OF.get(op.kind), op["weight"].shape[2:] if layer and layer.depthwise else ())


def merged(pairs: Sequence[tuple[Op, Cost]]) -> tuple[Op, Cost]:
    """Independent operators as one, which has the form of the largest and the mult-adds of all.

    It reads once what several of them read, and writes what they wrote.
    """
    largest, own = max(pairs, key=lambda pair: (pair[1].mult_adds, pair[1].bytes_accessed))
    cost = total(each for _, each in pairs)
    op = widened(largest, cost.mult_adds / own.mult_adds) if own.mult_adds else largest
    seen = {(t.storage, t.shape) for t in largest.inputs}
    more: list[Tensor] = []
    repeated: list[Tensor] = []
    for other in (other for other, _ in pairs if other is not largest):
        for tensor in (t for t in other.inputs if t.role not in ("parameter", "buffer", "constant")):
            (repeated if (tensor.storage, tensor.shape) in seen else more).append(tensor)
            seen.add((tensor.storage, tensor.shape))
    outputs = (op.output._replace(elements=largest.output.elements), *largest.outputs[1:])
    inputs = (*op.inputs, *(t._replace(name=f"inputs.{i}") for i, t in enumerate(more)))
    written = chain.from_iterable(other.outputs for other, _ in pairs if other is not largest)
    cost = replace(
        cost,
        memory_access=cost.memory_access - sum(t.elements for t in repeated),
        read_bytes=cost.read_bytes - sum(t.bytes for t in repeated),
    )
    return replace(op, inputs=inputs, outputs=(*outputs, *written)), cost


def widened(op: Op, factor: float) -> Op:
    """An operator with `factor` times its mult-adds: more groups if it has several, else more output channels."""
    layer = layer_shape(op)
    if layer and layer.groups > 1:
        groups = round(layer.groups * factor)
        each = layer.inputs // layer.groups, layer.outputs // layer.groups
        return resized(op, layer, each[0] * groups, each[1] * groups, groups) or op
    if layer:
        return resized(op, layer, layer.inputs, round(layer.outputs * factor), 1) or op
    dim = -3 if FAMILY_OF.get(op.kind) == "attention" else -1
    if len(op.output.shape) < -dim:
        return op
    return replace(op, outputs=(with_channels(op.output, dim, round(op.output.shape[dim] * factor)), *op.outputs[1:]))


def in_order(profile: Profile, ops: Sequence[Op], costs: Sequence[Cost | None], host: dict[int, int]) -> Profile:
    """The profile with members at their `host`, in the old order as far as operators still follow what they read."""
    before: dict[int, set[int]] = {}
    for i, op in enumerate(profile.ops):
        before.setdefault(host.get(i, i), set()).update(host.get(j, j) for j in op.after)
    after: dict[int, list[int]] = {}
    waiting = {}
    for i, sources in before.items():
        sources.discard(i)
        waiting[i] = len(sources)
        for j in sources:
            after.setdefault(j, []).append(i)
    ready = [i for i, count in waiting.items() if not count]
    heapq.heapify(ready)
    place: dict[int, int] = {}
    while ready:
        i = heapq.heappop(ready)
        place[i] = len(place)
        for j in after.get(i, ()):
            waiting[j] -= 1
            if not waiting[j]:
                heapq.heappush(ready, j)
    if len(place) < len(before):  # they depend on each other
        return profile
    new = tuple(replace(ops[i], after=tuple(sorted(place[j] for j in before[i]))) for i in place)
    return replace(profile, trace=replace(profile.trace, ops=new, held={}), costs=tuple(costs[i] for i in place))
