"""Do not copy a tensor only to change its layout.

**Why.** `permute` and `transpose` are free: they are views. `contiguous`, and `reshape` or `flatten` of a permuted
tensor, then move every element to another place, a read and a write each, and compute nothing.

**What is judged.** Operators that copy a tensor without changing an element, its dtype or their number:
`contiguous`, `clone`, and `reshape`, `flatten`, `view` or `to` where they cannot be views.

**Price.** What the copy moves, and its launch.

**Instead.** Keep one layout through the network (channels last for convolutions beside layer norms), let the next
operator read the view, or put the permutation into the weights of the layers around it. A `clone` that nobody
changes can go. A channel shuffle needs its copy: fewer shuffles are the way there.
"""

from __future__ import annotations

from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.units import shape
from costlab.guidelines.model import CheckResult, Example, Finding, Fix, Guideline

LAYOUT = ("contiguous", "clone", "reshape", "view", "flatten", "unflatten", "to", "ravel", "reshape_as", "view_as")


def only_moves(op: Op) -> bool:
    """Whether an operator copies one tensor to another place and nothing else."""
    if op.free or op.kind not in LAYOUT or not op.inputs or len(op.outputs) != 1:
        return False
    source, result = op.inputs[0], op.output
    return (source.numel, source.elements, source.dtype) == (result.numel, result.elements, result.dtype)


def permuted_by(profile: Profile, op: Op) -> str:
    """The kinds of the views that lead to an operator, first to last; "" where it reads what was computed."""
    kinds: list[str] = []
    while op.after and profile.ops[op.after[-1]].free:
        op = profile.ops[op.after[-1]]
        kinds.append(op.kind)
    return ", ".join(reversed(kinds))


def check(profile: Profile, limit: float | None) -> CheckResult:
    findings = []
    for position, (op, cost) in enumerate(zip(profile.ops, profile.costs, strict=True)):
        if cost is None or not cost.memory_access or not only_moves(op):
            continue
        views = permuted_by(profile, op)
        findings.append(
            Finding(
                module=op.module,
                op=op.name,
                message=f"{op.kind} copies {shape(op.output.shape)}" + (f" after {views}" if views else ""),
                advice="keep one layout, or let the next operator read the view" if views else "leave the copy out",
                excess_memory_access=cost.memory_access,
                excess_bytes=cost.bytes_accessed,
                excess_launches=1,
                fix=Fix(removed=(position,)),
            )
        )
    return CheckResult(findings)


BAD = (
    Example(
        "permute, then contiguous",
        """from torch import nn

class Permuted(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, padding=1)
        self.norm = nn.LayerNorm(32)

    def forward(self, x):
        return self.norm(self.conv(x).permute(0, 2, 3, 1).contiguous())

network = Permuted()
inputs = (1, 3, 32, 32)
""",
    ),
)
GOOD = (
    Example(
        "the norm reads the view",
        """from torch import nn

class Permuted(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, padding=1)
        self.norm = nn.LayerNorm(32)

    def forward(self, x):
        return self.norm(self.conv(x).permute(0, 2, 3, 1))

network = Permuted()
inputs = (1, 3, 32, 32)
""",
    ),
)

GUIDELINE = Guideline("X1", "redundant-copy", __doc__, check, bad=BAD, good=GOOD)
