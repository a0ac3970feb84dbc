"""Throughput that the timm project publishes (its results/benchmark-infer-*.csv), and the networks in it.

A network is an architecture at an image size. Its family is the module of timm that defines the architecture. Families
of all tables together, sorted by name: those in even places fit, those in odd places judge, so that no network that is
fitted on one table judges on another.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import costlab
from costlab.core.profile import Profile
from costlab.errors import CostlabError


@dataclass(frozen=True)
class Table:
    """A file of throughput: one device, one way of running."""

    file: str
    title: str
    device: str
    way: Mapping[str, Any]  # as `costlab.predict` takes it


RTX3090 = Table("amp-nchw-pt240-cu124-rtx3090.csv", "RTX 3090, eager, autocast", "rtx3090", {"amp": True})
RTX3090_NHWC = Table(
    "amp-nhwc-pt240-cu124-rtx3090.csv",
    "RTX 3090, eager, autocast, channels-last",
    "rtx3090",
    {"amp": True, "channels_last": True},
)
RTX4090 = Table(
    "amp-nchw-pt240-cu124-rtx4090-dynamo.csv",
    "RTX 4090, compiled, autocast",
    "rtx4090",
    {"amp": True, "fusion": "pointwise"},
)
I9 = Table(
    "fp32-nchw-pt240-cpu-i9_10940x-dynamo.csv",
    "i9-10940X, compiled, float32",
    "i9-10940x",
    {"fusion": "pointwise"},
)
TABLES = (RTX3090, RTX3090_NHWC, RTX4090, I9)
COLUMNS = ("model", "infer_img_size", "infer_batch_size", "infer_samples_per_sec", "param_count")


class Network(NamedTuple):
    """An architecture at an image size."""

    architecture: str
    size: int

    def __str__(self) -> str:
        return f"{self.architecture}@{self.size}"


class Row(NamedTuple):
    """What was measured of a network."""

    name: str  # with the pretrained tag, which decides how many classes there are
    batch: int
    seconds: float  # of one batch
    params: float  # as published, in millions


def read(folder: Path) -> dict[str, dict[Network, Row]]:
    """The rows of every table, by its file. Of rows with the same network the first counts, which is the fastest.

    Raises:
        CostlabError: a table is missing or has other columns.
    """
    found: dict[str, dict[Network, Row]] = {}
    for table in TABLES:
        rows = found.setdefault(table.file, {})
        try:
            with (folder / table.file).open(encoding="utf-8", newline="") as lines:
                for entry in csv.DictReader(lines):
                    name, size, batch, rate, params = (entry[column] for column in COLUMNS)
                    network = Network(name.partition(".")[0], int(size))
                    rows.setdefault(network, Row(name, int(batch), int(batch) / float(rate), float(params)))
        except OSError as error:
            raise CostlabError(f"{folder / table.file} cannot be read: {error.strerror}") from None
        except (KeyError, ValueError, TypeError, ZeroDivisionError) as error:
            raise CostlabError(f"{folder / table.file} is not a table of throughput: {error!r}") from None
    return found


def families(architectures: Iterable[str]) -> dict[str, str]:
    """The family of every architecture that this timm knows."""
    from costlab.models.providers.timm import import_timm

    timm = import_timm()
    known = set(timm.list_models())
    return {name: timm.models.model_entrypoint(name).__module__ for name in set(architectures) & known}


def fitting(names: Iterable[str]) -> set[str]:
    """The families that fit; the others judge."""
    return set(sorted(set(names))[::2])


def traced(name: str, size: int) -> Profile:
    """The profile of a network at an image size, without weights, for one image.

    Raises:
        CostlabError: this timm cannot build it, or it does not take images of that size.
    """
    from costlab.models.meta_init import weightless
    from costlab.models.providers.timm import import_timm

    timm = import_timm()

    def build(**arguments: Any) -> Any:
        try:
            return weightless(lambda: timm.create_model(name, pretrained=False, **arguments))
        except RuntimeError:  # this timm does not know the tag
            return weightless(lambda: timm.create_model(name.partition(".")[0], pretrained=False, **arguments))

    try:
        return costlab.profile(build().eval(), (1, 3, size, size), name=name)
    except CostlabError:  # networks with position embeddings are built for one size
        pass
    try:
        return costlab.profile(build(img_size=size).eval(), (1, 3, size, size), name=name)
    except Exception as error:
        raise CostlabError(f"{name} cannot be traced at {size} x {size}: {error}") from error
