"""Use scaled_dot_product_attention instead of products and a softmax of your own.

**What it does.** Checks for a softmax over the last dimension of a product of two activations (scaled, masked or not),
whose result is multiplied by a third.

**Why is this bad?** Written out, every step reads and writes the scores, as many as query times key positions for every
head. The fused kernels of `torch.nn.functional.scaled_dot_product_attention` keep them in registers and caches
(FlashAttention, Dao et al., arXiv 2205.14135): the traffic grows with the length of the sequence instead of its square.

**Price.** What all steps move, less what one fused operator moves; and their launches less one.

**Use instead.** `scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)`; it takes an additive or a boolean
mask, or `is_causal=True`.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from costlab.core.cost import Cost, cost_of, total
from costlab.core.graph import Op, Tensor
from costlab.core.profile import Profile
from costlab.formatting.units import shape
from costlab.guidelines.model import CheckResult, Finding, Fix, Guideline

PRODUCTS = ("matmul", "bmm")
BETWEEN = ("mul", "div", "add", "sub", "masked_fill", "where", "to", "dropout")  # scores and the product before them
RANKS = (3, 4)  # heads and batch are one dimension, or two


class WrittenOut(NamedTuple):
    """Attention in several operators, by position."""

    scores: int  # the product of queries and keys
    steps: tuple[int, ...]  # between the products
    output: int  # the product with the values


def written_out(profile: Profile) -> Iterator[WrittenOut]:
    """The attention of a network that is written out."""
    ops = profile.ops
    readers: dict[int, list[int]] = {}
    for position, op in enumerate(ops):
        for source in op.after:
            readers.setdefault(source, []).append(position)
    for position, op in enumerate(ops):
        if op.kind != "softmax" or not op.outputs or op.attrs.get("dim") not in (-1, len(op.output.shape) - 1):
            continue
        steps = [position]
        before, after = main_input(ops, position), following(ops, readers, position)
        while before is not None and ops[before].kind in BETWEEN and not ops[before].free:
            steps.append(before)
            before = main_input(ops, before)
        while after is not None and ops[after].kind in BETWEEN:
            steps.append(after)
            after = following(ops, readers, after)
        if before is not None and after is not None and are_products(ops[before], ops[after]):
            yield WrittenOut(before, tuple(steps), after)


def main_input(ops: tuple[Op, ...], position: int) -> int | None:
    """The operator that wrote the largest input of one, looking through views; None if a parameter is larger."""
    op = ops[position]
    if not op.inputs:
        return None
    largest = max(op.inputs, key=lambda t: t.numel)
    for before in reversed(op.after):
        if any(t.storage == largest.storage for t in ops[before].outputs):
            return main_input(ops, before) if ops[before].free else before
    return None


def following(ops: tuple[Op, ...], readers: dict[int, list[int]], position: int) -> int | None:
    """The only operator that reads the result of one, looking through views."""
    found = readers.get(position, [])
    while len(found) == 1 and ops[found[0]].free:
        found = readers.get(found[0], [])
    return found[0] if len(found) == 1 else None


def are_products(scores: Op, output: Op) -> bool:
    """Whether two operators are the products of attention: [.., l, e] x [.., e, s] and [.., l, s] x [.., s, e]."""
    pairs = [op for op in (scores, output) if op.kind in PRODUCTS and len(op.inputs) == 2 and not op.free]
    activations = all(t.role in ("activation", "input") for op in pairs for t in op.inputs)
    return len(pairs) == 2 and activations and len(output.output.shape) in RANKS and fits(scores, output)


def fits(scores: Op, output: Op) -> bool:
    """Whether the scores are what the values are weighted with."""
    weights = output.inputs[0].shape
    return len(scores.output.shape) in RANKS and scores.output.shape[-2:] == weights[-2:]


def fused(scores: Op, output: Op) -> Op:
    """The operator that does the same."""
    query, transposed, value = scores.inputs[0], scores.inputs[1], output.inputs[1]
    key = transposed._replace(shape=(*transposed.shape[:-2], *transposed.shape[:-3:-1]))
    named = zip(("query", "key", "value"), (query, key, value), strict=True)
    inputs = tuple(with_heads(tensor)._replace(name=name) for name, tensor in named)
    return replace(output, kind="scaled_dot_product_attention", inputs=inputs, attrs={})


def with_heads(tensor: Tensor) -> Tensor:
    """The tensor with a batch dimension, if batch and heads are one."""
    return tensor if len(tensor.shape) == 4 else tensor._replace(shape=(1, *tensor.shape))


def check(profile: Profile, limit: float | None) -> CheckResult:
    """Find attention that is written out."""
    findings = []
    for found in written_out(profile):
        scores, output = profile.ops[found.scores], profile.ops[found.output]
        op = fused(scores, output)
        members = [found.scores, *found.steps, found.output]
        now = total(cost for m in members if (cost := profile.costs[m]) is not None)
        then = cost_of(op) or Cost()
        removed = tuple(profile.ops[m].name for m in (found.scores, *found.steps) if not profile.ops[m].free)
        findings.append(
            Finding(
                module=output.module,
                op=output.name,
                message=f"attention in {len(removed) + 1} operators, with scores of {shape(scores.output.shape)}",
                advice="torch.nn.functional.scaled_dot_product_attention(q, k, v)",
                excess_memory_access=now.memory_access - then.memory_access,
                excess_bytes=now.bytes_accessed - then.bytes_accessed,
                excess_launches=len(removed),
                fix=Fix(removed=removed, replaced={output.name: op}),
            )
        )
    return CheckResult(findings)


BAD = {
    "products and a softmax": """from torch import nn

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(64, 192)

    def forward(self, x):
        q, k, v = self.qkv(x).view(2, 128, 3, 4, 16).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / 4).softmax(-1)
        return (weights @ v).transpose(1, 2).reshape(2, 128, 64)

network = Attention()
inputs = (2, 128, 64)
"""
}
GOOD = {
    "one operator": """import torch.nn.functional as F
from torch import nn

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(64, 192)

    def forward(self, x):
        q, k, v = self.qkv(x).view(2, 128, 3, 4, 16).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 128, 64)

network = Attention()
inputs = (2, 128, 64)
"""
}

GUIDELINE = Guideline("X9", "written-out-attention", __doc__, check, as_run=True, bad=BAD, good=GOOD)
