"""Keep element-wise operators a small part of the memory access.

**What it does.** Measures the share of element-wise operators, normalisation and depthwise convolutions in the memory
access of all operators, after fusion (by default with batch norm folded). The paper counts depthwise convolutions here
because of their high ratio of memory access to mult-adds. Copies (concatenation, channel shuffle, layout changes) are
shown separately.

**Why is this bad?** Activations, shortcut additions, normalisation and depthwise convolutions do little arithmetic for
each element they move: few mult-adds, much memory access. The paper (ShuffleNet V2, arXiv 1807.11164, section 2,
Table 4) removed the ReLU and the shortcut from ten bottleneck units of ResNet (maps of 56 x 56; batches/s on a
GTX 1080Ti with 32, 64 and 128 channels, images/s on an ARM core with 32):

| ReLU | shortcut | GPU 32 | GPU 64 | GPU 128 | ARM 32 |
| --- | --- | ---: | ---: | ---: | ---: |
| yes | yes | 2427 | 2066 | 1436 | 56.7 |
| yes | no | 2647 | 2256 | 1735 | 61.9 |
| no | yes | 2672 | 2121 | 1458 | 57.3 |
| no | no | 2842 | 2376 | 1782 | 66.3 |

**Price.** Everything that the operator moves: the network moves that much less without it.

**Use instead.** Fuse it into its producer: batch norm folds into a convolution, and a compiler (torch.compile, an
inference engine) fuses activations and additions. If nothing can be fused, run it on fewer channels: after the
projection of a bottleneck instead of before it, or on half of the channels, as with ShuffleNet V2's channel split.
Remove it where it changes little, as in MobileNet V2's linear bottlenecks.

**Limit.** Broken if the share is above one half.
"""

from __future__ import annotations

import operator

from costlab.core.profile import Profile
from costlab.formatting.units import percent, shape
from costlab.guidelines.analysis.layers import describe_layer, layer_shape
from costlab.guidelines.analysis.op_classes import op_class
from costlab.guidelines.model import CheckResult, Guideline, removable

ADVICE = {
    "element-wise": "fuse it into its producer (torch.compile does), or remove it",
    "normalisation": "use batch norm right after a convolution, which folds into it, or normalise fewer channels",
    "depthwise": "run it on fewer channels: split them, or make the layer before it narrower",
}


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find element-wise operators, normalisation and depthwise convolutions."""
    findings, copies = [], 0
    for position, (op, cost) in enumerate(zip(profile.ops, profile.costs, strict=True)):
        if cost is None or not cost.memory_access or not op.outputs:
            continue
        kind = op_class(op)
        if kind == "copy":
            copies += cost.memory_access
        if kind not in ADVICE:
            continue
        layer = layer_shape(op) if kind == "depthwise" else None
        message = f"{op.kind} on {shape(op.output.shape)} ({kind})"
        if layer:
            message = f"depthwise {op.kind} {describe_layer(layer)}"
        findings.append(removable(position, op, cost, message, ADVICE[kind]))
    whole = profile.total.memory_access
    return CheckResult(findings, detail=f"copies: another {percent(copies / whole)}" if copies else "")


BAD = {
    "an activation and a shortcut on many channels": """import torch.nn.functional as F
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.expand = nn.Conv2d(16, 96, 1, bias=False)
        self.norm = nn.BatchNorm2d(96)
        self.depthwise = nn.Conv2d(96, 96, 3, padding=1, groups=96)
        self.project = nn.Conv2d(96, 16, 1)

    def forward(self, x):
        return x + self.project(F.relu(self.depthwise(F.relu(self.norm(self.expand(x))))))

network = Block()
inputs = (1, 16, 56, 56)
""",
}
GOOD = {
    "a batch norm that folds, an activation on few channels": """import torch.nn.functional as F
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.reduce = nn.Conv2d(96, 16, 1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.expand = nn.Conv2d(16, 96, 1)

    def forward(self, x):
        return self.expand(F.relu(self.norm(self.reduce(x))))

network = Block()
inputs = (1, 96, 56, 56)
""",
}

GUIDELINE = Guideline("G4", "element-wise", __doc__, check, limit=0.5, breaks=operator.gt, bad=BAD, good=GOOD)
