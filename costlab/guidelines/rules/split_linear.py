"""Compute linear layers that read the same values in one product.

**What it does.** Checks for linear layers in one module that read the same tensor: query, key and value of attention,
the gate and the value of a feed-forward block, several heads.

**Why is this bad?** Each reads its input again and is launched by itself, and narrow products fill a device less well
than one wide product. That is why `nn.MultiheadAttention` has one `in_proj_weight`, and inference engines merge query,
key and value (vLLM's `QKVParallelLinear`, TensorRT's horizontal fusion of layers).

**Price.** The input for every layer but the first, and the launches less one.

**Use instead.** One `nn.Linear` with the outputs of all, and `chunk` or `split` of its result, which are views.
"""

from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.guidelines.model import CheckResult, Finding, Fix, Guideline


def parent(op: Op) -> str:
    """The module whose forward reads the tensor."""
    return op.module.rpartition(".")[0]


def split_layers(profile: Profile) -> list[list[Op]]:
    """The linear layers with different weights that read the same tensor in one module."""
    groups: dict[object, dict[int, Op]] = {}
    for op in profile.ops:
        if op.kind == "linear" and not op.free and op.find("input") and op.find("weight"):
            x = op["input"]
            key = (parent(op), x.storage, x.shape, op.after, op.find("bias") is None)
            groups.setdefault(key, {}).setdefault(op["weight"].storage, op)
    return [list(group.values()) for group in groups.values() if len(group) > 1]


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find linear layers that one product could compute."""
    findings = []
    for layers in split_layers(profile):
        x, others = layers[0]["input"], len(layers) - 1
        names = ", ".join(op.module.rpartition(".")[2] for op in layers)
        findings.append(
            Finding(
                module=parent(layers[0]),
                op=layers[0].name,
                message=f"{len(layers)} linear layers read the same tensor: {names}",
                advice="one linear layer, whose result is split",
                excess_memory_access=others * x.elements,
                excess_bytes=others * x.bytes,
                excess_launches=others,
                fix=Fix(merged=(tuple(op.name for op in layers),)),
            )
        )
    return CheckResult(findings)


BAD = {
    "query, key and value": """import torch.nn.functional as F
from torch import nn

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(64, 64) for _ in range(3))

    def forward(self, x):
        return F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))

network = Attention()
inputs = (2, 128, 64)
"""
}
GOOD = {
    "one layer": """import torch.nn.functional as F
from torch import nn

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(64, 192)

    def forward(self, x):
        return F.scaled_dot_product_attention(*self.qkv(x).chunk(3, dim=-1))

network = Attention()
inputs = (2, 128, 64)
"""
}

GUIDELINE = Guideline("X15", "split-linear", __doc__, check, as_run=True, bad=BAD, good=GOOD)
