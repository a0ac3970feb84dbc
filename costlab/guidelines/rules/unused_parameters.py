"""Remove parameters that the forward pass never reads.

**What it does.** Checks, module by module, for parameters that no operator of the traced forward pass reads.

**Why is this bad?** They take memory, loading time and disk space, and in distributed training they stall or break the
gradient exchange. Often they are left over: a head that was replaced, or a branch that eval mode never takes.

**Price.** No traffic: 0 elements, 0 bytes, 0 launches. The message says how many parameters are unused.

**Use instead.** Delete the module. If only training needs it, build the network without it for inference.
"""

from __future__ import annotations

from costlab.core.profile import Profile
from costlab.formatting.units import exact, size
from costlab.guidelines.model import CheckResult, Finding, Guideline


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find modules with unused parameters, most parameters first."""
    unused = [m for m in profile.trace.modules if m.unused_params]
    findings = [
        Finding(
            module=module.path,
            message=f"{exact(module.unused_params)} parameters ({size(module.unused_param_bytes)}) are never read",
            advice="remove them, or build the network without them for inference",
            excess_memory_access=0,
            excess_bytes=0,
            excess_launches=0,
        )
        for module in sorted(unused, key=lambda module: -module.unused_params)
    ]
    return CheckResult(findings)


BAD = {
    "a head that is never called": """from torch import nn

class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(16, 16)
        self.head = nn.Linear(16, 4)
        self.old_head = nn.Linear(16, 1000)

    def forward(self, x):
        return self.head(self.body(x))

network = TwoHeads()
inputs = (1, 16)
""",
}
GOOD = {
    "one head": """from torch import nn

network = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 4))
inputs = (1, 16)
""",
}

GUIDELINE = Guideline("X4", "unused-parameters", __doc__, check, bad=BAD, good=GOOD)
