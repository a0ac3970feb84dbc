"""Know which sizes are guesses.

**Why.** The size of some results depends on values that nobody has without weights and data: which boxes survive,
which rows a mask keeps. The trace goes on as if all were kept, and what follows is an upper estimate.

**What is judged.** The operators that had to guess, not those that rest on them.

**Price.** Unknown.

**Instead.** Nothing is wrong with the network. Read its totals as estimates; for exact ones trace the part before
the guess, or give a fixed number (`topk` in place of a mask).
"""

from __future__ import annotations

from costlab.core.profile import Profile
from costlab.formatting.units import shape
from costlab.guidelines.model import CheckResult, Example, Finding, Guideline


def check(profile: Profile, limit: float | None) -> CheckResult:
    return CheckResult(
        [
            Finding(
                module=op.module,
                op=op.name,
                message=f"{op.kind} was taken to give {shape(op.outputs[0].shape if op.outputs else None)}: a guess",
            )
            for op in profile.ops
            if op.estimated and not any(profile.ops[i].estimated for i in op.after)
        ]
    )


BAD = (
    Example(
        "rows by a mask",
        """from torch import nn

class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        x = self.body(x)
        return self.head(x[x.sum(1) > 0])

network = Masked()
inputs = (8, 16)
""",
    ),
)
GOOD = (
    Example(
        "a fixed number of rows",
        """from torch import nn

class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        x = self.body(x)
        return self.head(x[x.sum(1).topk(4).indices])

network = Masked()
inputs = (8, 16)
""",
    ),
)

GUIDELINE = Guideline("X7", "estimated-operator", __doc__, check, bad=BAD, good=GOOD)
