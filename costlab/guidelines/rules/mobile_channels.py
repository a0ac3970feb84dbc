"""Choose output channels in multiples of 8 for phones, of 16 in half precision.

**What it does.** With a device of Arm cores (a phone, a Raspberry Pi), checks the output channels, in each group, of
convolutions and linear layers, and reports those of which at least 2 % of the work is padding. Skips depthwise layers.

**Why is this bad?** XNNPACK, with which ExecuTorch and TensorFlow Lite compute on phones, packs weights in columns of 8
output channels in float32 and of 16 in float16, and pads the last column with zeros: 20 channels take as long as 24
(`nr` of `f32_gemm_config` and `f16_gemm_config` for Arm in src/configs/gemm-config.c of XNNPACK). GPUs of phones hold
tensors in slices of 4 channels (Lee et al., On-Device Neural Net Inference with Mobile GPUs, arXiv 1907.01989).

**Price.** Unknown in elements. In seconds, this layer alone with the channels that the advice names first: the multiple
below or, if there is none, the one above. The message says how much of the layer's work is padding.

**Use instead.** The nearest multiple, below or above. On these devices this rule takes the place of X2.
"""

from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.units import percent
from costlab.guidelines.analysis.layers import LayerShape, is_head, layers_of, resize_fix
from costlab.guidelines.analysis.mobile import is_mobile
from costlab.guidelines.model import CheckResult, Finding, Guideline, nothing_found
from costlab.latency.execution import ExecutionConfig

COLUMNS = {"float32": 8, "float16": 16}  # output channels that XNNPACK's matrix kernels for Arm compute at a time
WORTH = 0.02  # share of the layer's work


def check(profile: Profile, config: ExecutionConfig) -> CheckResult:
    """Find layers whose output channels are padded."""
    if not is_mobile(config.device):
        return CheckResult([])
    findings = []
    for position, op, layer in layers_of(profile, uncounted=True):
        dtype = config.dtype or op.output.dtype
        columns = COLUMNS.get(dtype)
        if columns and not layer.depthwise and padding(layer, columns) >= WORTH:
            counted, fixed = profile.costs[position] is not None, is_head(op, profile)
            findings.append(finding(op, layer, columns, dtype, counted, fixed))
    return CheckResult(findings)


def padding(layer: LayerShape, columns: int) -> float:
    """The share of a layer's work that is padding."""
    each = layer.outputs // layer.groups
    return 1 - each / (-(-each // columns) * columns)


def finding(op: Op, layer: LayerShape, columns: int, dtype: str, counted: bool, fixed: bool) -> Finding:
    """What a layer wastes, and the multiples around its channels.

    An operator that is not `counted` has no price; a layer with `fixed` outputs gets no fewer.
    """
    each = layer.outputs // layer.groups
    below, above = 0 if fixed else each // columns * columns, -(-each // columns) * columns
    fix = resize_fix(op, layer, layer.inputs, (below or above) * layer.groups, layer.groups) if counted else None
    where = f" in each of {layer.groups} groups" if layer.groups > 1 else ""
    share = percent(padding(layer, columns))
    return Finding(
        module=op.module,
        op=op.name,
        message=f"{each} output channels{where} are computed as {above}, {columns} at a time in {dtype}:"
        f" {share} of the work is padding",
        advice=f"{f'{below} or ' if below else ''}{above} output channels{where} in place of {each}",
        unpriced=None if fix else "its time with other channels is not known",
        fix=fix,
    )


BAD = {
    "20 channels": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 20, 3), nn.ReLU(), nn.Conv2d(20, 64, 1))
inputs = (1, 3, 32, 32)
""",
    "24 channels in half precision": """import torch
from torch import nn

network = nn.Sequential(nn.Conv2d(3, 24, 3), nn.ReLU()).half()
inputs = torch.zeros(1, 3, 32, 32, dtype=torch.float16)
""",
}
GOOD = {
    "24 channels": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 24, 3), nn.ReLU(), nn.Conv2d(24, 64, 1))
inputs = (1, 3, 32, 32)
"""
}

GUIDELINE = Guideline("X18", "mobile-channels", __doc__, nothing_found, check_on=check, bad=BAD, good=GOOD)
