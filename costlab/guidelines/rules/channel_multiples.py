"""Use channel counts that are multiples of 8, better of 16 or 32.

**What it does.** Checks the input and output channels, in each group, of convolutions and linear layers. Skips
depthwise layers and the channels of the model's inputs.

**Why is this bad?** Matrix units and vector registers process 8, 16 or 32 channels at a time, and kernels pad the rest:
58 channels take as long as 64. NVIDIA's guide for tensor cores recommends multiples of 8 in half precision and of 16 in
8-bit integers; vector units of CPUs hold 8 or 16 floats.

**Price.** Unknown in elements: more channels move more data. The message says how much of the padded work is wasted at
8, 16 and 32 channels at a time.

**Use instead.** The nearest multiple of 8, below or above. On a phone, X18 takes the place of this rule.
"""

from costlab.core.profile import Profile
from costlab.formatting.units import percent
from costlab.guidelines.analysis.layers import LayerShape, describe_layer, layers_of, resize_fix
from costlab.guidelines.analysis.mobile import is_mobile
from costlab.guidelines.model import CheckResult, Finding, Guideline
from costlab.latency.execution import ExecutionConfig

MULTIPLES = (8, 16, 32)


def chosen_channels(layer: LayerShape) -> tuple[int, ...]:
    """The channels in each group that the layer is free to choose: of its output, and of its input unless given."""
    outputs = layer.outputs // layer.groups
    return (outputs,) if layer.reads_model_input else (layer.inputs // layer.groups, outputs)


def padding_share(channels: tuple[int, ...], multiple: int) -> float:
    """The share of the work that is padding if channels are processed `multiple` at a time."""
    used = 1.0
    for count in channels:
        used *= count / (-(-count // multiple) * multiple)
    return 1 - used


def advice(channels: tuple[int, ...]) -> str:
    """The multiples of 8 around each channel count that misses one."""
    parts = []
    for count in dict.fromkeys(channels):
        below, above = count // 8 * 8, -(-count // 8) * 8
        if below != above:
            parts.append(f"{f'{below} or ' if below else ''}{above} in place of {count}")
    return "; ".join(parts)


def padded(channels: int, groups: int) -> int:
    """The channel count with each group rounded up to a multiple of 8."""
    return -(-channels // (8 * groups)) * 8 * groups


def check_on(profile: Profile, config: ExecutionConfig) -> CheckResult | None:
    """Leave mobile devices to X18."""
    return CheckResult([]) if is_mobile(config.device) else None


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find layers whose channel counts are not multiples of 8; the fix pads them, so that no capacity is lost."""
    findings = []
    for position, op, layer in layers_of(profile, uncounted=True):
        channels, groups = chosen_channels(layer), layer.groups
        if layer.depthwise or not any(count % 8 for count in channels):
            continue
        wasted = ", ".join(f"{percent(padding_share(channels, m))} at {m}" for m in MULTIPLES)
        inputs = layer.inputs if layer.reads_model_input else padded(layer.inputs, groups)
        fix = resize_fix(op, layer, inputs, padded(layer.outputs, groups), groups)
        findings.append(
            Finding(
                module=op.module,
                op=op.name,
                message=f"{describe_layer(layer)}: wastes {wasted} channels at a time",
                advice=advice(channels),
                excess_launches=0,
                fix=fix if profile.costs[position] else None,
            )
        )
    return CheckResult(findings)


BAD = {
    "58 channels": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 58, 3), nn.ReLU(), nn.Conv2d(58, 58, 1))
inputs = (1, 3, 32, 32)
""",
    "10 channels in each of 4 groups": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 40, 3), nn.Conv2d(40, 40, 1, groups=4))
inputs = (1, 3, 32, 32)
""",
}
GOOD = {
    "64 channels; the 3 of the image are fixed": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 1))
inputs = (1, 3, 32, 32)
"""
}

GUIDELINE = Guideline("X2", "channel-multiple", __doc__, check, check_on=check_on, bad=BAD, good=GOOD)
