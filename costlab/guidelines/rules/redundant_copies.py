"""Do not copy a tensor only to change its layout.

**What it does.** Checks operators that copy a tensor without changing an element, the dtype or the number of elements:
`contiguous`, `clone`, and `reshape`, `flatten`, `view` or `to` if they cannot return a view.

**Why is this bad?** `permute` and `transpose` are free: they return views. A `contiguous`, `reshape` or `flatten` of
the permuted tensor then reads and writes every element and computes nothing.

**Price.** What the copy moves, and its launch.

**Use instead.** Keep one layout through the network (channels-last for convolutions next to layer norms), let the next
operator read the view, or apply the permutation to the weights of neighbouring layers. Remove a `clone` whose result is
never modified. A channel shuffle needs its copy, so use fewer shuffles.
"""

from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.units import shape
from costlab.guidelines.model import CheckResult, Guideline, removable

COPIES = ("contiguous", "clone", "reshape", "view", "flatten", "unflatten", "to", "ravel", "reshape_as", "view_as")


def only_copies(op: Op) -> bool:
    """Whether an operator copies a tensor and does nothing else."""
    if op.free or op.kind not in COPIES or not op.inputs or len(op.outputs) != 1:
        return False
    source, result = op.inputs[0], op.output
    return (source.numel, source.elements, source.dtype) == (result.numel, result.elements, result.dtype)


def views_before(profile: Profile, op: Op) -> str:
    """The kinds of the views between an operator and the computed tensor, in order; "" if it reads that directly."""
    kinds: list[str] = []
    while op.after and profile.ops[op.after[-1]].free:
        op = profile.ops[op.after[-1]]
        kinds.append(op.kind)
    return ", ".join(reversed(kinds))


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find copies that compute nothing."""
    findings = []
    for op, cost in zip(profile.ops, profile.costs, strict=True):
        if cost is None or not cost.memory_access or not only_copies(op):
            continue
        views = views_before(profile, op)
        message = f"{op.kind} copies {shape(op.output.shape)}" + (f" after {views}" if views else "")
        advice = "keep one layout, or let the next operator read the view" if views else "remove the copy"
        findings.append(removable(op, cost, message, advice))
    return CheckResult(findings)


BAD = {
    "permute, then contiguous": """from torch import nn

class Permuted(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, padding=1)
        self.norm = nn.LayerNorm(32)

    def forward(self, x):
        return self.norm(self.conv(x).permute(0, 2, 3, 1).contiguous())

network = Permuted()
inputs = (1, 3, 32, 32)
"""
}
GOOD = {
    "the layer norm reads the view": """from torch import nn

class Permuted(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, padding=1)
        self.norm = nn.LayerNorm(32)

    def forward(self, x):
        return self.norm(self.conv(x).permute(0, 2, 3, 1))

network = Permuted()
inputs = (1, 3, 32, 32)
"""
}

GUIDELINE = Guideline("X1", "redundant-copy", __doc__, check, bad=BAD, good=GOOD)
