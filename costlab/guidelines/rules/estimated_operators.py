"""Know which sizes are estimates.

**What it does.** Lists operators whose output size had to be estimated. Operators that only depend on them are not
listed.

**Why is this bad?** The size of some results depends on values, which are unknown without weights and data: how many
boxes survive, how many rows a mask keeps. The trace assumes that all of them do, so everything after is an upper
estimate.

**Price.** Unknown.

**Use instead.** Nothing is wrong with the network: read its totals as estimates. For exact totals, profile the part
before the estimate, or fix the number of results (`topk` in place of a mask).
"""

from costlab.core.profile import Profile
from costlab.formatting.units import shape
from costlab.guidelines.model import CheckResult, Finding, Guideline


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find the operators at which estimates begin."""
    findings = [
        Finding(
            module=op.module,
            op=op.name,
            message=f"the size of {op.kind} is an estimate: {shape(op.outputs[0].shape if op.outputs else None)}",
        )
        for op in profile.ops
        if op.estimated and not any(profile.ops[i].estimated for i in op.after)
    ]
    return CheckResult(findings)


BAD = {
    "rows selected by a mask": """from torch import nn

class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        x = self.body(x)
        return self.head(x[x.sum(1) > 0])

network = Masked()
inputs = (8, 16)
"""
}
GOOD = {
    "a fixed number of rows": """from torch import nn

class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        x = self.body(x)
        return self.head(x[x.sum(1).topk(4).indices])

network = Masked()
inputs = (8, 16)
"""
}

GUIDELINE = Guideline("X7", "estimated-operator", __doc__, check, bad=BAD, good=GOOD)
