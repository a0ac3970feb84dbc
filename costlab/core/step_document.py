"""What a saved profile holds of a training step beyond its operators, and what devices send each other in it."""

import json
from itertools import groupby
from typing import Any, NamedTuple

from costlab.core.graph import CATEGORIES, StorageInfo, Trace, TrainingStep
from costlab.core.optimizers import OPTIMIZERS
from costlab.core.validation import count, field, items, reject, string


class Communication(NamedTuple):
    """Bytes that each device receives in a step, by collective operation."""

    all_gather_bytes: int  # parameters, for the forward and again for the backward pass
    reduce_scatter_bytes: int  # gradients


def communication(trace: Trace) -> Communication:
    """The bytes that a device receives: of everything the part that it does not hold itself, (N - 1) / N.

    Rajbhandari et al., ZeRO (arXiv 1910.02054), section 7.2: parameters twice, gradients once, in every pass. Nothing
    in a trace without shards.
    """
    step = trace.step
    if step is None or step.shards == 1:
        return Communication(0, 0)
    phases = [phase for phase, _ in groupby(op.phase for op in trace.ops)]
    passes = phases.count("backward")
    parameters = sum(storage.bytes for storage in step.storages if storage.category == "parameter")
    gathered, scattered = 2 * passes * parameters, passes * step.gradient_bytes
    return Communication(*(amount * (step.shards - 1) // step.shards for amount in (gathered, scattered)))


KEYS = ("trainable_params", "gradient_bytes", "optimizer_bytes", "shards")


def step_data(trace: Trace, step: TrainingStep) -> dict[str, Any]:
    """The step as plain data: a storage is a list of its fields."""
    return {
        "optimizer": step.optimizer,
        **{key: getattr(step, key) for key in KEYS},
        **communication(trace)._asdict(),
        "storage_fields": list(StorageInfo._fields),
        "storages": [list(storage) for storage in step.storages],
    }


def read_step(document: Any, operators: int) -> TrainingStep:
    """The step of a document. Raises CostlabError if a field is missing or has the wrong type; the message names it."""
    entry = field(document, "step", "the document")
    optimizer = string(entry, "optimizer", "step")
    if optimizer not in OPTIMIZERS:
        reject("step.optimizer", f"one of {', '.join(OPTIMIZERS)}", optimizer)
    storages = tuple(
        read_storage(value, f"step.storages[{position}]", operators)
        for position, value in enumerate(items(entry, "storages", "step"))
    )
    trainable, gradient, state, shards = (count(entry, key, "step") for key in KEYS)
    return TrainingStep(optimizer, trainable, gradient, state, max(shards, 1), storages)


def read_storage(value: Any, where: str, operators: int) -> StorageInfo:
    """One storage; its operators must exist."""
    types = [int, int, str, int, int, int]
    if type(value) is not list or [type(member) for member in value] != types:
        reject(where, f"a list of {', '.join(StorageInfo._fields)}", value)
    storage = StorageInfo(*value)
    if storage.category not in CATEGORIES:
        reject(f"{where}.category", " or ".join(map(json.dumps, CATEGORIES)), storage.category)
    if storage.number < 0 or storage.bytes < 0:
        reject(where, "a storage of 0 or more bytes", value)
    if not -1 <= storage.first <= storage.last < operators or not -1 <= storage.saved_by < operators:
        reject(where, "a storage that lives between two operators", value)
    return storage
