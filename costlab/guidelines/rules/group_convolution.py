"""Do not split a convolution into more groups than you need.

**Why.** At the same input and the same B mult-adds, a grouped 1x1 convolution has g times as many output channels
as a dense one, c2 = B g / (h w c1), and moves

    MAC = h w (c1 + c2) + c1 c2 / g  =  h w c1 + B g / c1 + B / (h w)

elements (ShuffleNet V2, arXiv 1807.11164, equation 2): it grows with g. Groups look cheap because they divide
mult-adds; the channels bought with them are paid in traffic. The paper measured it (Table 2: ten grouped 1x1
convolutions, mult-adds equal within 1.1 %; 56 x 56, batches a second on a GTX 1080Ti, images a second on an ARM
core with the widths 64, 90, 128, 180):

| groups | channels (GPU) | MAC (GPU) | GPU x1 | ARM x1 |
| ---: | ---: | ---: | ---: | ---: |
| 1 | 128 | 819,200 | 2451 | 40.0 |
| 2 | 180 | 1,145,160 | 1725 | 35.0 |
| 4 | 256 | 1,622,016 | 1026 | 32.9 |
| 8 | 360 | 2,274,120 | 634 | 27.8 |

**What is judged.** Convolutions with 1 < g groups, of any kernel and stride. Not depthwise ones, where groups =
input channels: they belong to G4.

**Price.** MAC less the MAC of one group at the same c1 and B, which has c2 / g output channels: P c2 (1 - 1/g)
elements over P = batch x height x width output positions. It is exact for any kernel: the weights are as many.

**Instead.** One group to c2 / g channels costs the same mult-adds; it needs no channel shuffle to mix groups. Or
keep c2 and accept the mult-adds, where the layer is bound by memory anyway.

**Broken** where the prices of all layers together are at least 2 % of the model's memory access.
"""

from __future__ import annotations

from costlab.core.graph import ITEM_BYTES
from costlab.core.profile import Profile
from costlab.guidelines.analysis.layers import Layer, layer_of, place_text, resized
from costlab.guidelines.model import CheckResult, Example, Finding, Fix, Guideline


def applies(layer: Layer) -> bool:
    return layer.groups > 1 and not layer.depthwise


def excess(layer: Layer) -> int:
    """P c2 (1 - 1/g) elements: what the channels that groups paid for take to write."""
    return layer.positions * (layer.outputs - layer.outputs // layer.groups)


def check(profile: Profile, limit: float | None) -> CheckResult:
    findings = []
    for position, (op, cost) in enumerate(zip(profile.ops, profile.costs, strict=True)):
        layer = layer_of(op)
        if cost is None or layer is None or not applies(layer):
            continue
        elements = excess(layer)
        dense = resized(op, layer, layer.inputs, layer.outputs // layer.groups, 1)
        findings.append(
            Finding(
                module=op.module,
                op=op.name,
                message=f"{place_text(layer)}: one group of the same mult-adds writes less",
                advice=f"{layer.inputs} to {layer.outputs // layer.groups} channels in one group (the same mult-adds)",
                excess_memory_access=elements,
                excess_bytes=elements * ITEM_BYTES[op.output.dtype],
                excess_launches=0,
                fix=Fix(replaced={position: dense}) if dense else None,
            )
        )
    return CheckResult(findings)


BAD = (
    Example(
        "four groups",
        """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 256, 3, padding=1), nn.Conv2d(256, 256, 1, groups=4))
inputs = (1, 3, 56, 56)
""",
    ),
)
GOOD = (
    Example(
        "one group with the same mult-adds",
        """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 256, 3, padding=1), nn.Conv2d(256, 64, 1))
inputs = (1, 3, 56, 56)
""",
    ),
    Example(
        "depthwise: not of this guideline",
        """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1, groups=64))
inputs = (1, 3, 56, 56)
""",
    ),
)

GUIDELINE = Guideline("G2", "group-convolution", __doc__, check, limit=0.02, bad=BAD, good=GOOD)
