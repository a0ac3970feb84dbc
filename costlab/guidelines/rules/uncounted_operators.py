"""Give every operator a cost rule.

**What it does.** Checks for operators of kinds that have no cost rule, such as those of your own extensions.

**Why is this bad?** Totals leave out an operator without a cost rule, so they are too low, and every share and verdict
computed from them is in doubt. That is why it is an error.

**Price.** Unknown.

**Use instead.** Write a cost rule, a function from the operator's shapes to its cost (docs/cost-model.md), and pass it
in: `costlab.profile(model, inputs, rules=costlab.RULES | {"mylib::op": rule})`.

**Limit.** Broken by a single such operator.
"""

from costlab.core.profile import Profile
from costlab.guidelines.model import CheckResult, Finding, Guideline


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find operators without a cost rule."""
    findings = [
        Finding(
            module=op.module,
            op=op.name,
            message=f"no cost rule for {op.kind}: the totals leave it out",
            advice="write a cost rule for it",
        )
        for op, cost in zip(profile.ops, profile.costs, strict=True)
        if cost is None
    ]
    return CheckResult(findings, value=len(findings))


BAD = {
    "a Bessel function": """import torch
from torch import nn

class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)

network = Bessel()
inputs = (1, 16)
"""
}
GOOD = {
    "operators with rules": """from torch import nn

network = nn.Sequential(nn.Linear(16, 16), nn.ReLU())
inputs = (1, 16)
"""
}

GUIDELINE = Guideline("X6", "uncounted-operator", __doc__, check, limit=1, severity="error", bad=BAD, good=GOOD)
