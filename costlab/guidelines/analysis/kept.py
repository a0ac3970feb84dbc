"""What a training step keeps for its backward pass, and what of it could be computed again."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import Op, StorageInfo, TrainingStep
from costlab.core.profile import Profile

CHEAP = ("element_wise", "normalisation", "softmax", "copy", "loss")  # families that read and write every element once
RANDOM = ("bernoulli", "poisson", "rrelu", "rrelu_with_noise", "normal", "multinomial")
LEAST, MOST = 0.01, 0.25  # of everything that is kept; what a larger module runs again would live again


class Recomputable(NamedTuple):
    """A kept activation that operators without products make again from other values that are kept."""

    storage: StorageInfo
    maker: Op
    kept_by: Op
    copied: bool  # by the maker, which writes in place what its gradient needs


@dataclass(frozen=True)
class Checkpoint:
    """A module that could run again in the backward pass."""

    path: str
    bytes: int  # that the step keeps less, at least: what later modules read is taken for kept
    mult_adds: int  # that it computes more


def first_pass(profile: Profile) -> list[Op]:
    """The operators of the first forward pass."""
    return list(profile.forward.ops)


def recomputable(profile: Profile, step: TrainingStep) -> Iterator[Recomputable]:
    """Kept activations that need not be: a chain of cheap operators leads to them from values that are kept anyway."""
    ops = first_pass(profile)
    makers: dict[int, Op] = {}
    costly: set[int] = set()
    for op in ops:
        for output in () if op.free else op.outputs:
            makers[output.storage] = op
            if not is_cheap(op):
                costly.add(output.storage)
    kept = {s.number: s for s in step.storages if 0 <= s.saved_by < len(ops)}
    available = {s.number for s in step.storages if s.first < 0} | (kept.keys() & costly)
    again, made_again = set(), set()  # positions of cheap operators whose inputs are available, and what they write
    for position, op in enumerate(ops):
        if op.free or not is_cheap(op):
            continue
        written = {t.storage for t in op.outputs}
        if all(t.storage in available for t in op.inputs):
            available |= written
            made_again |= written
            again.add(position)
        else:
            made_again -= written
            available = (available - written) | (written & (costly | kept.keys()))
    for number, storage in kept.items():
        if number in made_again and number not in costly:
            yield Recomputable(storage, makers[number], ops[storage.saved_by], False)
        elif number not in makers and storage.first in again and FAMILY_OF[ops[storage.first].kind] == "element_wise":
            yield Recomputable(storage, ops[storage.first], ops[storage.saved_by], True)


def is_cheap(op: Op) -> bool:
    """Whether running an operator again costs no product and gives the same values."""
    return FAMILY_OF.get(op.kind) in CHEAP and "dropout" not in op.kind and op.kind not in RANDOM


def checkpoints(profile: Profile, step: TrainingStep) -> list[Checkpoint]:
    """Modules that would free memory if they ran again, none inside another, most bytes for a mult-add first."""
    ops = first_pass(profile)
    paths = {path for op in ops for path in above(op.module)}
    whole = sum(profile.saved.values())
    found = [checkpoint(path, profile, step, ops) for path in paths]
    found = [candidate for candidate in found if max(LEAST * whole, 1) <= candidate.bytes <= MOST * whole]
    found.sort(key=lambda c: (-c.bytes / max(c.mult_adds, 1), -c.bytes, c.path))
    chosen: list[Checkpoint] = []
    for candidate in found:
        if not any(is_inside(candidate.path, c.path) or is_inside(c.path, candidate.path) for c in chosen):
            chosen.append(candidate)
    return chosen


def checkpoint(path: str, profile: Profile, step: TrainingStep, ops: list[Op]) -> Checkpoint:
    """What running a module again frees: what only it keeps, less the inputs that are kept for it instead.

    Nothing if a later operator overwrites one of its inputs, which it would find changed.
    """
    inside = [is_inside(op.module, path) for op in ops]
    read_outside = {t.storage for op, within in zip(ops, inside, strict=True) if not within for t in op.inputs}
    read_outside |= set(profile.trace.outputs)
    read_inside = {t.storage for op, within in zip(ops, inside, strict=True) if within for t in op.inputs}
    changed = overwritten(ops[inside.index(True) :])
    freed = 0
    for storage in step.storages:
        made = 0 <= storage.first < len(ops)
        if made and inside[storage.first]:
            only_here = 0 <= storage.saved_by < len(ops) and storage.number not in read_outside
            freed += storage.bytes * only_here
        elif (made or storage.category == "input") and storage.number in read_inside:
            if storage.number in changed:
                return Checkpoint(path, 0, 0)
            freed -= storage.bytes * (made and storage.saved_by < 0)
    costs = profile.forward.costs
    again = sum(cost.mult_adds for cost, within in zip(costs, inside, strict=True) if within and cost)
    return Checkpoint(path, freed, again)


def overwritten(ops: list[Op]) -> set[int]:
    """The storages that operators change in place."""
    return {t.storage for op in ops if not op.free for t in op.outputs if t.storage in {i.storage for i in op.inputs}}


def above(path: str) -> Iterator[str]:
    """The path of a module and of all modules around it, without the network itself."""
    while path:
        yield path
        path = path.rpartition(".")[0]


def is_inside(path: str, module: str) -> bool:
    """Whether a path is that of a module or of one of its submodules."""
    return path == module or path.startswith(f"{module}.")
