"""Fold batch norm into the convolution before it when the network is deployed.

**Why.** At inference a batch norm is a fixed scale and shift of each channel. Folded into the weight and the bias of
the convolution it costs nothing; left as it is, it reads and writes the whole map again.

**What is judged.** Batch norms with fixed statistics right after a convolution, the network as it was traced: nobody
else reads what the convolution writes, and the weight is not shared with a convolution that another norm follows.

**Price.** What the batch norm moves, less the bias that the convolution reads instead; and its launch.

**Instead.** `torch.nn.utils.fuse_conv_bn_eval(conv, norm)`, or a compiler that does so. Guidelines G1 to G4 take it
for done, so that a network is not blamed twice.
"""

from __future__ import annotations

from costlab.core.cost import total
from costlab.core.fusion import folds
from costlab.core.profile import Profile
from costlab.formatting.units import shape
from costlab.guidelines.model import CheckResult, Example, Finding, Fix, Guideline


def check(profile: Profile, limit: float | None) -> CheckResult:
    findings = []
    for fold in folds(profile):
        norm = profile.ops[fold.members[1]]
        apart = total(cost for m in fold.members if (cost := profile.costs[m]) is not None)
        findings.append(
            Finding(
                module=norm.module,
                op=norm.name,
                message=f"{norm.kind} on {shape(norm.output.shape)} can be folded into the convolution before it",
                advice="fold it for inference (torch.nn.utils.fuse_conv_bn_eval)",
                excess_memory_access=apart.memory_access - fold.cost.memory_access,
                excess_bytes=apart.bytes_accessed - fold.cost.bytes_accessed,
                excess_launches=len(fold.members) - 1,
                fix=Fix(removed=fold.members[1:], replaced={fold.host: fold.op}),
            )
        )
    return CheckResult(findings)


BAD = (
    Example(
        "convolution, batch norm",
        """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 32, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU())
inputs = (1, 3, 32, 32)
""",
    ),
)
GOOD = (
    Example(
        "the same, folded",
        """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU())
inputs = (1, 3, 32, 32)
""",
    ),
    Example(
        "nothing to fold into: something else reads the convolution, too",
        """from torch import nn

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
    ),
)

GUIDELINE = Guideline("X3", "unfolded-batch-norm", __doc__, check, as_traced=True, bad=BAD, good=GOOD)
