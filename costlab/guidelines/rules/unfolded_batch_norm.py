"""Fold batch norm into the convolution before it when you deploy a network.

**What it does.** Checks batch norms with fixed statistics right after a convolution, in the network as it runs. Skips
them if another operator reads the convolution's output, or if its weight is shared with a convolution that another
batch norm follows.

**Why is this bad?** At inference, a batch norm is a fixed scale and shift of each channel. Folded into the weight and
the bias of the convolution it costs nothing; unfolded, it reads and writes the whole map again.

**Price.** What the batch norm moves, less the bias that the convolution reads instead; and its launch.

**Use instead.** `torch.nn.utils.fuse_conv_bn_eval(conv, norm)`, or a compiler that folds batch norms. `costlab lint
MODEL --fix fold.py` writes Python that folds all of them: `from fold import fold; fold(model.eval())`. By default,
guidelines G1 to G4 check the network with batch norm folded, so it is reported only here.
"""

from costlab.core.cost import total
from costlab.core.fusion import folds
from costlab.core.profile import Profile
from costlab.formatting.units import shape
from costlab.guidelines.model import CheckResult, Finding, Fix, Guideline


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find batch norms that can be folded."""
    findings = []
    for fold in folds(profile):
        norm = profile.ops[fold.members[1]]
        unfolded = total(cost for m in fold.members if (cost := profile.costs[m]) is not None)
        findings.append(
            Finding(
                module=norm.module,
                op=norm.name,
                message=f"{norm.kind} on {shape(norm.output.shape)} can be folded into the convolution before it",
                advice="fold it for inference (torch.nn.utils.fuse_conv_bn_eval)",
                excess_memory_access=unfolded.memory_access - fold.cost.memory_access,
                excess_bytes=unfolded.bytes_accessed - fold.cost.bytes_accessed,
                excess_launches=len(fold.members) - 1,
                fix=Fix(fused=(tuple(profile.ops[m].name for m in fold.members),)),
            )
        )
    return CheckResult(findings)


BAD = {
    "a convolution, then a batch norm": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 32, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU())
inputs = (1, 3, 32, 32)
"""
}
GOOD = {
    "the same, folded": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU())
inputs = (1, 3, 32, 32)
""",
    "cannot be folded: another operator reads the convolution's output": """from torch import nn

class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, bias=False)
        self.norm = nn.BatchNorm2d(32)

    def forward(self, x):
        x = self.conv(x)
        return x + self.norm(x)

network = Both()
inputs = (1, 3, 32, 32)
""",
}

GUIDELINE = Guideline("X3", "unfolded-batch-norm", __doc__, check, as_run=True, bad=BAD, good=GOOD)
