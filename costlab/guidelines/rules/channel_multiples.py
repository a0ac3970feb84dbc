"""Choose widths that are multiples of 8, better of 16 or 32.

**Why.** Matrix units and vector registers work on 8, 16 or 32 channels at a time, and kernels pad what is left: 58
channels take as long as 64. NVIDIA's guide for tensor cores asks for multiples of 8 in half precision and of 16 in
8-bit integers; vector units of CPUs hold 8 or 16 floats.

**What is judged.** Input and output channels, in each group, of convolutions and linear layers that miss a multiple
of 8. Not judged: depthwise layers, and the channels of an input of the model.

**Price.** None in elements: more channels move more data. The message says what part of the padded multiply-adds is
idle at 8, 16 and 32 channels at a time.

**Instead.** The nearest multiples of 8, up or down.
"""

from __future__ import annotations

from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.units import percent
from costlab.guidelines.analysis.layers import Layer, layer_of, place_text, resized
from costlab.guidelines.model import CheckResult, Example, Finding, Fix, Guideline

MULTIPLES = (8, 16, 32)


def widths(layer: Layer) -> tuple[int, ...]:
    """Channels in each group that the layer could choose: of the output, and of an input that it is not given."""
    outputs = layer.outputs // layer.groups
    return (outputs,) if layer.reads_model_input else (layer.inputs // layer.groups, outputs)


def idle(channels: tuple[int, ...], multiple: int) -> float:
    """What part of the work is padding where channels come `multiple` at a time."""
    used = 1.0
    for count in channels:
        used *= count / (-(-count // multiple) * multiple)
    return 1 - used


def advice(channels: tuple[int, ...]) -> str:
    around = []
    for count in dict.fromkeys(channels):
        below, above = count // 8 * 8, -(-count // 8) * 8
        if below != above:
            around.append(f"{below} or {above} in place of {count}" if below else f"{above} in place of {count}")
    return "; ".join(around)


def padded(width: int, groups: int) -> int:
    """The next multiple of 8 in each group."""
    return -(-width // (8 * groups)) * 8 * groups


def instead(position: int, op: Op, layer: Layer) -> Fix | None:
    """The layer with the next wider multiples of 8: as capable as before."""
    inputs = layer.inputs if layer.reads_model_input else padded(layer.inputs, layer.groups)
    wider = resized(op, layer, inputs, padded(layer.outputs, layer.groups), layer.groups)
    return Fix(replaced={position: wider}) if wider else None


def check(profile: Profile, limit: float | None) -> CheckResult:
    findings = []
    for position, (op, cost) in enumerate(zip(profile.ops, profile.costs, strict=True)):
        layer = layer_of(op)
        if layer is None or layer.depthwise or not any(count % 8 for count in widths(layer)):
            continue
        lost = ", ".join(f"{percent(idle(widths(layer), m))} at {m}" for m in MULTIPLES)
        findings.append(
            Finding(
                module=op.module,
                op=op.name,
                message=f"{place_text(layer)}: idle {lost} channels at a time",
                advice=advice(widths(layer)),
                excess_launches=0,
                fix=instead(position, op, layer) if cost else None,
            )
        )
    return CheckResult(findings)


BAD = (
    Example(
        "58 channels",
        """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 58, 3), nn.ReLU(), nn.Conv2d(58, 58, 1))
inputs = (1, 3, 32, 32)
""",
    ),
    Example(
        "10 channels in each of 4 groups",
        """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 40, 3), nn.Conv2d(40, 40, 1, groups=4))
inputs = (1, 3, 32, 32)
""",
    ),
)
GOOD = (
    Example(
        "64 channels; the 3 of the image are given",
        """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 1))
inputs = (1, 3, 32, 32)
""",
    ),
)

GUIDELINE = Guideline("X2", "channel-multiple", __doc__, check, bad=BAD, good=GOOD)
