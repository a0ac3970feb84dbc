"""Use no more groups in a convolution than you need.

**What it does.** Checks convolutions with more than one group, of any kernel size and stride. Skips depthwise
convolutions, where groups = input channels (see G4).

**Why is this bad?** Groups look cheap because they divide mult-adds, but the channels that they pay for cost traffic.
With the same input and the same B mult-adds, a 1x1 convolution in g groups has g times as many output channels as a
dense one, c2 = B g / (h w c1), and moves

    MAC = h w (c1 + c2) + c1 c2 / g  =  h w c1 + B g / c1 + B / (h w)

elements (ShuffleNet V2, arXiv 1807.11164, equation 2), which grows with g. The paper measured ten grouped 1x1
convolutions with mult-adds equal within 1.1 % (Table 2; maps of 56 x 56; batches/s on a GTX 1080Ti, images/s on an ARM
core with 64, 90, 128 and 180 channels):

| groups | channels (GPU) | MAC (GPU) | GPU x1 | ARM x1 |
| ---: | ---: | ---: | ---: | ---: |
| 1 | 128 | 819,200 | 2451 | 40.0 |
| 2 | 180 | 1,145,160 | 1725 | 35.0 |
| 4 | 256 | 1,622,016 | 1026 | 32.9 |
| 8 | 360 | 2,274,120 | 634 | 27.8 |

**Price.** MAC less that of a dense convolution with the same c1 and B, which has c2 / g output channels:
P c2 (1 - 1/g) elements over P = batch x height x width output positions. It is exact for any kernel size, because the
weights have as many elements.

**Use instead.** A dense convolution to c2 / g channels: it has the same mult-adds, and needs no channel shuffle to mix
groups. Or keep c2 and accept more mult-adds if the layer is memory-bound anyway.

**Limit.** Broken if the prices of all layers sum to at least 2 % of the model's memory access.
"""

from costlab.core.graph import ITEM_BYTES
from costlab.core.profile import Profile
from costlab.guidelines.analysis.layers import LayerShape, describe_layer, layers_of, resize_fix
from costlab.guidelines.model import CheckResult, Finding, Guideline


def applies(layer: LayerShape) -> bool:
    """Whether a layer has groups of several channels."""
    return layer.groups > 1 and not layer.depthwise


def excess(layer: LayerShape) -> int:
    """P c2 (1 - 1/g) elements: the output channels that a dense convolution would not write."""
    return layer.positions * (layer.outputs - layer.outputs // layer.groups)


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find grouped convolutions."""
    findings = []
    for _, op, layer in layers_of(profile):
        if not applies(layer):
            continue
        elements, dense = excess(layer), layer.outputs // layer.groups
        findings.append(
            Finding(
                module=op.module,
                op=op.name,
                message=f"{describe_layer(layer)}: an ungrouped convolution with equal mult-adds writes less",
                advice=f"{layer.inputs} to {dense} channels in one group (the same mult-adds)",
                excess_memory_access=elements,
                excess_bytes=elements * ITEM_BYTES[op.output.dtype],
                excess_launches=0,
                fix=resize_fix(op, layer, layer.inputs, dense, 1),
            )
        )
    return CheckResult(findings)


BAD = {
    "four groups": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 256, 3, padding=1), nn.Conv2d(256, 256, 1, groups=4))
inputs = (1, 3, 56, 56)
"""
}
GOOD = {
    "one group with the same mult-adds": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 256, 3, padding=1), nn.Conv2d(256, 64, 1))
inputs = (1, 3, 56, 56)
""",
    "a depthwise convolution, which G4 checks": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1, groups=64))
inputs = (1, 3, 56, 56)
""",
}

GUIDELINE = Guideline("G2", "group-convolution", __doc__, check, limit=0.02, bad=BAD, good=GOOD)
