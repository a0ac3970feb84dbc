"""For phones, use operators that ExecuTorch hands to XNNPACK.

**What it does.** With a device of Arm cores (a phone, a Raspberry Pi), reports operators that XNNPACK's backend of
ExecuTorch does not support, or not in this form: an average pooling that counts its padding, a mean over other
dimensions than height and width, a softmax over another dimension than the last.

**Why is this bad?** ExecuTorch hands what its backend supports to XNNPACK in as few pieces as possible. What it does
not support runs in its portable kernels ("naive implementation used as a reference", Using ExecuTorch on iOS), which
"may have negative performance implications" (Backend Overview), and cuts the network in two pieces there. The list of
operators and constraints is that of the page "XNNPACK Operator Support" of ExecuTorch's documentation. Batch norms are
folded, and operators that export writes as supported ones (silu, relu6, scaled_dot_product_attention) are supported.

**Price.** Unknown in elements. In seconds, of a norm that alone reads what a convolution writes: the network without
it, as a batch norm in its place is folded. Others are not priced, because no device has times of ExecuTorch's portable
kernels. The message says which share of the predicted time the operator has at least.

**Use instead.** An operator of the list, with the same purpose: an average pooling with `count_include_pad=False`, a
batch norm instead of a layer norm. Or another backend: Core ML, the vendor's.
"""

from collections import Counter
from collections.abc import Callable, Mapping

from costlab.core.cost import FAMILY_OF
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.formatting.units import percent
from costlab.guidelines.analysis.mobile import is_mobile
from costlab.guidelines.model import CheckResult, Finding, Fix, Guideline, nothing_found
from costlab.latency.execution import ExecutionConfig

UNSUPPORTED = frozenset(  # operators of Core ATen, or written with those, that the list does not have
    "conv3d max_pool3d avg_pool1d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool3d adaptive_max_pool2d batch_norm"
    " adaptive_max_pool3d layer_norm group_norm rms_norm instance_norm log_softmax embedding embedding_bag index"
    " index_select gather scatter scatter_add index_put where masked_fill topk sort argsort argmax argmin cumsum"
    " cumprod sum prod var std var_mean std_mean amax amin max min any all vector_norm norm logsumexp erf sin cos tan"
    " asin acos atan sinh cosh acosh asinh atanh expm1 log1p log2 log10 reciprocal sign round trunc floor_divide"
    " remainder fmod softplus mish log_sigmoid eq ne lt le gt ge logical_and logical_or logical_not logical_xor"
    " bitwise_and bitwise_or bitwise_xor bitwise_not isnan isinf upsample_nearest1d upsample_nearest2d"
    " upsample_nearest3d upsample_linear1d upsample_trilinear3d upsample_bicubic2d grid_sampler pixel_shuffle"
    " pixel_unshuffle roll flip repeat tile reflection_pad1d reflection_pad2d replication_pad2d nonzero"
    " deform_conv2d roi_align roi_pool nms".split()
)
BATCH_CHANNELS_HEIGHT_WIDTH = 4
NORMS = ("layer_norm", "group_norm", "instance_norm", "rms_norm")


def sizes(op: Op, name: str) -> tuple[int, ...]:
    """An attribute with a number for each dimension."""
    value = op.attrs.get(name)
    return tuple(value) if isinstance(value, (list, tuple)) else ()


def counts_padding(op: Op) -> bool:
    """An average pooling in a form that is not supported."""
    return bool(op.attrs.get("ceil_mode") or (op.attrs.get("count_include_pad") and any(sizes(op, "padding"))))


def skips_pixels(op: Op) -> bool:
    """A max pooling whose stride is larger than its kernel."""
    return any(step > size for step, size in zip(sizes(op, "stride"), sizes(op, "kernel_size"), strict=False))


def of_other_dimensions(op: Op) -> bool:
    """A mean of anything but height and width of images."""
    rank = len(op.inputs[0].shape)
    return rank != BATCH_CHANNELS_HEIGHT_WIDTH or {d % rank for d in sizes(op, "dim")} != {2, 3}


def not_last(op: Op) -> bool:
    """A softmax over another dimension than the last."""
    return op.attrs.get("dim") not in (-1, len(op.output.shape) - 1)


CONSTRAINTS: Mapping[str, tuple[Callable[[Op], bool], str]] = {
    "avg_pool2d": (counts_padding, "takes avg_pool2d with ceil_mode=False, count_include_pad=False only"),
    "max_pool2d": (skips_pixels, "takes max_pool2d with a stride up to the kernel's size only"),
    "adaptive_avg_pool2d": (lambda op: op.output.shape[-2:] != (1, 1), "takes adaptive_avg_pool2d to 1 x 1 only"),
    "mean": (of_other_dimensions, "takes mean over height and width of four dimensions only"),
    "softmax": (not_last, "takes softmax over the last dimension only"),
    "pow": (lambda op: op.attrs.get("exponent") != 2, "takes pow with an exponent of 2 only"),
    "pad": (lambda op: op.attrs.get("mode") not in (None, "constant"), "takes pad with a constant only"),
}


def objection(op: Op) -> str | None:
    """Why XNNPACK's backend does not take an operator; None if it does, or if nothing public says so."""
    if op.kind in UNSUPPORTED:
        return f"has no {op.kind}"
    breaks, words = CONSTRAINTS.get(op.kind, (None, ""))
    return words if breaks and breaks(op) else None


def check(profile: Profile, config: ExecutionConfig) -> CheckResult:
    """Find operators that leave the backend."""
    from costlab.latency._predict import predict_with

    if not is_mobile(config.device):
        return CheckResult([])
    view = profile.fused("bn")
    now = predict_with(profile, config, view)
    readers = Counter(before for op in view.ops for before in op.after)
    findings = []
    for op in view.ops:
        words = None if op.free or not op.outputs or not op.inputs else objection(op)
        if words is not None:
            share = percent(now.by_op.get(op.name, 0.0) / now.seconds)
            message = f"ExecuTorch's XNNPACK backend {words}: it runs in a slower kernel, {share} of the time or more"
            findings.append(finding(op, message, op.name in now.by_op and is_after_convolution(op, view, readers)))
    return CheckResult(findings)


def is_after_convolution(op: Op, view: Profile, readers: Mapping[int, int]) -> bool:
    """Whether an operator is a norm of exactly what a convolution writes and nothing else reads."""
    if op.kind not in NORMS or len(op.after) != 1 or readers[op.after[0]] > 1 or op.after[0] in view.trace.outputs:
        return False
    before = view.ops[op.after[0]]
    x = op.inputs[0]
    return FAMILY_OF.get(before.kind) == "convolution" and (x.storage, x.shape) == (
        before.output.storage,
        before.output.shape,
    )


def finding(op: Op, message: str, folds: bool) -> Finding:
    """An operator that leaves the backend; `folds`: a batch norm in its place would be folded."""
    if folds:
        advice = "a batch norm, which is folded into the convolution before it; or another backend"
        return Finding(module=op.module, op=op.name, message=message, advice=advice, fix=Fix(removed=(op.name,)))
    return Finding(
        module=op.module,
        op=op.name,
        message=message,
        advice="an operator that the backend has, or another backend",
        unpriced="no times of ExecuTorch's portable kernels are known",
    )


BAD = {
    "group norm, and a pooling that counts its padding": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.GroupNorm(1, 16), nn.AvgPool2d(3, 1, 1))
inputs = (1, 3, 32, 32)
"""
}
GOOD = {
    "batch norm, and a pooling that does not": """from torch import nn

network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.AvgPool2d(3, 1, 1, count_include_pad=False))
inputs = (1, 3, 32, 32)
"""
}

GUIDELINE = Guideline("X19", "mobile-operators", __doc__, nothing_found, check_on=check, bad=BAD, good=GOOD)
