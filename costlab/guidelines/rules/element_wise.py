"""Do not let element-wise operators move most of the data.

**Why.** Activations, additions of shortcuts, normalisation and depthwise convolutions do hardly any arithmetic for
each element that they move: they cost few mult-adds and much memory access. ShuffleNet V2 (arXiv 1807.11164,
section 2, Table 4) took the ReLU and the shortcut out of ten bottleneck units of ResNet (56 x 56, batches a second
on a GTX 1080Ti, images a second on an ARM core at 32 channels):

| ReLU | shortcut | GPU 32 | GPU 64 | GPU 128 | ARM 32 |
| --- | --- | ---: | ---: | ---: | ---: |
| yes | yes | 2427 | 2066 | 1436 | 56.7 |
| yes | no | 2647 | 2256 | 1735 | 61.9 |
| no | yes | 2672 | 2121 | 1458 | 57.3 |
| no | no | 2842 | 2376 | 1782 | 66.3 |

**What is judged.** The share of element-wise operators, normalisation and depthwise convolutions in the memory
access of all operators, after fusion (batch norm folded unless told otherwise). The paper counts depthwise
convolution here for its high ratio of memory access to mult-adds. Copies (concatenation, channel shuffle, layout
changes) are a class of their own, printed beside it.

**Price.** What the operator moves, all of it: so much less the network moves without it.

**Instead.** Have it run with the operator that makes its input: batch norm folds into a convolution, a compiler
(torch.compile, an inference engine) joins activations and additions. Where nothing can be joined, run it on fewer
channels: after the projection of a bottleneck and not before it, on one half of the channels as ShuffleNet V2's
channel split does. Leave it out where it does little, as MobileNet V2's linear bottlenecks do.

**Broken** where the share is above one half.
"""

from __future__ import annotations

import operator

from costlab.core.profile import Profile
from costlab.formatting.units import percent, shape
from costlab.guidelines.analysis.layers import layer_of, place_text
from costlab.guidelines.analysis.op_classes import op_class
from costlab.guidelines.model import CheckResult, Example, Finding, Fix, Guideline

ADVICE = {
    "element-wise": "join it with the operator that makes its input (a compiler does), or leave it out",
    "normalisation": "use batch norm right after a convolution, which folds into it, or normalise fewer channels",
    "depthwise": "run it on fewer channels: split them, or narrow the layer before it",
}


def check(profile: Profile, limit: float | None) -> CheckResult:
    findings, copies = [], 0
    for position, (op, cost) in enumerate(zip(profile.ops, profile.costs, strict=True)):
        if cost is None or not cost.memory_access or not op.outputs:
            continue
        kind = op_class(op)
        if kind == "copy":
            copies += cost.memory_access
        if kind not in ADVICE:
            continue
        layer = layer_of(op) if kind == "depthwise" else None
        what = f"{op.kind} {place_text(layer)}" if layer else f"{op.kind} on {shape(op.output.shape)}"
        findings.append(
            Finding(
                module=op.module,
                op=op.name,
                message=f"{what} ({kind})" if kind != "depthwise" else f"depthwise {what}",
                advice=ADVICE[kind],
                excess_memory_access=cost.memory_access,
                excess_bytes=cost.bytes_accessed,
                excess_launches=1,
                fix=Fix(removed=(position,)),
            )
        )
    whole = profile.total.memory_access
    return CheckResult(findings, detail=f"copies: another {percent(copies / whole)}" if copies else "")


BAD = (
    Example(
        "an activation and a shortcut on thick maps",
        """import torch.nn.functional as F
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
    ),
)
GOOD = (
    Example(
        "batch norm that folds, an activation on the thin side",
        """import torch.nn.functional as F
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
    ),
)

GUIDELINE = Guideline("G4", "element-wise", __doc__, check, limit=0.5, breaks=operator.gt, bad=BAD, good=GOOD)
