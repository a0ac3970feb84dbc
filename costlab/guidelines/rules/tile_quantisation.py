"""Choose widths that fill whole tiles and waves of the device.

**What it does.** With a device, predicts the slowest layers once more with output channels at the multiples of 8 to 128
around what they have, and reports a layer if that saves at least 1 % of the network's time: a larger width that is
faster or, if there is none, a smaller one, at most 5 % away, that saves at least twice its share of the mult-adds.

**Why is this bad?** A matrix product is computed in tiles of, say, 128 x 128 results, and tiles in waves of as many as
the device has multiprocessors. A tile or wave that is partly empty takes as long as a full one: 1,040 columns are nine
tiles of 128, not eight and a bit. Rows of odd length also feed matrix units in copies of 2 bytes instead of 16: 50,304
tokens, a multiple of 128, are faster than 50,257 (NVIDIA, Matrix Multiplication Background User's Guide, "Tile
Quantization", "Wave Quantization" and "Dimension Quantization Effects"; A. Karpathy on nanoGPT's vocabulary).

**Price.** Unknown in elements: more channels move more data. In seconds, the network as it is against the network with
the other width in this layer alone.

**Use instead.** The width that the finding names, and the same wherever this layer is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import gcd

from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.units import exact, percent
from costlab.guidelines.analysis.layers import LayerShape, describe_layer, layers_of, resize_fix
from costlab.guidelines.edits import edited
from costlab.guidelines.model import CheckResult, Finding, Fix, Guideline, nothing_found
from costlab.latency.execution import ExecutionConfig

MULTIPLES = (8, 16, 32, 64, 128)
LAYERS = 8  # the slowest of different shapes that are predicted again
WORTH = 0.01  # share of the network's time
NARROWER = 0.05  # share of the channels that may be given up
BEYOND = 2  # times its share of the mult-adds that a narrower layer has to save
ALIKE = 0.98  # of the best saving, from which on the width of the largest multiple is chosen


def check(profile: Profile, config: ExecutionConfig) -> CheckResult:
    """Find layers that are faster with slightly more or fewer channels."""
    from costlab.latency._predict import predict_with

    view = profile.fused(config.fusion)
    now = predict_with(profile, config, view)
    seconds = {op.name: now.by_op.get(op.name, 0.0) for op in view.ops}
    layers = [(op, layer) for _, op, layer in layers_of(view) if seconds[op.name] >= WORTH * now.seconds]
    layers.sort(key=lambda pair: -seconds[pair[0].name])
    better: dict[LayerShape, int | None] = {}
    findings = []
    for op, layer in layers:
        if layer not in better and len(better) < LAYERS and not layer.depthwise:
            saved = {}
            for width, fix in fixes(op, layer):
                saved[width] = now.seconds - predict_with(profile, config, edited(view, [fix])).seconds
            better[layer] = best_width(layer, saved, seconds[op.name], WORTH * now.seconds)
        chosen = better.get(layer)
        if chosen is not None:
            findings.append(finding(op, layer, chosen, config.device.name))
    return CheckResult(findings)


def fixes(op: Op, layer: LayerShape) -> Iterator[tuple[int, Fix]]:
    """The layer with each of its other widths."""
    for width in widths(layer):
        fix = resize_fix(op, layer, layer.inputs, width, layer.groups)
        if fix is not None:
            yield width, fix


def best_width(layer: LayerShape, saved: Mapping[int, float], own: float, least: float) -> int | None:
    """The width that saves most, a wider one before a narrower one; None if none saves enough.

    Args:
        saved: seconds that each width saves.
        own: seconds of the layer now.
        least: seconds that are worth a finding.
    """
    enough = {w: s for w, s in saved.items() if s >= max(least, own * BEYOND * (1 - w / layer.outputs))}
    enough = {w: s for w, s in enough.items() if w > layer.outputs} or enough
    alike = [width for width, seconds in enough.items() if seconds >= ALIKE * max(enough.values())]
    return max(
        alike, key=lambda width: (gcd(width, MULTIPLES[-1] * layer.groups), -abs(width - layer.outputs)), default=None
    )


def widths(layer: LayerShape) -> Iterator[int]:
    """Other widths of a layer, each once: multiples around its own that its groups divide."""
    seen = {layer.outputs}
    for multiple in MULTIPLES:
        step = multiple * layer.groups
        for width in (-(-layer.outputs // step) * step, layer.outputs // step * step):
            if width not in seen and width >= (1 - NARROWER) * layer.outputs:
                seen.add(width)
                yield width


def finding(op: Op, layer: LayerShape, width: int, device: str) -> Finding:
    """What a layer wastes, and the width that does not."""
    more = width > layer.outputs
    change = "would be faster" if more else f"would save more than its {percent(1 - width / layer.outputs)} of the work"
    return Finding(
        module=op.module,
        op=op.name,
        message=f"{describe_layer(layer)}: {exact(width)} {change} on {device}",
        advice=f"{exact(width)} channels in place of {exact(layer.outputs)}",
        excess_launches=0,
        fix=resize_fix(op, layer, layer.inputs, width, layer.groups),
    )


BAD = {
    "logits of 50,257 tokens in half precision": """import torch
from torch import nn

network = nn.Linear(768, 50257, bias=False).half()
inputs = torch.zeros(4096, 768, dtype=torch.float16)
""",
    "264 channels: a third column of tiles for 8 of them": """import torch
from torch import nn

network = nn.Sequential(nn.Linear(1024, 264), nn.ReLU(), nn.Linear(264, 1024)).half()
inputs = torch.zeros(8192, 1024, dtype=torch.float16)
""",
}
GOOD = {
    "logits of 50,304 tokens": """import torch
from torch import nn

network = nn.Linear(768, 50304, bias=False).half()
inputs = torch.zeros(4096, 768, dtype=torch.float16)
""",
}

GUIDELINE = Guideline(
    "X10", "tile-quantisation", __doc__, nothing_found, check_on=check, as_run=True, bad=BAD, good=GOOD
)
