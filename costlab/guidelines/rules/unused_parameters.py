"""Remove parameters that no forward pass reads.

**Why.** They take memory, time to load and room on disk, and in distributed training they stall or break the
exchange of gradients. Often they are a leftover: a head that was replaced, a branch that eval mode never takes.

**What is judged.** Parameters that no operator of the traced forward pass reads, module by module.

**Price.** No traffic: 0 elements, 0 bytes, 0 launches. The message says how many parameters it is about.

**Instead.** Delete the module; or, where only training needs it, build the network without it for inference.
"""

from __future__ import annotations

from costlab.core.profile import Profile
from costlab.formatting.units import exact, size
from costlab.guidelines.model import CheckResult, Example, Finding, Guideline


def check(profile: Profile, limit: float | None) -> CheckResult:
    unused = [m for m in profile.trace.modules if m.unused_params]
    unused.sort(key=lambda module: -module.unused_params)
    return CheckResult(
        [
            Finding(
                module=module.path,
                op="",
                message=f"{exact(module.unused_params)} parameters ({size(module.unused_param_bytes)}) are never read",
                advice="remove them, or leave them out for inference",
                excess_memory_access=0,
                excess_bytes=0,
                excess_launches=0,
            )
            for module in unused
        ]
    )


BAD = (
    Example(
        "a head that nobody calls",
        """from torch import nn

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
    ),
)
GOOD = (
    Example(
        "one head",
        """from torch import nn

network = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 4))
inputs = (1, 16)
""",
    ),
)

GUIDELINE = Guideline("X4", "unused-parameters", __doc__, check, bad=BAD, good=GOOD)
