"""The costs and kernels of many networks, traced once and kept in the user's cache."""

from __future__ import annotations

import io
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from costlab.choosing.catalogue import Candidate
from costlab.core.files import atomic_write
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.latency.devices import find_device
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import KernelTable, lower
from costlab.latency.lowering.kernels import Kernel
from costlab.latency.roofline import RooflineModel, whole_seconds
from costlab.models import ModelSpec, cache

FEW = 8  # networks that are traced here, without processes
COSTS = ("mult_adds", "params", "peak_activation_bytes")
Array = np.ndarray
Kernels = tuple[Array, Array]  # distinct kernels of a network, and how many of each it has
Traced = tuple[str, list[int], list[Kernels]]  # an error or "", COSTS, and the kernels in every way
KINDS = ("rtx4090", "h100", "i9-10940x")  # devices of which one or another has the kernels of any device


class Networks(NamedTuple):
    """Many networks on one kind of device: their totals, and the kernels of all of them one after the other."""

    errors: list[str]  # of each network: why it has no costs; "" where it has
    costs: Array  # [networks, COSTS]
    owner: Array  # of each kernel: its network
    kernels: Array  # [kernels, fields of Kernel]
    counts: Array  # how many such kernels the network has


@dataclass(frozen=True)
class Way:
    """What decides the kernels of a network; batch and the device's numbers do not."""

    gpu: bool
    dtype: str | None
    autocast: str | None
    half_norms: bool
    fusion: str
    channels_last: bool

    @classmethod
    def of(cls, config: ExecutionConfig) -> Way:
        """The way that a configuration runs."""
        return cls(
            config.gpu, config.dtype, config.autocast_dtype, config.half_norms, config.fusion, config.channels_last
        )


def networks(
    candidates: Sequence[Candidate], config: ExecutionConfig, progress: Callable[[int, int], None]
) -> Networks:
    """The costs and kernels of all candidates, from the cache or traced now in a process for each core.

    Args:
        config: how they run. The ways of other devices, with and without autocast and compiler, are kept along with it.
        progress: called with how many networks are done, of how many.

    Raises:
        CostlabError: the processes do not start.
    """
    kept = read_networks(candidates, config)
    if kept is not None:
        return kept
    ways = [config, *neighbours(config)]
    distinct = {architecture(candidate): candidate for candidate in reversed(candidates)}
    results: dict[tuple[str, int | None], Traced] = {}
    progress(0, len(distinct))
    for name, result in zip(distinct, each([(candidate, ways) for candidate in distinct.values()]), strict=True):
        results[name] = result
        progress(len(results), len(distinct))
    rows = [results[architecture(candidate)] for candidate in candidates]
    found = [gathered([(error, costs, tables[n]) for error, costs, tables in rows]) for n in range(len(ways))]
    for way, networks_of_way in zip(ways, found, strict=True):
        keep(key_of(candidates, way), networks_of_way)
    return found[0]


def architecture(candidate: Candidate) -> tuple[str, int | None]:
    """What decides the costs: of timm's networks, the name without its pretrained tag, and the image size."""
    timm = candidate.target.startswith("timm:")
    return candidate.target.partition(".")[0] if timm else candidate.target, candidate.image_size


def neighbours(config: ExecutionConfig) -> list[ExecutionConfig]:
    """Every kind of device with and without autocast, compiled and eager."""
    devices = [config.device, *map(find_device, KINDS)]
    settings = [(amp, fusion) for amp in (False, True) for fusion in ("none", "pointwise")]
    others = [replace(config, device=d, amp=amp, fusion=fusion) for d in devices for amp, fusion in settings]
    ways = {Way.of(config)}
    return [other for other in others if not (Way.of(other) in ways or ways.add(Way.of(other)))]  # type: ignore[func-returns-value]


def each(work: Sequence[tuple[Candidate, list[ExecutionConfig]]]) -> Iterator[Traced]:
    """The result for every candidate, in order, computed by processes of this machine. Raises CostlabError."""
    if len(work) <= FEW:
        yield from map(traced, work)
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(traced, work, chunksize=4)
        except BrokenExecutor:
            raise CostlabError(
                "a process that traces networks died: a script must call costlab.choose under"
                ' `if __name__ == "__main__":`, because these processes import it'
            ) from None


def traced(work: tuple[Candidate, list[ExecutionConfig]]) -> Traced:
    """Why a network cannot be traced or "", its costs, and its kernels in every way."""
    candidate, configs = work
    try:
        profile = profile_of_candidate(candidate)
    except CostlabError as error:
        return str(error), [0] * len(COSTS), [(np.zeros((0, len(Kernel._fields))), np.zeros(0))] * len(configs)
    costs = [int(getattr(profile.total, key)) for key in COSTS]
    return "", costs, [kernels_of(profile, config) for config in configs]


def profile_of_candidate(candidate: Candidate) -> Profile:
    """The profile of a network for one image of its evaluation size.

    Raises CostlabError if it cannot be built, or does not take images of that size.
    """
    from costlab.models import profile_of

    names = [candidate.target]
    if candidate.target.startswith("timm:") and "." in candidate.target:
        names.append(candidate.target.partition(".")[0])  # a timm that does not know the tag
    first: CostlabError | None = None
    for name in names:
        for fixed in (False, True):  # networks with position embeddings are built for one size
            arguments = {"img_size": candidate.image_size} if fixed and candidate.image_size else {}
            try:
                return profile_of(ModelSpec(name, arguments, batch=1, resolution=candidate.image_size))
            except CostlabError as error:
                first = first or error
    assert first is not None
    raise first


def kernels_of(profile: Profile, config: ExecutionConfig) -> Kernels:
    """The distinct kernels of a network, one way, and how many of each it has: its blocks repeat."""
    kernels = Counter(kernel._replace(op=0) for kernel in lower(profile, profile.fused(config.fusion), config))
    table = np.array(list(kernels), dtype=np.float64).reshape(-1, len(Kernel._fields))
    return table, np.array(list(kernels.values()), dtype=np.float64)


def gathered(rows: Sequence[tuple[str, list[int], Kernels]]) -> Networks:
    """The rows of all networks together."""
    errors, costs, tables = zip(*rows, strict=True)
    kernels, counts = zip(*tables, strict=True)
    owner = np.repeat(np.arange(len(kernels)), [len(table) for table in kernels])
    return Networks(
        list(errors), np.array(costs, dtype=np.int64), owner, np.concatenate(kernels), np.concatenate(counts)
    )


def seconds_of(found: Networks, config: ExecutionConfig, batch: int | Array) -> Array:
    """Predicted seconds of a batch of every network; an array has the batch of each."""
    count = len(found.errors)
    table = KernelTable(found.kernels, count)
    each = batch[found.owner] if isinstance(batch, np.ndarray) else float(batch)
    model = RooflineModel(table, config.device, each)
    weights = np.bincount(found.owner, found.counts * table.constant, count)
    seconds = model.terms(config.efficiency, weights[found.owner]).seconds
    device = np.bincount(found.owner, found.counts * seconds, count)
    host = np.bincount(found.owner, found.counts * model.host(config.efficiency), count)
    return np.asarray(whole_seconds(device, host, config.efficiency))


# The cache.


def key_of(candidates: Sequence[Candidate], config: ExecutionConfig) -> str:
    """The name of the entry: a hash of everything that decides costs and kernels."""
    nets = sorted((c.model, c.image_size or 0) for c in candidates)
    return cache.key_of(ModelSpec("choose", {"networks": nets, "way": asdict(Way.of(config))}))


def read_networks(candidates: Sequence[Candidate], config: ExecutionConfig) -> Networks | None:
    """The costs and kernels of candidates from the cache; None if they are not there, or damaged."""
    where = cache.folder()
    if where is None:
        return None
    entry = where / key_of(candidates, config)
    try:
        os.utime(entry)
        with np.load(io.BytesIO(entry.read_bytes()), allow_pickle=False) as file:
            found = Networks([str(e) for e in file["errors"]], *(file[name] for name in Networks._fields[1:]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    shapes = found.costs.shape, found.kernels.shape, found.counts.shape
    rows = len(found.owner)
    return found if shapes == ((len(found.errors), len(COSTS)), (rows, len(Kernel._fields)), (rows,)) else None


def keep(key: str, found: Networks) -> None:
    """Save networks under a key, if possible."""
    where = cache.folder()
    if where is None:
        return
    content = io.BytesIO()
    np.savez_compressed(content, **{**found._asdict(), "errors": np.array(found.errors)})
    with suppress(OSError, CostlabError):
        where.mkdir(parents=True, exist_ok=True)
        with atomic_write(where / key) as file:
            file.write(content.getvalue())
