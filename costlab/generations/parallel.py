"""Tensor parallelism: the part of a network that one of several devices holds, by the model's own plan."""

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from costlab.core.profile import Profile
from costlab.errors import CostlabError

# transformers' styles: colwise cuts the outputs of a linear layer, rowwise its inputs; of an embedding, rowwise cuts
# the vocabulary and colwise the width
OUTPUTS = ("colwise", "colwise_rep", "colwise_gather_output", "packed_colwise", "grouped_gemm", "embedding_rowwise")
INPUTS = ("rowwise", "rowwise_rep", "rowwise_split_input", "packed_rowwise", "embedding_colwise")
SUMMED = ("rowwise", "rowwise_split_input", "moe_tp_experts", "all_reduce", "embedding_rowwise")  # all-reduced outputs
GATHERED = ("colwise_gather_output", "colwise_rep", "embedding_colwise")


Parts = dict[int, tuple[torch.nn.Parameter, torch.nn.Parameter]]  # a parameter and its part, by the id of the first


@dataclass(frozen=True)
class Plan:
    """What each module does in a network that is split over devices."""

    devices: int
    styles: dict[str, str]  # by the path of a module or parameter

    def splits(self, parameter: str) -> bool:
        """Whether a parameter, by its name, is divided among the devices."""
        styles = (self.styles.get(path) for path in (parameter, parameter.rpartition(".")[0]))
        return any(style in OUTPUTS or style in INPUTS for style in styles)

    def reduced_bytes(self, profile: Profile) -> tuple[int, int]:
        """Bytes that are all-reduced or gathered in a step, and by how many calls."""
        sizes: dict[str, int] = {}
        for op in profile.ops:
            if self.styles.get(op.module) in (*SUMMED, *GATHERED) and op.outputs and not op.free:
                sizes[op.module] = op.output.bytes  # the last operator's
        experts = {path for path, style in self.styles.items() if style == "moe_tp_experts"}
        kept = {path: size for path, size in sizes.items() if not any(path.startswith(f"{e}.") for e in experts)}
        return sum(kept.values()), len(kept)


def split(model: torch.nn.Module, config: Any, devices: int) -> Plan:
    """Make a network the part that one of `devices` holds, in place; its parameters have no data.

    Raises CostlabError if the network has no plan, or its heads or widths cannot be divided.
    """
    if devices == 1:
        return Plan(1, {})
    heads = config.num_attention_heads
    for name, count in (
        ("attention heads", heads),
        ("key-value heads", getattr(config, "num_key_value_heads", None) or heads),
    ):
        if count % devices:
            raise CostlabError(f"--tp {devices} does not divide the {count} {name} of {config.model_type}")
    patterns = getattr(model, "tp_plan", None) or {}
    if not patterns:
        raise CostlabError(f"transformers has no tensor-parallel plan for {config.model_type}: leave --tp out")
    styles = dict(planned(model, patterns))
    parts: Parts = {}
    for path, style in styles.items():
        if style in OUTPUTS or style in INPUTS:
            shard(model, path, style, devices, parts)
    return Plan(devices, styles)


def planned(model: torch.nn.Module, patterns: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The modules and parameters that a plan names."""
    for path in (*(p for p, _ in model.named_modules()), *(p for p, _ in model.named_parameters())):
        for pattern, style in patterns.items():
            if len(path.split(".")) == len(pattern.split(".")) and fnmatch.fnmatchcase(path, pattern):
                yield path, style


def shard(model: torch.nn.Module, path: str, style: str, devices: int, parts: Parts) -> None:
    """Cut the weights of one module, or one parameter, to the part of one device."""
    owner_path, _, name = path.rpartition(".")
    owner = model.get_submodule(owner_path)
    outputs = style in OUTPUTS
    if isinstance(getattr(owner, name), torch.nn.Parameter):
        cut(owner, name, -2 if outputs else -1, devices, path, parts)
        return
    module = getattr(owner, name)
    for key, parameter in module._parameters.items():
        if parameter is not None and (outputs or parameter.dim() > 1):  # else a bias, added after the sum
            cut(module, key, 0 if outputs else 1, devices, path, parts)
    if isinstance(module, torch.nn.Embedding):
        module.padding_idx = None
    if style in GATHERED:
        module.register_forward_hook(lambda _, args, output: torch.cat([output] * devices, -1))
    if style == "rowwise_split_input":
        module.register_forward_pre_hook(lambda _, args: (args[0].chunk(devices, -1)[0], *args[1:]))


def cut(module: torch.nn.Module, name: str, dimension: int, devices: int, path: str, parts: Parts) -> None:
    """Replace a parameter by a part of its rows or columns; one that modules share stays shared."""
    parameter = module._parameters[name]
    assert parameter is not None
    known = parts.get(id(parameter))
    if known is None:
        shape = list(parameter.shape)
        if shape[dimension] % devices:
            raise CostlabError(f"--tp {devices} does not divide the width {shape[dimension]} of {path}")
        shape[dimension] //= devices
        part = torch.nn.Parameter(torch.empty(shape, dtype=parameter.dtype, device="meta"), requires_grad=False)
        known = parts[id(parameter)] = parameter, part
    module._parameters[name] = known[1]
