"""Do not compute results that nothing reads.

**What it does.** Checks for operators from which no path leads to an output of the model, to a tensor that is written
in place (a buffer, an input), or to a value that Python code reads.

**Why is this bad?** Eager mode runs every operator, whether or not its result is used: an auxiliary output that
inference drops, a statistic for a log, attention weights that are requested and thrown away.

**Price.** What the operator moves, and its launch.

**Use instead.** Compute it only when it is requested.
"""

from costlab.core.profile import Profile
from costlab.formatting.units import shape
from costlab.guidelines.model import CheckResult, Finding, Guideline, removable


def dead_positions(profile: Profile) -> list[int]:
    """Positions of operators that can be removed without changing the outputs; views are left out."""
    returned = set(profile.trace.outputs)
    needed: set[int] = set()
    for position in range(len(profile.ops) - 1, -1, -1):
        op = profile.ops[position]
        has_effect = not op.outputs or any(t.role != "activation" or t.storage in returned for t in op.outputs)
        if (has_effect and not op.free) or position in needed:
            needed.add(position)
            needed.update(op.after)
    return [position for position, op in enumerate(profile.ops) if position not in needed and not op.free]


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find operators whose results are never used."""
    findings = []
    for position in dead_positions(profile):
        op, cost = profile.ops[position], profile.costs[position]
        message, advice = f"nothing reads the result of {op.kind} on {shape(op.output.shape)}", "remove it"
        if cost:
            findings.append(removable(op, cost, message, advice))
        else:
            findings.append(Finding(module=op.module, op=op.name, message=message, advice=advice, excess_launches=1))
    return CheckResult(findings)


BAD = {
    "an auxiliary output that is dropped": """from torch import nn

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
"""
}
GOOD = {
    "everything computed is returned": """from torch import nn

class Auxiliary(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head, self.auxiliary = nn.Linear(16, 16), nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x):
        x = self.body(x)
        return self.head(x), self.auxiliary(x).softmax(1)

network = Auxiliary()
inputs = (1, 16)
"""
}

GUIDELINE = Guideline("X5", "dead-operator", __doc__, check, bad=BAD, good=GOOD)
