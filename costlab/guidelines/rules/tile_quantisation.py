"""Choose sizes that fill whole tiles and waves of the device: columns, rows and heads of matrix products.

**What it does.** With a device, predicts the slowest layers once more with output channels at the multiples of 8 to 128
around what they have, and reports a layer if that saves at least 1 % of the network's time: a larger width that is
faster or, if there is none, a smaller one, at most 5 % away, that saves at least twice its share of the mult-adds. Does
the same with the rows of linear layers (batch times tokens), rounded down, and says up to how many rows are free. On
NVIDIA's GPUs in half precision, also reports fused attention whose heads are not as wide as a kernel.

**Why is this bad?** A matrix product is computed in tiles of, say, 128 x 128 results, and tiles in waves of as many as
the device has multiprocessors. A tile or wave that is partly empty takes as long as a full one: 1,040 columns are nine
tiles of 128, not eight and a bit. Rows of odd length also feed matrix units in copies of 2 bytes instead of 16: 50,304
tokens, a multiple of 128, are faster than 50,257 (NVIDIA, Matrix Multiplication Background User's Guide, "Tile
Quantization", "Wave Quantization" and "Dimension Quantization Effects"; A. Karpathy on nanoGPT's vocabulary).
FlashAttention has kernels for heads of 32, 64, 96, 128, 192 and 256 and pads others to the next of them (flash_api.cpp
and static_switch.h of FlashAttention 2).

**Price.** Unknown in elements: more channels move more data. In seconds, the network as it is against the network with
the other size in this layer alone, or with this attention in the heads that the advice names. The model of GPUs does
not know the padding of heads: it prices what the other heads compute and move.

**Use instead.** The width that the finding names, and the same wherever this layer is read; fewer tokens or a smaller
batch; heads as wide as a kernel: more or fewer of them, as wide together, or as many narrower ones if that is slower.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import gcd

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.units import exact, percent
from costlab.guidelines.analysis.layers import LayerShape, describe_layer, layers_of, resize_fix, with_shape
from costlab.guidelines.edits import edited
from costlab.guidelines.model import CheckResult, Finding, Fix, Guideline, nothing_found
from costlab.latency.execution import ExecutionConfig

MULTIPLES = (8, 16, 32, 64, 128)
LAYERS = 8  # the slowest of different shapes that are predicted again
WORTH = 0.01  # share of the network's time
NARROWER = 0.05  # share of the channels or rows that may be given up
BEYOND = 2  # times its share of the mult-adds that a smaller layer has to save
ALIKE = 0.98  # of the best saving, from which on the width of the largest multiple is chosen
FREE = 1.002  # times the seconds of a layer that more rows may take and still count as free
HEADS = (32, 64, 96, 128, 192, 256)  # widths that FlashAttention has kernels for
FLASH = ("ampere", "ada", "hopper", "blackwell")  # architectures that it has kernels for
HALVES = ("float16", "bfloat16")
Fixes = Iterator[tuple[int, Fix]]


def check(profile: Profile, config: ExecutionConfig) -> CheckResult:
    """Find layers that are faster with slightly more or fewer channels, or fewer rows, and heads that are padded."""
    from costlab.latency._predict import predict_with

    view = profile.fused(config.fusion)
    now = predict_with(profile, config, view)
    seconds = {op.name: now.by_op.get(op.name, 0.0) for op in view.ops}
    layers = [(op, layer) for _, op, layer in layers_of(view) if seconds[op.name] >= WORTH * now.seconds]
    layers.sort(key=lambda pair: -seconds[pair[0].name])

    def saved(fixes: Fixes) -> dict[int, float]:
        return {size: now.seconds - predict_with(profile, config, edited(view, [fix])).seconds for size, fix in fixes}

    better: dict[LayerShape, tuple[int | None, int | None, int]] = {}
    findings = []
    for op, layer in layers:
        if layer not in better and len(better) < LAYERS and not layer.depthwise:
            least, own = WORTH * now.seconds, seconds[op.name]
            width = best_size(layer.outputs, layer.groups, saved(other_widths(op, layer)), own, least)
            rows = best_size(layer.positions, 1, saved(fewer_rows(op, layer)), own, least)
            better[layer] = width, rows, free_rows(op, layer, own, saved) if rows else 0
        width, rows, free = better.get(layer, (None, None, 0))
        if width is not None:
            findings.append(width_finding(op, layer, width, config.device.name))
        if rows is not None:
            findings.append(rows_finding(op, layer, rows, free, config.device.name))
    return CheckResult([*findings, *padded_heads(view, config, seconds, saved)])


def best_size(size: int, groups: int, saved: Mapping[int, float], own: float, least: float) -> int | None:
    """The size that saves most, a larger one before a smaller one; None if none saves enough.

    Args:
        size: what the layer has now.
        groups: its groups.
        saved: seconds that each size saves.
        own: seconds of the layer now.
        least: seconds that are worth a finding.
    """
    enough = {other: s for other, s in saved.items() if s >= max(least, own * BEYOND * (1 - other / size))}
    enough = {other: s for other, s in enough.items() if other > size} or enough
    alike = [other for other, seconds in enough.items() if seconds >= ALIKE * max(enough.values())]
    return max(alike, key=lambda other: (gcd(other, MULTIPLES[-1] * groups), -abs(other - size)), default=None)


# Columns.


def other_widths(op: Op, layer: LayerShape) -> Fixes:
    """The layer with each of its other widths: multiples around its own that its groups divide."""
    seen = {layer.outputs}
    for multiple in MULTIPLES:
        step = multiple * layer.groups
        for width in (-(-layer.outputs // step) * step, layer.outputs // step * step):
            if width not in seen and width >= (1 - NARROWER) * layer.outputs:
                seen.add(width)
                fix = resize_fix(op, layer, layer.inputs, width, layer.groups)
                if fix is not None:
                    yield width, fix


def width_finding(op: Op, layer: LayerShape, width: int, device: str) -> Finding:
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


# Rows.


def with_rows(op: Op, layer: LayerShape, rows: int) -> Fix | None:
    """A linear layer with another number of rows; None for a convolution, and for a term with rows of its own."""
    x = next((t for t in op.inputs if t.role != "parameter" and len(t.shape) > 1), None)
    others = [t for t in op.inputs if t is not x and t.role != "parameter" and len(t.shape) > 1]
    if FAMILY_OF.get(op.kind) != "matmul" or x is None or others:
        return None
    inputs = tuple(with_shape(t, (rows, layer.inputs)) if t is x else t for t in op.inputs)
    output = with_shape(op.output, (rows, layer.outputs))
    return Fix(replaced={op.name: replace(op, inputs=inputs, outputs=(output, *op.outputs[1:]))})


def fewer_rows(op: Op, layer: LayerShape) -> Fixes:
    """A linear layer with the multiples below its rows."""
    for rows in dict.fromkeys(layer.positions // multiple * multiple for multiple in MULTIPLES):
        fix = with_rows(op, layer, rows)
        if fix is not None and (1 - NARROWER) * layer.positions <= rows < layer.positions:
            yield rows, fix


def free_rows(op: Op, layer: LayerShape, own: float, saved: Callable[[Fixes], dict[int, float]]) -> int:
    """The rows that a layer has time for: the largest multiple above its rows that takes no longer, else its rows."""
    more = {-(-layer.positions // multiple) * multiple for multiple in MULTIPLES} - {layer.positions}
    fixes = ((rows, fix) for rows in sorted(more) if (fix := with_rows(op, layer, rows)))
    return max((rows for rows, s in saved(fixes).items() if -s <= (FREE - 1) * own), default=layer.positions)


def rows_finding(op: Op, layer: LayerShape, rows: int, free: int, device: str) -> Finding:
    """How many rows would fill whole tiles, and how many are free."""
    fewer = layer.positions - rows
    spare = f"; up to {exact(free)} would take no longer" if free > layer.positions else ""
    return Finding(
        module=op.module,
        op=op.name,
        message=f"{exact(layer.positions)} rows: {fewer} fewer would save more than their share on {device}{spare}",
        advice=f"{exact(rows)} rows in place of {exact(layer.positions)}: a smaller batch, or fewer positions",
        excess_launches=0,
        fix=with_rows(op, layer, rows),
    )


# Heads.


def padded_heads(
    view: Profile, config: ExecutionConfig, seconds: Mapping[str, float], saved: Callable[[Fixes], dict[int, float]]
) -> Iterator[Finding]:
    """Fused attention in half precision whose heads are narrower than the kernel that computes them."""
    if config.device.architecture not in FLASH:
        return
    least = WORTH * sum(seconds.values())
    best: dict[object, tuple[int, bool] | None] = {}  # by the shapes that attention reads
    for op in view.ops:
        query = op.find("query") if FAMILY_OF.get(op.kind) == "attention" and not op.free else None
        if query is None or not query.shape or op.find("attn_mask") or seconds[op.name] < least:
            continue
        half = (config.dtype or config.autocast_dtype or query.dtype) in HALVES
        width = query.shape[-1]
        kernel = next((head for head in HEADS if head >= width), width)
        if half and width < kernel:
            shapes = tuple(t.shape for t in op.inputs)
            if shapes not in best:
                best[shapes] = best_heads(op, saved)
            yield heads_finding(op, kernel, best[shapes])


def best_heads(op: Op, saved: Callable[[Fixes], dict[int, float]]) -> tuple[int, bool] | None:
    """The nearest width that saves time: of heads as wide together as now or, if none is faster, of as many heads."""
    together = saved(other_heads(op, together=True))
    nearest = sorted(together, key=lambda width: abs(width - op["query"].shape[-1]))
    faster = [(width, True) for width in nearest if together[width] > 0]
    fewer = [(width, False) for width, _ in other_heads(op, together=False)]
    return next(iter([*faster, *fewer, *((width, True) for width in nearest)]), None)


def other_heads(op: Op, together: bool) -> Fixes:
    """Attention in heads as wide as a kernel, as wide `together` as now; else in as many heads, the next narrower."""
    own = op["query"].shape[-1]
    for width in HEADS if together else [width for width in HEADS if width < own][-1:]:
        fix = with_heads(op, width, together)
        if fix is not None:
            yield width, fix


def with_heads(op: Op, width: int, together: bool) -> Fix | None:
    """Attention in heads of another width; None if a whole number of them is not as wide `together` as now."""
    tensors = [op["query"], op["key"], op["value"], op.output]
    own = op["query"].shape[-1]
    if "scores" in op.attrs or any(len(t.shape) < 3 or t.shape[-1] != own for t in tensors):
        return None
    counts = [t.shape[-3] * own // width if together else t.shape[-3] for t in tensors]
    if together and any(count * width != t.shape[-3] * own for count, t in zip(counts, tensors, strict=True)):
        return None
    shaped = [
        with_shape(t, (*t.shape[:-3], count, t.shape[-2], width)) for count, t in zip(counts, tensors, strict=True)
    ]
    new = {t.name: t for t in shaped[:3]}
    changed = replace(op, inputs=tuple(new.get(t.name, t) for t in op.inputs), outputs=(shaped[3], *op.outputs[1:]))
    return Fix(replaced={op.name: changed})


def heads_finding(op: Op, kernel: int, best: tuple[int, bool] | None) -> Finding:
    """How much of the arithmetic is padding, and the heads without any."""
    *_, count, _, width = (1, 1, *op["query"].shape)
    advice = f"heads of {kernel}, or of {max((h for h in HEADS if h < width), default=kernel)}"
    if best is not None:
        other, together = best
        advice = f"{count * width // other if together else count} heads of {other} in place of {count} of {width}"
    return Finding(
        module=op.module,
        op=op.name,
        message=f"heads of {width} run in a kernel for {kernel}: {percent(1 - width / kernel)} of their arithmetic is"
        " padding",
        advice=advice,
        excess_launches=0,
        unpriced=None if best else "its time with other heads is not known",
        fix=with_heads(op, *best) if best else None,
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
    "257 rows: a third row of tiles for one of them": """import torch
from torch import nn

network = nn.Sequential(*(nn.Linear(4096, 4096) for _ in range(4))).half()
inputs = torch.zeros(257, 4096, dtype=torch.float16)
""",
    "heads of 80": """import torch
import torch.nn.functional as F
from torch import nn

class Attention(nn.Module):
    def forward(self, q):
        return F.scaled_dot_product_attention(q, q, q)

network = Attention()
inputs = torch.zeros(8, 16, 1024, 80, dtype=torch.float16)
""",
}
GOOD = {
    "logits of 50,304 tokens": """import torch
from torch import nn

network = nn.Linear(768, 50304, bias=False).half()
inputs = torch.zeros(4096, 768, dtype=torch.float16)
""",
    "heads of 64": """import torch
import torch.nn.functional as F
from torch import nn

class Attention(nn.Module):
    def forward(self, q):
        return F.scaled_dot_product_attention(q, q, q)

network = Attention()
inputs = torch.zeros(8, 16, 1024, 64, dtype=torch.float16)
""",
}

GUIDELINE = Guideline(
    "X10", "tile-quantisation", __doc__, nothing_found, check_on=check, as_run=True, bad=BAD, good=GOOD
)
