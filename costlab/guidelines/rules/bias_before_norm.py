"""Leave out the bias of a layer that a batch norm follows.

**What it does.** Checks for convolutions and linear layers with a bias whose only reader is a batch norm.

**Why is this bad?** Batch norm subtracts the mean of each channel, and the bias with it (Ioffe and Szegedy, arXiv
1502.03167, section 3.2): it is stored, read, trained and kept by the optimizer without any effect. On a GPU a
convolution adds it in a kernel of its own.

**Price.** The elements of the bias. In seconds, the network without it: on a GPU also without the kernel that adds it.

**Use instead.** `nn.Conv2d(..., bias=False)`. In a trained network, subtract the bias from the running mean first.
"""

from dataclasses import replace

from costlab.core.cost import FAMILY_OF
from costlab.core.profile import Profile
from costlab.guidelines.model import CheckResult, Finding, Fix, Guideline


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find layers with a bias before a batch norm."""
    readers: dict[int, list[int]] = {}
    for position, op in enumerate(profile.ops):
        for before in op.after:
            readers.setdefault(before, []).append(position)
    findings = []
    for position, op in enumerate(profile.ops):
        bias = op.find("bias")
        following = [profile.ops[i] for i in readers.get(position, [])]
        layer = FAMILY_OF.get(op.kind) == "convolution" or op.kind == "linear"
        if not layer or bias is None or op.free or [other.kind for other in following] != ["batch_norm"]:
            continue
        if op.output.storage in profile.trace.outputs or "fused" in op.attrs:
            continue
        findings.append(
            Finding(
                module=op.module,
                op=op.name,
                message=f"{op.kind} has a bias of {bias.elements} elements, which the batch norm after it subtracts",
                advice="bias=False",
                excess_memory_access=bias.elements,
                excess_bytes=bias.bytes,
                excess_launches=0,
                fix=Fix(replaced={op.name: replace(op, inputs=tuple(t for t in op.inputs if t.name != "bias"))}),
            )
        )
    return CheckResult(findings)


BAD = {
    "a convolution with a bias": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU())
inputs = (1, 3, 32, 32)
"""
}
GOOD = {
    "without": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 32, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU())
inputs = (1, 3, 32, 32)
""",
    "no batch norm after it": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.BatchNorm2d(32))
inputs = (1, 3, 32, 32)
""",
}

GUIDELINE = Guideline("X12", "bias-before-norm", __doc__, check, as_run=True, bad=BAD, good=GOOD)
