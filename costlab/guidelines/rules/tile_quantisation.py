"""Choose widths that fill the tiles and units of the device.

**What it does.** With a device, checks the output channels of convolutions and linear layers that take at least 1 % of
the time: whether the nearest multiple of 64 below or above, within 5 %, would be faster. Channels that a loss or a
vocabulary fixes can be padded.

**Why is this bad?** A kernel computes a product in tiles of, say, 128 x 64 results, and a device computes as many tiles
at a time as it has units (NVIDIA, Matrix Multiplication Background, "Tile Quantization" and "Wave Quantization"). One
column more than a multiple starts another row of tiles; one tile more than a multiple of the units starts another wave,
in which most units idle. Products whose channels are no multiple of 8 cannot use all of the matrix units: a vocabulary
of 50,257 is slower than one of 50,304.

**Price.** Unknown in elements. In seconds, the network with the width of the advice, everything else unchanged.

**Use instead.** The width of the advice. A wider layer costs nothing then, and a narrower one loses little.
"""

from __future__ import annotations

from collections.abc import Iterator

from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.units import percent
from costlab.guidelines.analysis.layers import LayerShape, layers_of, resize_fix
from costlab.guidelines.model import CheckResult, Finding, Fix, Guideline, nothing_found
from costlab.latency.execution import ExecutionConfig

MULTIPLE = 64
CHANGE = 0.05  # of the channels, at most
WORTH = 0.01  # share of the time that a layer takes, at least
GAIN = 0.001  # share of the time that the advice saves, at least


def check(profile: Profile, config: ExecutionConfig) -> CheckResult:
    """Find layers that are faster with other channels."""
    from costlab.guidelines.pricing import seconds_saved
    from costlab.latency._predict import predict_with

    prediction = predict_with(profile, config)
    layers = [
        (op, layer)
        for _, op, layer in layers_of(profile)
        if prediction.by_op.get(op.name, 0.0) >= WORTH * prediction.seconds
    ]
    choices = [(op, layer, width, fix) for op, layer in layers for width, fix in other_widths(op, layer)]
    saved = seconds_saved(profile, [[fix] for *_, fix in choices], config)
    best: dict[str, tuple[float, Op, LayerShape, int, Fix]] = {}
    for (op, layer, width, fix), seconds in zip(choices, saved, strict=True):
        if seconds > max(GAIN * prediction.seconds, best[op.name][0] if op.name in best else 0.0):
            best[op.name] = seconds, op, layer, width, fix
    return CheckResult([finding(op, layer, width, fix) for _, op, layer, width, fix in best.values()])


def other_widths(op: Op, layer: LayerShape) -> Iterator[tuple[int, Fix]]:
    """The multiples around the output channels that are close to them, each with its fix."""
    below = layer.outputs // MULTIPLE * MULTIPLE
    for width in (below, below + MULTIPLE):
        if width and width != layer.outputs and abs(width - layer.outputs) <= CHANGE * layer.outputs:
            fix = resize_fix(op, layer, layer.inputs, width, 1) if layer.groups == 1 else None
            if fix:
                yield width, fix


def finding(op: Op, layer: LayerShape, width: int, fix: Fix) -> Finding:
    """A layer with a width that is faster."""
    change = percent(abs(width - layer.outputs) / layer.outputs)
    more = "more" if width > layer.outputs else "fewer"
    return Finding(
        module=op.module,
        op=op.name,
        message=f"{layer.outputs} output channels leave part of the tiles empty; {width} are {change} {more}",
        advice=f"{width} output channels in place of {layer.outputs}",
        excess_launches=0,
        fix=fix,
    )


BAD = {
    "the vocabulary of GPT-2": """import torch
from torch import nn

network = nn.Sequential(nn.Embedding(1000, 768), nn.Linear(768, 50257, bias=False))
inputs = torch.zeros(1, 1024, dtype=torch.long)
""",
}
GOOD = {
    "padded": """import torch
from torch import nn

network = nn.Sequential(nn.Embedding(1000, 768), nn.Linear(768, 50304, bias=False))
inputs = torch.zeros(1, 1024, dtype=torch.long)
""",
}

GUIDELINE = Guideline(
    "X10", "tile-quantisation", __doc__, nothing_found, check_on=check, as_run=True, bad=BAD, good=GOOD
)
