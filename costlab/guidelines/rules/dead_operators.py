"""Do not compute what nobody reads.

**Why.** An eager framework runs every operator it is told to, whether or not its result goes anywhere: an auxiliary
output that inference drops, a statistic for a log, attention weights that were asked for and thrown away.

**What is judged.** Operators from which nothing leads to what the model returns, to something it writes in place (a
buffer, an input), or to a value that Python looks at.

**Price.** What the operator moves, and its launch.

**Instead.** Do not compute it when it is not asked for.
"""

from __future__ import annotations

from costlab.core.profile import Profile
from costlab.formatting.units import shape
from costlab.guidelines.model import CheckResult, Example, Finding, Fix, Guideline


def dead(profile: Profile) -> list[int]:
    """Positions of operators that could go without anybody noticing; views are left out."""
    returned = set(profile.trace.outputs)
    needed: set[int] = set()
    for position in range(len(profile.ops) - 1, -1, -1):
        op = profile.ops[position]
        lasts = not op.outputs or any(t.role != "activation" or t.storage in returned for t in op.outputs)
        if (lasts and not op.free) or position in needed:
            needed.add(position)
            needed.update(op.after)
    return [position for position, op in enumerate(profile.ops) if position not in needed and not op.free]


def check(profile: Profile, limit: float | None) -> CheckResult:
    findings = []
    for position in dead(profile):
        op, cost = profile.ops[position], profile.costs[position]
        findings.append(
            Finding(
                module=op.module,
                op=op.name,
                message=f"nobody reads the result of {op.kind} on {shape(op.output.shape)}",
                advice="leave it out",
                excess_memory_access=cost.memory_access if cost else None,
                excess_bytes=cost.bytes_accessed if cost else None,
                excess_launches=1,
                fix=Fix(removed=(position,)) if cost else None,
            )
        )
    return CheckResult(findings)


BAD = (
    Example(
        "an auxiliary output that is dropped",
        """from torch import nn

class Auxiliary(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head, self.auxiliary = nn.Linear(16, 16), nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x):
        x = self.body(x)
        auxiliary = self.auxiliary(x).softmax(1)
        return self.head(x)

network = Auxiliary()
inputs = (1, 16)
""",
    ),
)
GOOD = (
    Example(
        "what is computed is returned",
        """from torch import nn

class Auxiliary(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head, self.auxiliary = nn.Linear(16, 16), nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x):
        x = self.body(x)
        return self.head(x), self.auxiliary(x).softmax(1)

network = Auxiliary()
inputs = (1, 16)
""",
    ),
)

GUIDELINE = Guideline("X5", "dead-operator", __doc__, check, bad=BAD, good=GOOD)
