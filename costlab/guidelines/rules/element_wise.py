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

**Price.** In elements, everything that the operator moves: its part of the share. In seconds, what the advice saves:
the fused operators against the same ones apart, the depthwise convolution on half of its channels, the network
without a normalisation that would fold. An operator that nothing can be fused with has no price in seconds.

**Use instead.** Batch norm right after a convolution folds into it. A compiler (torch.compile) makes one kernel of
element-wise operators that follow each other, and an inference engine (TensorRT, ONNX Runtime, OpenVINO) adds one to
the convolution before it. If nothing can be fused, run it on fewer channels: after the projection of a bottleneck
instead of before it, or on half of the channels, as with ShuffleNet V2's channel split. Leaving out an activation or a
shortcut makes another network, which has to be trained and may be worse: the paper's table says what they cost, not
that they are useless.

**Limit.** Broken if the share is above one half.
"""

import operator
from collections.abc import Mapping

from costlab.core.cost import FAMILY_OF, Cost
from costlab.core.fusion import GROUP, merge_pointwise
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.units import percent, shape
from costlab.guidelines.analysis.layers import describe_layer, layer_shape, resize_fix
from costlab.guidelines.analysis.op_classes import op_class
from costlab.guidelines.model import CheckResult, Finding, Fix, Guideline

CLASSES = ("element-wise", "normalisation", "depthwise")
KINDS = 3  # of fused operators that are named


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find element-wise operators, normalisation and depthwise convolutions."""
    findings, copies, groups = [], 0, fusable(profile)
    for op, cost in zip(profile.ops, profile.costs, strict=True):
        if cost is None or not cost.memory_access or not op.outputs:
            continue
        kind = op_class(op)
        if kind == "copy":
            copies += cost.memory_access
        if kind in CLASSES:
            findings.append(finding(profile, op, cost, kind, groups))
    whole = profile.total.memory_access
    return CheckResult(findings, detail=f"copies: another {percent(copies / whole)}" if copies else "")


def finding(profile: Profile, op: Op, cost: Cost, kind: str, groups: Mapping[str, tuple[Op, ...]]) -> Finding:
    """What an operator moves, and what to do about it."""
    layer = layer_shape(op) if kind == "depthwise" else None
    message = f"{op.kind} on {shape(op.output.shape)} ({kind})"
    if layer:
        half = layer.groups // 2
        each = layer.inputs // layer.groups, layer.outputs // layer.groups
        message = f"depthwise {op.kind} {describe_layer(layer)}"
        advice = "run it on half of the channels: split them, as in ShuffleNet V2, or make the layer before it narrower"
        fix = resize_fix(op, layer, each[0] * half, each[1] * half, half) if half else None
    elif op.name in groups:
        advice, fix = fusion_advice(op, groups[op.name])
    else:
        advice, fix = other_advice(profile, op, kind)
    return Finding(
        module=op.module,
        op=op.name,
        message=message,
        advice=advice,
        excess_memory_access=cost.memory_access,
        excess_bytes=cost.bytes_accessed,
        excess_launches=1,
        fix=fix,
    )


def fusable(profile: Profile) -> dict[str, tuple[Op, ...]]:
    """The groups of operators that a compiler makes one kernel of, by the name of each member; none once it has."""
    ops = {op.name: op for op in profile.ops}
    fused = [op.attrs["fused"] for op in merge_pointwise(profile).ops if op.kind == GROUP]
    groups = [tuple(ops[name] for name in names) for names in fused if all(name in ops for name in names)]
    return {op.name: group for group in groups if len(group) > 1 for op in group}


def fusion_advice(op: Op, group: tuple[Op, ...]) -> tuple[str, Fix | None]:
    """Fuse a group: the last of its operators has the price of all."""
    last = group[-1]
    if op is not last:
        return f"fuse it with the {last.kind} after it (torch.compile does), which has the price of both", None
    kinds = [other.kind for other in group[:-1]]
    more = f" and {len(kinds) - KINDS} more" if len(kinds) > KINDS else ""
    advice = f"fuse it with the {', '.join(kinds[:KINDS])}{more} before it (torch.compile does)"
    return advice, Fix(fused=(tuple(other.name for other in group),))


def other_advice(profile: Profile, op: Op, kind: str) -> tuple[str, Fix | None]:
    """What to do about an operator that no compiler fuses with another element-wise one."""
    producers = [profile.ops[i] for i in op.after if not profile.ops[i].free]
    after_convolution = len(producers) == 1 and FAMILY_OF.get(producers[0].kind) == "convolution"
    if op.kind == "batch_norm":
        return "put it right after a convolution, into which it folds", Fix(removed=(op.name,))
    if kind == "normalisation" and after_convolution:
        return "use batch norm, which folds into the convolution before it", Fix(removed=(op.name,))
    if kind == "normalisation":
        return "normalise fewer channels", None
    if after_convolution and op.kind != GROUP:
        return "let an inference engine add it to the convolution before it, or run it on fewer channels", None
    return "run it on fewer channels", None


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
"""
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
"""
}

GUIDELINE = Guideline(
    "G4", "element-wise", __doc__, check, limit=0.5, breaks=operator.gt, price="moves", bad=BAD, good=GOOD
)
