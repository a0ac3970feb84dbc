"""Give a layer as many output channels as it has input channels.

**Why.** A 1x1 convolution from c1 to c2 channels over h x w positions has B = h w c1 c2 mult-adds and moves

    MAC = h w (c1 + c2) + c1 c2  >=  2 sqrt(h w B) + B / (h w)

elements (ShuffleNet V2, arXiv 1807.11164, equation 1). The bound is reached if and only if c1 = c2: at the same
mult-adds, unequal widths only add traffic. The paper measured it (Table 1: ten blocks of two 1x1 convolutions,
c1 to c2 and back, mult-adds equal within 5 %; GPU GTX 1080Ti, 56 x 56, batches a second at the width below,
and images a second on an ARM core):

| c1 : c2 | c1, c2 (GPU) | MAC / bound | GPU x1 | ARM x1 |
| ---: | ---: | ---: | ---: | ---: |
| 1:1 | 128, 128 | 1.0000 | 1480 | 76.2 |
| 1:2 | 90, 180 | 1.0595 | 1296 | 72.9 |
| 1:6 | 52, 312 | 1.4203 | 876 | 69.1 |
| 1:12 | 36, 432 | 1.8593 | 748 | 57.6 |

**What is judged.** Dense and grouped convolutions of any kernel that keep their positions (stride 1, not
transposed), and linear layers, where rows take the place of positions. Not judged: depthwise layers (see G4),
and layers that read an input of the model, whose width is given.

**Price.** P (c1 + c2 - 2 sqrt(c1 c2)) elements over P = batch x height x width positions, for any kernel and any
number of groups: at equal mult-adds the weights are as many as before. It is 0 if and only if c1 = c2. The price
is of this layer alone. Its neighbours' widths change with it, so prices do not add up to what a whole network
would save; their sum says how far the network is from the bound.

**Instead.** Both widths as close to sqrt(c1 c2) as whole channels (and groups) allow. The advice names them, with
the change in mult-adds that rounding brings; where that is more than 5 %, there is none. Bottlenecks and inverted
bottlenecks become blocks of one width, as in ShuffleNet V2.

**Broken** where the prices of all layers together are at least 1 % of the model's memory access.
"""

from __future__ import annotations

from math import ceil, sqrt

from costlab.core.graph import ITEM_BYTES, Op
from costlab.core.profile import Profile
from costlab.formatting.units import ratio
from costlab.guidelines.analysis.layers import Layer, layer_of, place_text, resized
from costlab.guidelines.model import CheckResult, Example, Finding, Fix, Guideline

MOST_DRIFT = 0.05  # of mult-adds, by rounding the width


def applies(layer: Layer) -> bool:
    """Whether the widths of a layer are its own choice and weigh the same positions."""
    fixed = layer.moves or layer.depthwise or layer.reads_model_input
    return not fixed and layer.positions == layer.positions_read


def excess(layer: Layer) -> int:
    """P (c1 + c2 - 2 sqrt(c1 c2)) elements, rounded up: 0 if and only if c1 = c2."""
    c1, c2 = layer.inputs, layer.outputs
    # (c1 - c2)^2 / (sqrt c1 + sqrt c2)^2 is the same number, and does not cancel.
    return ceil(layer.positions * (c1 - c2) ** 2 / (c1 + c2 + 2 * sqrt(c1 * c2)))


def bound(positions: int, mult_adds: int) -> float:
    """2 sqrt(hw B) + B / hw: the least elements that a 1x1 convolution of B mult-adds moves (equation 1)."""
    return 2 * sqrt(positions * mult_adds) + mult_adds / positions


def equal_width(layer: Layer) -> int:
    """The width nearest to sqrt(c1 c2) that falls into the groups."""
    return max(1, round(sqrt(layer.inputs * layer.outputs) / layer.groups)) * layer.groups


def advice(layer: Layer) -> str | None:
    """The nearest equal widths, and what rounding does to the mult-adds; None where that is too much."""
    width = equal_width(layer)
    before, after = layer.inputs * layer.outputs, width * width
    if abs(after - before) > MOST_DRIFT * before:
        return None
    drift = "the same" if after == before else ratio(before, after)
    return f"{width} to {width} channels ({drift} mult-adds)"


def instead(position: int, op: Op, layer: Layer) -> Fix | None:
    """The layer with the widths of the advice."""
    width = equal_width(layer)
    equal = resized(op, layer, width, width, layer.groups) if advice(layer) else None
    return Fix(replaced={position: equal}) if equal else None


def check(profile: Profile, limit: float | None) -> CheckResult:
    findings = []
    for position, (op, cost) in enumerate(zip(profile.ops, profile.costs, strict=True)):
        layer = layer_of(op)
        if cost is None or layer is None or not applies(layer) or layer.inputs == layer.outputs:
            continue
        elements = excess(layer)
        findings.append(
            Finding(
                module=op.module,
                op=op.name,
                message=f"{place_text(layer)}: equal widths of the same mult-adds move less",
                advice=advice(layer),
                excess_memory_access=elements,
                excess_bytes=elements * ITEM_BYTES[op.output.dtype],
                excess_launches=0,
                fix=instead(position, op, layer),
            )
        )
    return CheckResult(findings)


BAD = (
    Example(
        "1:6, as in an inverted bottleneck",
        """from torch import nn

network = nn.Sequential(
    nn.Conv2d(3, 52, 3, padding=1),
    nn.Conv2d(52, 312, 1),
    nn.Conv2d(312, 52, 1),
)
inputs = (1, 3, 56, 56)
""",
    ),
    Example(
        "1:4, as in the feed-forward part of a transformer",
        """import torch
from torch import nn

network = nn.Sequential(nn.Embedding(100, 64), nn.Linear(64, 256), nn.Linear(256, 64))
inputs = torch.zeros(1, 128, dtype=torch.long)
""",
    ),
)
GOOD = (
    Example(
        "1:1 with the same mult-adds",
        """from torch import nn

network = nn.Sequential(
    nn.Conv2d(3, 127, 3, padding=1),
    nn.Conv2d(127, 127, 1),
    nn.Conv2d(127, 127, 1),
)
inputs = (1, 3, 56, 56)
""",
    ),
    Example(
        "widths change where positions do",
        """from torch import nn

network = nn.Sequential(
    nn.Conv2d(3, 64, 3, padding=1),
    nn.Conv2d(64, 128, 3, stride=2, padding=1),
    nn.Conv2d(128, 128, 3, padding=1),
)
inputs = (1, 3, 56, 56)
""",
    ),
)

GUIDELINE = Guideline("G1", "equal-channel-width", __doc__, check, limit=0.01, bad=BAD, good=GOOD)
