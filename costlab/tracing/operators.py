"""Facts about torch's operators: their kinds, their arguments, and which of them need care when traced."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from costlab.tracing.decompositions import REWRITES
from costlab.tracing.guesses import GUESSES, GuessRule

# Prefixes that do not change what an operator computes, and the operators that have them.
PREFIXED = {
    "_": "adaptive_avg_pool2d adaptive_avg_pool3d aminmax chunk_cat conj conj_physical embedding_bag int_mm log_softmax"
    " logcumsumexp pack_padded_sequence pad_packed_sequence scaled_mm softmax stack unique weight_norm",
    "linalg_": "cross diagonal norm vander vector_norm",
    "native_": "batch_norm channel_shuffle dropout group_norm layer_norm norm",
    "special_": "digamma erf erfc erfinv exp2 expm1 i0 log1p log_softmax logit logsumexp round sinc softmax xlogy",
}

# Kinds that differ from torch's name by more than the suffix of an in-place operator.
KINDS = {
    **{prefix + kind: kind for prefix, kinds in PREFIXED.items() for kind in kinds.split()},
    "__and__": "bitwise_and",
    "__or__": "bitwise_or",
    "__xor__": "bitwise_xor",
    "__lshift__": "bitwise_left_shift",
    "__rshift__": "bitwise_right_shift",
    "_convolution": "convolution",
    "_batch_norm_no_update": "batch_norm",
    "_batch_norm_with_update": "batch_norm",
    "_embedding_bag_forward_only": "embedding_bag",
    "_fused_rms_norm": "rms_norm",
    "_grouped_mm": "grouped_mm",
    "_local_scalar_dense": "item",
    "_native_batch_norm_legit": "batch_norm",
    "_masked_softmax": "softmax",
    "_new_zeros_with_same_feature_meta": "new_zeros",
    "_native_batch_norm_legit_functional": "batch_norm",
    "_native_batch_norm_legit_no_training": "batch_norm",
    "_prelu_kernel": "prelu",
    "_reshape_alias": "reshape",
    "_safe_softmax": "softmax",
    "_scaled_dot_product_attention_math": "scaled_dot_product_attention",
    "_scaled_dot_product_efficient_attention": "scaled_dot_product_attention",
    "_scaled_dot_product_flash_attention": "scaled_dot_product_attention",
    "_scaled_dot_product_flash_attention_for_cpu": "scaled_dot_product_attention",
    "_to_copy": "to",
    "_unique2": "unique",
    "_unsafe_index": "index",
    "_unsafe_view": "view",
    "_unsafe_index_put": "index_put",
    "_unsafe_masked_index": "index",
    "_upsample_bicubic2d_aa": "upsample_bicubic2d",
    "_upsample_bilinear2d_aa": "upsample_bilinear2d",
    "_weight_norm_interface": "weight_norm",
    "absolute": "abs",
    "concat": "cat",
    "concatenate": "cat",
    "convert_element_type": "to",
    "divide": "div",
    "fft_fftshift": "roll",
    "fft_ifftshift": "roll",
    "fix": "trunc",
    "frobenius_norm": "norm",
    "fused_moving_avg_obs_fake_quant": "fake_quantize",
    "greater": "gt",
    "greater_equal": "ge",
    "grid_sampler_2d": "grid_sampler",
    "grid_sampler_3d": "grid_sampler",
    "is_nonzero": "item",
    "less": "lt",
    "less_equal": "le",
    "lift": "lift_fresh",
    "linalg_matmul": "matmul",
    "linalg_matrix_norm": "norm",
    "log_sigmoid_forward": "log_sigmoid",
    "multiply": "mul",
    "negative": "neg",
    "not_equal": "ne",
    "numpy_T": "t",
    "special_expit": "sigmoid",
    "square_": "square",
    "subtract": "sub",
    "true_divide": "div",
    "unfold": "unfold_dim",  # Tensor.unfold slides a window over one dimension
    "unique_dim": "unique",
}

VISION = frozenset("deform_conv2d nms ps_roi_align ps_roi_pool roi_align roi_pool".split())  # torchvision's own

# Checks that compute nothing and fail on tensors without data. `_nested_tensor_from_mask_left_aligned` asks whether
# padding may be skipped: no, it costs like any other token.
IGNORED = {
    "aten::_assert_async",
    "aten::_assert_scalar",
    "aten::_assert_tensor_metadata",
    "aten::_functional_assert_async",
    "aten::_functional_assert_scalar",
    "aten::_linalg_check_errors",
    "aten::_nested_tensor_from_mask_left_aligned",
    "aten::sym_constrain_range",
    "aten::sym_constrain_range_for_size",
}

# Questions about sizes and memory, which compute nothing.
ABOUT = {
    f"aten::{name}"
    for name in "is_same_size is_pinned _has_same_storage_numel dense_dim sparse_dim is_coalesced".split()
}

# Operators whose result does not depend on activations: computed if small, so that masks, position tables and loop
# bounds made inside `forward` can decide its control flow.
CREATES = {
    f"aten::{name}"
    for name in (
        "arange bartlett_window blackman_window empty empty_like empty_strided eye full full_like hamming_window"
        " hann_window kaiser_window linspace logspace new_empty new_empty_strided new_full new_ones new_zeros ones"
        " ones_like rand rand_like randint randint_like randn randn_like randperm scalar_tensor tril_indices"
        " triu_indices zeros zeros_like"
    ).split()
}


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """The facts about one torch operator overload that its schema contains."""

    kind: str
    arguments: tuple[str, ...]
    lists: frozenset[str] = frozenset()  # arguments that are lists of numbers, also where one number is given
    defaults: dict[str, Any] = field(default_factory=dict)  # plain attributes that hold when not given
    written: frozenset[str] = frozenset()  # arguments that it writes in place
    overwritten: frozenset[str] = frozenset()  # those of them that it does not read first: `out`
    returned: tuple[str | None, ...] = (None,)  # for each result, the written argument that it is
    composite: bool = False  # torch can decompose it
    aliases: bool = False  # returns views of its first argument; a composite one, such as `reshape`, may copy instead
    creates: bool = False
    draws: bool = False  # random numbers
    ignored: bool = False
    marker: bool = False  # for a profiler or about a tensor: computes nothing, and is not part of the network
    reshapes_in_place: bool = False  # `unsqueeze_`, `resize_`: changes the metadata of its argument
    guess: GuessRule | None = None  # of its result, if sizes or Python values depend on unknown values
    has_device: bool = False
    makes_sparse: bool = False  # its result is a sparse tensor
    rewrite: Callable[..., Any] | None = None  # computes the same with operators that have rules
    overload: Any = None  # what torch calls; None if this process cannot


@functools.cache
def operator_of(func: Any) -> Operator:
    """The facts about an overload, read from its schema once."""
    schema = func._schema
    written = {a.name: a.alias_info for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write}
    by_alias = {next(iter(info.before_set), None): name for name, info in written.items()}
    returned = tuple(
        by_alias.get(next(iter(r.alias_info.before_set), None)) if r.alias_info and r.alias_info.is_write else None
        for r in schema.returns
    )
    return Operator(
        kind=kind_of(schema.name),
        arguments=tuple(a.name for a in schema.arguments),
        lists=frozenset(a.name for a in schema.arguments if str(a.type) in ("List[int]", "Optional[List[int]]")),
        defaults={
            a.name: json_value(a.default_value)
            for a in schema.arguments
            if a.default_value is not None and a.name not in DEVICE_ARGUMENTS
        },
        written=frozenset(written),
        overwritten=frozenset(a.name for a in schema.arguments if a.is_out),
        returned=returned,
        composite=is_composite(func.name()),
        aliases=any(r.alias_info is not None for r in schema.returns) and not written,
        creates=schema.name in CREATES,
        ignored=schema.name in IGNORED,
        marker=schema.name in ABOUT or schema.name.startswith(("profiler::", "prim::")),
        reshapes_in_place=torch.Tag.inplace_view in func.tags,
        guess=GUESSES.get(func.name()),
        draws=torch.Tag.nondeterministic_seeded in func.tags,
        has_device=any(a.name == "device" for a in schema.arguments),
        makes_sparse=any(part in schema.name for part in ("sparse_c", "sparse_b", "to_sparse")),
        rewrite=REWRITES.get(func.name()),
        overload=func,
    )


def is_composite(name: str) -> bool:
    """Whether torch can decompose an operator; those of its interpreter (`prim`) are unknown to the dispatcher."""
    try:
        return bool(torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd"))
    except RuntimeError:
        return False


def kind_of(name: str) -> str:
    """The human name of a torch operator: `aten::add_` is `add`, `aten::native_layer_norm` is `layer_norm`.

    Operators of other libraries keep their full name, so that a rule can be given for `mylib::op`.
    """
    namespace, _, base = name.partition("::")
    if namespace == "torchvision" and base in VISION:
        return base
    in_place = base.endswith("_") and not base.startswith("__")
    if namespace != "aten":
        plain = base[:-1] if in_place else base
        return KINDS.get(plain, plain) if namespace == "prims" else f"{namespace}::{plain}"
    kind = KINDS.get(base) or KINDS.get(base[:-1] if in_place else base) or (base[:-1] if in_place else base)
    if kind.removeprefix("_").startswith("fake_quantize_per_"):
        return "fake_quantize"
    return kind.replace("_upsample_nearest_exact", "upsample_nearest")


def specific_kind(kind: str, attrs: dict[str, Any], weight_rank: int) -> str:
    """The kind that attributes decide: a hardtanh from 0 to 6 is relu6, a convolution has its spatial dimensions."""
    if kind == "hardtanh" and (attrs.get("min_val"), attrs.get("max_val")) == (0, 6):
        return "relu6"
    if kind != "convolution":
        return kind
    return f"conv{'_transpose' if attrs.get('transposed') else ''}{weight_rank - 2}d"


# Arguments that say how to compute, not what.
DEVICE_ARGUMENTS = frozenset(
    "device layout pin_memory generator non_blocking cudnn_enabled deterministic benchmark".split()
)


def json_value(value: Any) -> Any:
    """An attribute as plain data that JSON can hold; numbers that JSON lacks become words."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value - value == 0.0 else str(value)
    if isinstance(value, (list, tuple)):
        return [json_value(v) for v in value]
    return str(value).removeprefix("torch.")
