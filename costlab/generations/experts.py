"""Mixtures of experts: which parameters are experts', and how many experts a batch reaches."""

from dataclasses import dataclass
from typing import Any

import torch

NUMBERS = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")  # in configurations
CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_top_k", "moe_k", "top_k")


@dataclass(frozen=True)
class Experts:
    """The routed experts of a network."""

    number: int  # in each layer
    chosen: int  # for each token
    paths: frozenset[str]  # modules with their parameters
    params: int

    def reached(self, tokens: int) -> float:
        """The expected number of distinct experts of a layer that tokens reach, each choosing at random.

        Each token misses one expert with probability 1 - k/E, all tokens with (1 - k/E)^tokens.
        """
        return self.number * (1 - (1 - self.chosen / self.number) ** tokens)


def experts_of(model: torch.nn.Module, config: Any) -> Experts | None:
    """The routed experts of a network; None if it has none."""
    number = next((n for name in NUMBERS if isinstance(n := getattr(config, name, None), int) and n > 1), None)
    chosen = next((k for name in CHOSEN if isinstance(k := getattr(config, name, None), int) and k > 0), None)
    if number is None or chosen is None:
        return None
    paths = frozenset(path for path, _ in model.named_modules() if "experts" in path.split("."))
    params = {
        id(parameter): parameter.numel()
        for path, module in model.named_modules()
        if path in paths
        for parameter in module._parameters.values()
        if parameter is not None
    }
    return Experts(number, min(chosen, number), paths, sum(params.values())) if params else None
