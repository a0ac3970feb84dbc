"""Give every operator a cost rule.

**Why.** Totals leave out an operator without a rule: they are too low, and every share and verdict that rests on
them is in doubt. That is an error, not a note.

**What is judged.** Operators of kinds that no cost rule knows, such as those of your own extensions.

**Price.** Unknown, which is the point.

**Instead.** Write a rule, a function from the operator's shapes to its cost (docs/cost-model.md), and hand it in:
`costlab.profile(model, inputs, rules=costlab.RULES | {"mylib::op": rule})`.

**Broken** by one such operator.
"""

from __future__ import annotations

from costlab.core.profile import Profile
from costlab.guidelines.model import CheckResult, Example, Finding, Guideline


def check(profile: Profile, limit: float | None) -> CheckResult:
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


BAD = (
    Example(
        "a Bessel function",
        """import torch
from torch import nn

class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)

network = Bessel()
inputs = (1, 16)
""",
    ),
)
GOOD = (
    Example(
        "operators with rules",
        """from torch import nn

network = nn.Sequential(nn.Linear(16, 16), nn.ReLU())
inputs = (1, 16)
""",
    ),
)

GUIDELINE = Guideline("X6", "uncounted-operator", __doc__, check, limit=1, severity="error", bad=BAD, good=GOOD)
