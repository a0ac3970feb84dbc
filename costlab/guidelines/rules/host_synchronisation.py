"""Do not make the CPU wait for the device in forward.

**What it does.** Checks for operators whose result Python has to see before it can go on: `item()`, `tolist()`,
`bool()` and `int()` of a tensor, `nonzero`, `unique`, `masked_select`, and indexing with a boolean mask, whose result
has as many elements as the mask has ones. The message has the line.

**Why is this bad?** On a GPU the CPU launches kernels ahead of the device. Each of these operators makes it wait until
the device has finished everything so far, and the device then waits for new kernels (PyTorch Performance Tuning Guide,
"Avoid unnecessary CPU-GPU synchronization"). CUDA graphs cannot capture them, and torch.compile breaks its graph there.

**Price.** Unknown: it depends on how far ahead the CPU is.

**Use instead.** `torch.where` or a product with the mask in place of boolean indexing and of branches on a value; keep
counts and lengths on the CPU from the start; read results after forward.
"""

import re

from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.guidelines.model import CheckResult, Finding, Guideline

READS = {"item": "Python reads a value"}
SIZED = ("nonzero", "unique", "unique_consecutive", "masked_select")
FOLDERS = re.compile(r"[\\/]")


def reason(op: Op) -> str | None:
    """Why an operator makes the CPU wait; None if it does not."""
    if op.kind in READS:
        return READS[op.kind]
    if op.kind in SIZED:
        return "the size of its result depends on values"
    if op.kind == "index" and any(t.dtype in ("bool", "uint8") for t in op.each("indices")):
        return "the size of its result depends on the mask"
    return None


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find lines that make the CPU wait: one finding for each, however often it runs."""
    lines: dict[object, list[tuple[Op, str]]] = {}
    for op in profile.ops:
        why = None if op.free else reason(op)
        if why is not None:
            lines.setdefault((op.module, op.kind, op.source), []).append((op, why))
    return CheckResult([finding(*found[0], len(found)) for found in lines.values()], value=len(lines))


def finding(op: Op, why: str, times: int) -> Finding:
    """A line that makes the CPU wait."""
    line = f" ({FOLDERS.split(op.source.file)[-1]}:{op.source.line})" if op.source else ""
    often = f", {times} times" if times > 1 else ""
    return Finding(
        module=op.module,
        op=op.name,
        message=f"{op.kind} makes the CPU wait for the device{often}: {why}{line}",
        advice="use torch.where or a product with the mask, or read the value after forward",
    )


BAD = {
    "boolean indexing and a branch on a value": """from torch import nn

class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x):
        x = self.layer(x)
        if x.sum().item() > 0:
            x = x * 2
        return x[x > 0].sum()

network = Masked()
inputs = (4, 16)
"""
}
GOOD = {
    "the same with torch.where": """import torch
from torch import nn

class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x):
        x = self.layer(x)
        x = torch.where(x.sum() > 0, x * 2, x)
        return torch.where(x > 0, x, 0).sum()

network = Masked()
inputs = (4, 16)
"""
}

GUIDELINE = Guideline("X8", "host-synchronisation", __doc__, check, as_run=True, bad=BAD, good=GOOD)
