"""Keep a half-precision network in half precision.

**What it does.** In a network that computes most mult-adds in float16 or bfloat16, checks for groups of operators that
write activations in float32 or float64.

**Why is this bad?** Wider values move twice the bytes or more, a conversion reads and writes them again at each end,
and matrix units run at half the speed or not at all (NVIDIA, Train With Mixed Precision). Often the island is an
accident: a float32 constant, `torch.arange` without a dtype, a norm or a mask in the wrong type.

**Price.** Unknown in elements: as many move, only wider. In bytes, half of what the island writes and reads in wide
types; in seconds, the network with the island in half precision and without the conversions into it.

**Use instead.** Give constants the dtype of the activations (`x.new_tensor`, `dtype=x.dtype`). Keep wide what needs it:
long sums, softmax of large logits, losses.
"""

from collections.abc import Iterator
from dataclasses import replace

from costlab.core.graph import Op, Tensor
from costlab.core.profile import Profile
from costlab.guidelines.model import CheckResult, Finding, Fix, Guideline
from costlab.latency.ceilings import main_dtype

HALVES = ("float16", "bfloat16")
WIDE = ("float32", "float64")
CONVERSIONS = ("to", "type_as", "float")
KINDS = 3  # that are named


def is_wide(tensor: Tensor) -> bool:
    """Whether a tensor is an activation in a wide type; scalars do not count."""
    return tensor.dtype in WIDE and tensor.role == "activation" and tensor.numel > 1


def islands(profile: Profile) -> Iterator[list[int]]:
    """Connected groups of operators that write wide activations, in the order of their first operator."""
    group: dict[int, list[int]] = {}
    for position, op in enumerate(profile.ops):
        if not any(map(is_wide, op.outputs)):
            continue
        members = [position]
        for other in {id(group[i]): group[i] for i in op.after if i in group}.values():
            members = sorted([*other, *members])
        for member in members:
            group[member] = members
    yield from {id(members): members for _, members in sorted(group.items())}.values()


def narrowed(op: Op, half: str) -> Op:
    """The operator with its wide activations in half precision."""

    def narrow(tensor: Tensor) -> Tensor:
        return tensor._replace(dtype=half) if is_wide(tensor) else tensor

    return replace(op, inputs=tuple(map(narrow, op.inputs)), outputs=tuple(map(narrow, op.outputs)))


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find islands of wide types."""
    half = main_dtype(profile)
    if half not in HALVES:
        return CheckResult([])
    findings = []
    for members in islands(profile):
        ops = [profile.ops[m] for m in members if not profile.ops[m].free]
        if not ops:
            continue
        into = [op for op in ops if op.inputs and op.inputs[0].dtype in HALVES and op.kind in CONVERSIONS]
        wide = sum(t.bytes for op in ops for t in (*op.inputs, *op.outputs) if is_wide(t))
        kinds = list(dict.fromkeys(op.kind for op in ops if op not in into))
        named = ", ".join(kinds[:KINDS]) + (f" and {len(kinds) - KINDS} more" if len(kinds) > KINDS else "")
        written = ops[0].output.dtype
        findings.append(
            Finding(
                module=ops[0].module,
                op=ops[0].name,
                message=f"{len(ops)} operators in {written} in a {half} network: {named or 'a conversion'}",
                advice=f"give them {half} inputs, if their range allows it",
                excess_bytes=wide // 2,
                excess_launches=len(into),
                fix=Fix(
                    removed=tuple(op.name for op in into),
                    replaced={op.name: narrowed(op, half) for op in ops if op not in into},
                ),
            )
        )
    return CheckResult(findings)


BAD = {
    "an activation in float32": """import torch
from torch import nn

class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(256, 256), nn.Linear(256, 256)

    def forward(self, x):
        x = self.first(x)
        x = (x.float().sigmoid() * 2).to(x.dtype)
        return self.second(x)

network = Gated().half()
inputs = torch.zeros(64, 256, dtype=torch.float16)
"""
}
GOOD = {
    "the same in float16": """import torch
from torch import nn

class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(256, 256), nn.Linear(256, 256)

    def forward(self, x):
        x = self.first(x)
        return self.second(x.sigmoid() * 2)

network = Gated().half()
inputs = torch.zeros(64, 256, dtype=torch.float16)
""",
    "a float32 network": """from torch import nn

network = nn.Sequential(nn.Linear(16, 16), nn.ReLU())
inputs = (4, 16)
""",
}

GUIDELINE = Guideline("X11", "wide-island", __doc__, check, as_run=True, bad=BAD, good=GOOD)
