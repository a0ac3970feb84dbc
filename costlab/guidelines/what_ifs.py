"""What to do first: changes of the whole network, each predicted by running the changed network through the model."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from costlab.core.cost import FAMILY_OF
from costlab.core.fusion import folds
from costlab.core.profile import Profile
from costlab.formatting import units
from costlab.formatting.module_paths import ROOT
from costlab.formatting.notebook import ShownInNotebooks
from costlab.guidelines.edits import edited
from costlab.guidelines.model import Finding, FindingGroup, group_findings
from costlab.guidelines.registry import rule_label
from costlab.latency._predict import predict_with, traced_batch
from costlab.latency.ceilings import main_dtype
from costlab.latency.device import Device
from costlab.latency.execution import ExecutionConfig

MOST = 5  # changes that are named
WORTH = 0.02  # share of the time below which a change is not worth naming
BATCHES = (2, 4)  # times the batch
TOGETHER = 3  # groups of findings
PLACES = 3  # modules that are named
WHOLE = ("X3", "X9")  # rules whose advice for the whole network is a change of its own
HALVES = ("float16", "bfloat16")  # on a GPU in this order, on a CPU in the other
PRODUCTS = ("matmul", "attention")  # families of operators


@dataclass(frozen=True)
class WhatIf:
    """One change of the whole network."""

    change: str  # "fold batch norms"
    how: str  # what to write
    predicted_seconds: float  # of one forward pass of the batch as it is now
    seconds_saved: float
    share: float  # of the predicted seconds as the network is

    def __str__(self) -> str:
        """What it saves, and how."""
        saved, left = units.seconds(self.seconds_saved), units.seconds(self.predicted_seconds)
        return f"{self.change}: saves {saved} ({units.percent(self.share)}), leaves {left}; {self.how}"


@dataclass(frozen=True)
class WhatIfs(ShownInNotebooks):
    """The changes that save most, best first; none if nothing is worth more than WORTH."""

    setup: str  # of the prediction: device, batch and mode
    predicted_seconds: float  # as the network is
    changes: tuple[WhatIf, ...]

    def to_dict(self) -> dict[str, Any]:
        """The changes as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        """A line for each change."""
        now = units.seconds(self.predicted_seconds)
        if not self.changes:
            return f"nothing here is worth more than {WORTH:.0%} of {now}"
        return "\n".join(f"{number}. {each}" for number, each in enumerate(self.changes, 1))


Candidate = tuple[str, str, float]  # the change, how, and the predicted seconds


def what_ifs(profile: Profile, config: ExecutionConfig, findings: Sequence[Finding] = ()) -> WhatIfs:
    """The changes of a whole network that save most time on a device.

    Args:
        profile: the network as traced.
        config: how it runs.
        findings: of `costlab.lint` on the same device; the best of them are one change.

    Returns:
        At most five changes, each worth more than 2 %, best first. A change that the network has already is left out.
    """
    now = predict_with(profile, config)
    changes = [
        WhatIf(change, how, seconds, now.seconds - seconds, (now.seconds - seconds) / now.seconds)
        for change, how, seconds in candidates(profile, config, findings)
        if now.seconds - seconds > WORTH * now.seconds
    ]
    changes.sort(key=lambda each: each.predicted_seconds)
    return WhatIfs(now.setup, now.seconds, tuple(changes[:MOST]))


def candidates(profile: Profile, config: ExecutionConfig, findings: Sequence[Finding]) -> Iterator[Candidate]:
    """Every change that the network does not have yet, with its predicted seconds."""
    for change, how, other in configurations(profile, config):
        yield change, how, predict_with(profile, other).seconds
    yield from half_precision(profile, config)
    yield from larger_batches(profile, config)
    yield from without_launches(profile, config)
    yield from fused_attention(profile, config, findings)
    yield from best_findings(profile, config, findings)


def configurations(profile: Profile, config: ExecutionConfig) -> Iterator[tuple[str, str, ExecutionConfig]]:
    """Other ways to run the same network."""
    if config.fusion == "none" and folds(profile):
        how = "torch.nn.utils.fuse_conv_bn_eval(conv, norm) for each, for inference"
        yield "fold batch norms", how, replace(config, fusion="bn")
    if not config.compiled:
        yield "compile it", "model = torch.compile(model)", replace(config, fusion="pointwise")
    if not config.channels_last and any(is_image_convolution(profile, i) for i in range(len(profile.ops))):
        how = "model and images .to(memory_format=torch.channels_last)"
        yield "use channels-last", how, replace(config, channels_last=True)


def is_image_convolution(profile: Profile, position: int) -> bool:
    """Whether an operator is a convolution over images, which have a channels-last layout."""
    op = profile.ops[position]
    return FAMILY_OF.get(op.kind) == "convolution" and bool(op.outputs) and len(op.output.shape) == 4


def half_precision(profile: Profile, config: ExecutionConfig) -> Iterator[Candidate]:
    """The same network in half precision.

    On a CPU only matrix products count: those in half precision are calibrated, and convolutions are often as slow as
    in float32 (docs/what-ifs.md).
    """
    half = half_dtype(config.device)
    if half is None or config.amp or (config.dtype or main_dtype(profile)) != "float32":
        return
    low = predict_with(profile, replace(config, dtype=half))
    seconds = low.seconds
    if not config.gpu:
        now = predict_with(profile, config)
        products = [op.name for op in profile.fused(config.fusion).ops if FAMILY_OF.get(op.kind) in PRODUCTS]
        seconds = now.seconds - sum(now.by_op.get(name, 0.0) - low.by_op.get(name, 0.0) for name in products)
    yield "use half precision", f"model and inputs .to(torch.{half})", seconds


def half_dtype(device: Device) -> str | None:
    """The dtype of half precision that a device has units for; None if it has none."""
    known = [dtype for dtype in HALVES if dtype in device.matrix_flops or dtype in device.vector_flops]
    return (known[0] if device.is_gpu else known[-1]) if known else None


def larger_batches(profile: Profile, config: ExecutionConfig) -> Iterator[Candidate]:
    """The same inputs in larger batches: the time that each batch of now takes of them."""
    batch = config.batch or traced_batch(profile)
    if not batch:
        return
    for times in BATCHES:
        seconds = predict_with(profile, replace(config, batch=times * batch)).seconds
        yield f"batch {times * batch} instead of {batch}", f"for throughput: time per batch of {batch}", seconds / times


def without_launches(profile: Profile, config: ExecutionConfig) -> Iterator[Candidate]:
    """Kernels that the CPU launches all at once."""
    if config.device.type == "cuda":
        now = predict_with(profile, config)
        how = "torch.cuda.make_graphed_callables, or torch.compile(mode='reduce-overhead')"
        yield "replay a CUDA graph", how, now.seconds - now.overhead_seconds


def fused_attention(profile: Profile, config: ExecutionConfig, findings: Sequence[Finding]) -> Iterator[Candidate]:
    """One operator for all attention that is written out."""
    fixes = [f.fix for f in findings if f.rule == "X9" and f.fix]
    if fixes:
        view = edited(profile.fused(config.fusion), fixes)
        seconds = predict_with(profile, config, view).seconds
        groups = group_findings(f for f in findings if f.rule == "X9" and f.fix)
        where = ", ".join(group.path or ROOT for group in groups[:PLACES]) + (", ..." if len(groups) > PLACES else "")
        yield "fuse attention", f"torch.nn.functional.scaled_dot_product_attention(q, k, v) in {where}", seconds


def best_findings(profile: Profile, config: ExecutionConfig, findings: Sequence[Finding]) -> Iterator[Candidate]:
    """The advice of the best groups of findings that change different operators, followed together."""
    chosen: list[FindingGroup] = []
    changed: set[str] = set()
    for group in group_findings(f for f in findings if f.fix and f.predicted_seconds_saved and f.helps):
        ops = {op for f in group.findings if f.fix for op in f.fix.ops}
        if len(chosen) < TOGETHER and group.first.rule not in WHOLE and ops.isdisjoint(changed):
            chosen.append(group)
            changed |= ops
    if chosen:
        fixes = [f.fix for group in chosen for f in group.findings if f.fix]
        seconds = predict_with(profile, config, edited(profile.fused(config.fusion), fixes)).seconds
        named = ", ".join(f"{rule_label(group.first.rule)} in {group.path or ROOT}" for group in chosen)
        best = f"the {len(chosen)} best groups" if len(chosen) > 1 else "the best group"
        yield f"follow {best} of findings", named, seconds
