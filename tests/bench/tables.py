"""Published and measured latencies, and the networks in them: a folder of tables, read.

The folder has `timm/` (or the files of timm themselves): throughput that the timm project publishes; `h100/`: whole
passes and operators that costlab measured on an H100; `neusight/`: labels of NeuSight (Lee et al., ASPLOS 2025), whole
passes and operators of float32 transformers on several cards. What is missing is left out.

A family is the module of timm that defines an architecture. Families of all tables of timm, sorted by name: those in
even places fit, those in odd places judge, so that no network that is fitted on one table judges on another.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import costlab
from costlab.core.profile import Profile
from costlab.errors import CostlabError

COLUMNS = ("model", "infer_img_size", "infer_batch_size", "infer_samples_per_sec", "param_count")
NEUSIGHT = {  # the cards of NeuSight's labels, and their device files
    "NVIDIA_A100-PCIE-40GB": "a100-40gb",
    "Tesla_V100-PCIE-32GB": "v100-pcie",
    "Tesla_T4": "t4",
    "Tesla_P100-PCIE-16GB": "p100-pcie",
    "AMD_Instinct_MI100": "mi100",
    "AMD_Instinct_MI250": "mi250",
}


def gpt(width: int, layers: int, heads: int, positions: int) -> dict[str, Any]:
    """The configuration of a GPT-2."""
    sizes = {"n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": positions}
    return {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], **sizes}


TRANSFORMERS = {  # the networks of NeuSight's labels, with attention written out
    "bert_large": {"model_type": "bert", "architectures": ["BertForMaskedLM"], "hidden_size": 1024,
        "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "gpt2_large": gpt(1280, 36, 20, 1024),
    "gpt3_xl": gpt(3072, 24, 24, 2048),
    "gpt3_27": gpt(2560, 32, 32, 2048),
    "opt_13": {"model_type": "opt", "architectures": ["OPTForCausalLM"], "hidden_size": 2048, "num_hidden_layers": 24,
        "num_attention_heads": 32, "ffn_dim": 8192, "max_position_embeddings": 2048, "word_embed_proj_dim": 2048},
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A file of latencies: one device, one way of running."""

    file: str
    title: str
    device: str
    way: Mapping[str, Any] = field(hash=False)  # as `costlab.predict` takes it
    card: str  # left out of a fit together


AMP, COMPILED = {"amp": True}, {"amp": True, "fusion": "pointwise"}
TIMM = (
    Table("amp-nchw-pt240-cu124-rtx3090.csv", "RTX 3090, eager, autocast", "rtx3090", AMP, "RTX 3090"),
    Table("amp-nhwc-pt240-cu124-rtx3090.csv", "RTX 3090, eager, autocast, channels-last", "rtx3090",
        {**AMP, "channels_last": True}, "RTX 3090"),
    Table("amp-nchw-pt240-cu124-rtx4090.csv", "RTX 4090, eager, autocast", "rtx4090", AMP, "RTX 4090"),
    Table("amp-nchw-pt240-cu124-rtx4090-dynamo.csv", "RTX 4090, compiled, autocast", "rtx4090", COMPILED, "RTX 4090"),
    Table("fp32-nchw-pt240-cpu-i9_10940x-dynamo.csv", "i9-10940X, compiled, float32", "i9-10940x",
        {"fusion": "pointwise"}, "i9-10940X"),
    Table("fp32-nchw-pt240-cpu-i7_12700h-dynamo-half.csv", "i7-12700H, compiled, float32", "i7-12700h",
        {"fusion": "pointwise"}, "i7-12700H"),
)  # fmt: skip
UNFITTED = ("i7-12700H", "MI100", "MI250")  # cards that nothing is fitted to
H100 = Table("h100/inference.jsonl", "H100, eager, autocast", "h100", AMP, "H100")


class Network(NamedTuple):
    """An architecture of timm at an image size, a MODEL of the command line, or a transformer of so many tokens."""

    architecture: str
    size: int

    def __str__(self) -> str:
        return f"{self.architecture}@{self.size}" if self.size else self.architecture


class Row(NamedTuple):
    """What was measured of a network."""

    network: Network
    name: str  # with the pretrained tag, which decides how many classes there are
    batch: int
    seconds: float  # of one batch
    params: float | None = None  # as published, in millions
    ops: Mapping[str, float] = {}  # seconds of operators by name


Tables = dict[Table, list[Row]]


def read(folder: Path) -> Tables:
    """The rows of every table. Of rows of timm with the same network the first counts, which is the fastest.

    Raises:
        CostlabError: there is no table, or one has other columns.
    """
    published = folder / "timm" if (folder / "timm").is_dir() else folder
    found: Tables = {}
    for table, path, rows in (
        *((table, published / table.file, timm_rows) for table in TIMM),
        (H100, folder / H100.file, h100_rows),
    ):
        if path.exists():
            found[table] = checked(path, rows)
    labels = folder / "neusight" / "whole.csv"
    for title, device in NEUSIGHT.items() if labels.exists() else ():
        card = title.partition("_")[2].removeprefix("Instinct_")
        table = Table(f"neusight/whole.csv: {title}", f"{card}, eager, float32", device, {}, card)
        found[table] = [row for name, row in checked(labels, neusight_rows) if name == title]
    if not found:
        raise CostlabError(f"{published / TIMM[0].file} cannot be read: no such file")
    return found


def checked(path: Path, rows: Any) -> list[Any]:
    """The rows of a file. Raises CostlabError, with its name."""
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            return list(rows(lines))
    except OSError as error:
        raise CostlabError(f"{path} cannot be read: {error.strerror}") from None
    except (KeyError, ValueError, TypeError, ZeroDivisionError) as error:
        raise CostlabError(f"{path} is not a table of latencies: {error!r}") from None


def timm_rows(lines: Iterable[str]) -> Iterable[Row]:
    seen = set()
    for entry in csv.DictReader(lines):
        name, size, batch, rate, params = (entry[column] for column in COLUMNS)
        network = Network(name.partition(".")[0], int(size))
        if network not in seen:
            seen.add(network)
            yield Row(network, name, int(batch), int(batch) / float(rate), float(params))


def h100_rows(lines: Iterable[str]) -> Iterable[Row]:
    for entry in map(json.loads, lines):
        network = Network(entry["name"], 0)
        yield Row(network, entry["name"], entry["batch"], entry["whole"], ops=entry["ops"])


def neusight_rows(lines: Iterable[str]) -> Iterable[tuple[str, Row]]:
    for entry in csv.DictReader(lines):
        name = entry["model"]
        if name in TRANSFORMERS:
            network = Network(name, int(entry["sequence"]))
            yield entry["device"], Row(network, name, int(entry["batch"]), float(entry["forward_ms"]) / 1e3)


def families(architectures: Iterable[str]) -> dict[str, str]:
    """The family of every architecture that this timm knows."""
    from costlab.models.providers.timm import import_timm

    timm = import_timm()
    known = set(timm.list_models())
    return {name: timm.models.model_entrypoint(name).__module__ for name in set(architectures) & known}


def fitting(names: Iterable[str]) -> set[str]:
    """The families that fit; the others judge."""
    return set(sorted(set(names))[::2])


def traced(name: str, network: Network) -> Profile:
    """The profile of a network for a batch of one, without weights.

    Raises:
        CostlabError: it cannot be built, or it does not take images of that size.
    """
    if network.architecture in TRANSFORMERS:
        model, inputs = transformer(network.architecture, 1, network.size)
        return costlab.profile(model, kwargs=inputs, name=network.architecture)
    if not network.size:
        return costlab.profile(*costlab.load(name), name=name)
    return traced_image(name, network.size)


def transformer(name: str, batch: int, tokens: int) -> tuple[Any, dict[str, Any]]:
    """A transformer of NeuSight's labels without weights, its attention written out, and its inputs."""
    import tempfile

    import torch

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(TRANSFORMERS[name]), encoding="utf-8")
        model, _ = costlab.load(f"hf:{folder}")
    model.config._attn_implementation = "eager"
    inputs: dict[str, Any] = {"input_ids": torch.zeros(batch, tokens, dtype=torch.long)}
    if name != "bert_large":
        inputs["use_cache"] = False
    return model, inputs


def traced_image(name: str, size: int) -> Profile:
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
    except (CostlabError, RuntimeError):  # networks with position embeddings are built for one size
        pass
    try:
        return costlab.profile(build(img_size=size).eval(), (1, 3, size, size), name=name)
    except Exception as error:
        raise CostlabError(f"{name} cannot be traced at {size} x {size}: {error}") from error
