"""`torch.autocast`: one in a forward pass, where torch casts only tensors with data, and one around a whole trace.

The tables of casts are PyTorch's ("CUDA Op-Specific Behavior"); a test compares them with the kernels that the
dispatcher has.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.tracing.tensors import all_tensors, moved

HALVES = (torch.bfloat16, torch.float16)

# Contractions, which every device's autocast computes in the lower precision.
LOWERED = frozenset(
    "convolution conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear matmul mm bmm addmm"
    " addbmm baddbmm einsum scaled_dot_product_attention".split()
)

# What `torch.autocast("cuda")` casts.
AUTOCAST_DTYPES = ("float16", "bfloat16")

LOWER = frozenset(
    "_convolution conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d convolution"
    " cudnn_convolution cudnn_convolution_transpose prelu addmm addmv addr matmul einsum mm mv linalg_vecdot linear"
    " addbmm baddbmm bmm chain_matmul linalg_multi_dot _thnn_fused_lstm_cell _thnn_fused_gru_cell lstm_cell gru_cell"
    " rnn_tanh_cell rnn_relu_cell _scaled_dot_product_flash_attention scaled_dot_product_attention"
    " lstm gru rnn_tanh rnn_relu".split()  # the last four by their kernel, `_cudnn_rnn`
)
FLOAT32 = frozenset(
    "acos asin binary_cross_entropy_with_logits cdist cosh cosine_embedding_loss cosine_similarity dist erfinv exp"
    " expm1 frobenius_norm group_norm hinge_embedding_loss huber_loss kl_div l1_loss layer_norm log log10 log1p log2"
    " logsumexp margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss native_layer_norm nll_loss"
    " nll_loss2d norm nuclear_norm pdist poisson_nll_loss pow reciprocal renorm rms_norm rsqrt sinh smooth_l1_loss"
    " soft_margin_loss softplus tan triplet_margin_loss upsample_bicubic2d upsample_bilinear2d upsample_linear1d"
    " upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d _upsample_bicubic2d_aa"
    " _upsample_bilinear2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d".split()
)
FLOAT32_RESULT = frozenset(
    "prod softmax log_softmax cumprod cumsum linalg_vector_norm linalg_matrix_norm sum".split()  # told by `dtype`
)
WIDEST = frozenset("addcdiv addcmul atan2 bilinear cross dot vdot grid_sampler index_put tensordot scatter_add".split())


def lower_precision(dtypes: Iterable[torch.dtype]) -> torch.dtype | None:
    """The dtype of a contraction of these, if autocast has cast some of its arguments; None in any other case."""
    different = {dtype for dtype in dtypes if castable(dtype)}
    return next((dtype for dtype in HALVES if dtype in different), None) if len(different) > 1 else None


def cast_to(dtype: torch.dtype, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as autocast hands it over; one that has the dtype already is itself."""
    return tensor.to(dtype) if castable(tensor.dtype) and tensor.dtype != dtype else tensor


def castable(dtype: torch.dtype) -> bool:
    """Whether autocast changes tensors of this dtype."""
    return dtype.is_floating_point and dtype != torch.float64


def autocasting() -> bool:
    """Whether a `with torch.autocast(...)` is being run: while torch casts, it looks switched off."""
    try:
        return torch.autocast_increment_nesting() > 1
    finally:
        torch.autocast_decrement_nesting()


def autocast_dtype(amp: bool | str) -> torch.dtype:
    """The lower precision that a user means: True is float16, as on a GPU.

    Raises CostlabError if it is none that autocast knows.
    """
    name = "float16" if amp is True else str(amp)
    if name not in AUTOCAST_DTYPES:
        raise CostlabError(f"unknown precision {name!r} for autocast; choose one of {', '.join(AUTOCAST_DTYPES)}")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


WIDEN = functools.partial(cast_to, torch.float32)


class Autocast:
    """Casts the arguments of operators to the types that autocast chooses, and keeps the casts of weights."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._weights: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def clear(self) -> None:
        """Forget the casts of weights, as at the end of `with torch.autocast(...)`."""
        self._weights.clear()

    def arguments(self, name: str, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The arguments of an operator as its kernel gets them; casts are operators themselves.

        Args:
            name: of the operator, with its namespace.
        """
        kind = name.removeprefix("aten::").partition(".")[0]
        if kind in LOWER:
            return self._cast(args, kwargs, self._lowered)
        if kind in FLOAT32:
            return self._cast(args, kwargs, WIDEN)
        tensors = [t for t in all_tensors((args, kwargs)) if castable(t.dtype)]
        if kind in WIDEST and len({t.dtype for t in tensors}) > 1:
            return self._cast(args, kwargs, WIDEN)
        if kind in FLOAT32_RESULT and kwargs.get("dtype") is None and any(t.dtype == self.dtype for t in tensors):
            if kind in ("softmax", "log_softmax", "cumsum", "cumprod"):
                return args[:2], {**kwargs, "dtype": torch.float32}
            return args, {**kwargs, "dtype": torch.float32}
        return args, kwargs

    def _cast(self, args: Any, kwargs: dict[str, Any], cast: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        return moved(args, cast), moved(kwargs, cast)

    def _lowered(self, tensor: torch.Tensor) -> torch.Tensor:
        if not castable(tensor.dtype) or tensor.dtype == self.dtype:
            return tensor
        if not (tensor.dtype == torch.float32 and tensor.requires_grad and tensor.is_leaf):
            return tensor.to(self.dtype)
        known = self._weights.get(id(tensor))
        if known is None:
            known = self._weights[id(tensor)] = tensor, tensor.to(self.dtype)
        return known[1]
