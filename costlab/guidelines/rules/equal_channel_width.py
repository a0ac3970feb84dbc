"""Use as many output channels as input channels.

**What it does.** Checks dense and grouped convolutions of any kernel size that keep their positions (stride 1, not
transposed), and linear layers, where rows take the place of positions. Skips depthwise layers (see G4) and layers that
read an input of the model, whose channels are fixed.

**Why is this bad?** A 1x1 convolution from c1 to c2 channels over h x w positions has B = h w c1 c2 mult-adds and moves

    MAC = h w (c1 + c2) + c1 c2  >=  2 sqrt(h w B) + B / (h w)

elements (ShuffleNet V2, arXiv 1807.11164, equation 1), with equality if and only if c1 = c2. At the same mult-adds,
unequal channel counts only add traffic. The paper measured ten blocks of two 1x1 convolutions, c1 to c2 and back, with
mult-adds equal within 5 % (Table 1; maps of 56 x 56; batches/s on a GTX 1080Ti with these channels, images/s on an ARM
core):

| c1 : c2 | c1, c2 (GPU) | MAC / bound | GPU x1 | ARM x1 |
| ---: | ---: | ---: | ---: | ---: |
| 1:1 | 128, 128 | 1.0000 | 1480 | 76.2 |
| 1:2 | 90, 180 | 1.0595 | 1296 | 72.9 |
| 1:6 | 52, 312 | 1.4203 | 876 | 69.1 |
| 1:12 | 36, 432 | 1.8593 | 748 | 57.6 |

**Price.** P (c1 + c2 - 2 sqrt(c1 c2)) elements over P = batch x height x width positions, for any kernel size and any
number of groups: at equal mult-adds the weights stay the same size. The price is that of one layer alone. Neighbouring
layers share its channels, so prices do not add up to what a redesign would save; their sum says how far the network is
from the bound.

**Use instead.** sqrt(c1 c2) channels on both sides, rounded to whole channels and groups. The advice gives this width
and the change in mult-adds from rounding; if that is more than 5 %, no advice is given. Prefer blocks of one width, as
in ShuffleNet V2, to bottlenecks and inverted bottlenecks.

**Limit.** Broken if the prices of all layers sum to at least 1 % of the model's memory access.
"""

from math import ceil, sqrt

from costlab.core.graph import ITEM_BYTES
from costlab.core.profile import Profile
from costlab.formatting.units import ratio
from costlab.guidelines.analysis.layers import LayerShape, describe_layer, layers_of, resize_fix
from costlab.guidelines.model import CheckResult, Finding, Guideline

MAX_DRIFT = 0.05  # of mult-adds, from rounding the width


def applies(layer: LayerShape) -> bool:
    """Whether a layer is free to choose its channels and has as many input as output positions."""
    fixed = layer.changes_positions or layer.depthwise or layer.reads_model_input
    return not fixed and layer.positions == layer.positions_read


def excess(layer: LayerShape) -> int:
    """P (c1 + c2 - 2 sqrt(c1 c2)) elements, rounded up: 0 if and only if c1 = c2."""
    c1, c2 = layer.inputs, layer.outputs
    # (c1 - c2)^2 / (sqrt c1 + sqrt c2)^2 is the same number without cancellation.
    return ceil(layer.positions * (c1 - c2) ** 2 / (c1 + c2 + 2 * sqrt(c1 * c2)))


def equal_width(layer: LayerShape) -> int:
    """The width nearest to sqrt(c1 c2) that is a multiple of the groups."""
    return max(1, round(sqrt(layer.inputs * layer.outputs) / layer.groups)) * layer.groups


def advice(layer: LayerShape) -> str | None:
    """The equal width and the change in mult-adds from rounding; None if that is too much."""
    width = equal_width(layer)
    before, after = layer.inputs * layer.outputs, width * width
    if abs(after - before) > MAX_DRIFT * before:
        return None
    drift = "the same" if after == before else ratio(before, after)
    return f"{width} to {width} channels ({drift} mult-adds)"


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find layers with unequal channel counts."""
    findings = []
    for _, op, layer in layers_of(profile):
        if not applies(layer) or layer.inputs == layer.outputs:
            continue
        elements, width = excess(layer), equal_width(layer)
        findings.append(
            Finding(
                module=op.module,
                op=op.name,
                message=f"{describe_layer(layer)}: equal channel counts move less data at the same mult-adds",
                advice=advice(layer),
                excess_memory_access=elements,
                excess_bytes=elements * ITEM_BYTES[op.output.dtype],
                excess_launches=0,
                fix=resize_fix(op, layer, width, width, layer.groups) if advice(layer) else None,
            )
        )
    return CheckResult(findings)


BAD = {
    "1:6, as in an inverted bottleneck": """from torch import nn

network = nn.Sequential(
    nn.Conv2d(3, 52, 3, padding=1),
    nn.Conv2d(52, 312, 1),
    nn.Conv2d(312, 52, 1),
)
inputs = (1, 3, 56, 56)
""",
    "1:4, as in the feed-forward part of a transformer": """import torch
from torch import nn

network = nn.Sequential(nn.Embedding(100, 64), nn.Linear(64, 256), nn.Linear(256, 64))
inputs = torch.zeros(1, 128, dtype=torch.long)
""",
}
GOOD = {
    "1:1 with the same mult-adds": """from torch import nn

network = nn.Sequential(
    nn.Conv2d(3, 127, 3, padding=1),
    nn.Conv2d(127, 127, 1),
    nn.Conv2d(127, 127, 1),
)
inputs = (1, 3, 56, 56)
""",
    "channel counts change together with positions": """from torch import nn

network = nn.Sequential(
    nn.Conv2d(3, 64, 3, padding=1),
    nn.Conv2d(64, 128, 3, stride=2, padding=1),
    nn.Conv2d(128, 128, 3, padding=1),
)
inputs = (1, 3, 56, 56)
""",
}

GUIDELINE = Guideline("G1", "equal-channel-width", __doc__, check, limit=0.01, bad=BAD, good=GOOD)
