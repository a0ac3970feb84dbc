"""The table of cost rules: one for each kind of operator, by family. Kinds without a rule are uncounted, never zero."""

from __future__ import annotations

from collections.abc import Mapping

from costlab.core.cost.algebra import Cost, Rule
from costlab.core.cost.contractions import (
    GRU,
    LSTM,
    RNN,
    attention,
    bilinear,
    convolution,
    deform_convolution,
    einsum,
    grouped_matrix_product,
    matrix_product,
    recurrent,
    recurrent_cell,
    summed_matrix_product,
    transposed_convolution,
)
from costlab.core.cost.data_movement import allocate, copy, create, embedding_bag, fill, gather, scatter
from costlab.core.cost.element_wise import batch_norm, cdist, fourier, nms, per_input, per_output
from costlab.core.cost.pooling import adaptive_pooling, grid_sample, interpolation, pooling, roi_align
from costlab.core.graph import Op


def each_of(kinds: str, rule: Rule) -> dict[str, Rule]:
    """`rule` for every kind of a list of words."""
    return dict.fromkeys(kinds.split(), rule)


FAMILIES: dict[str, dict[str, Rule]] = {
    "convolution": {
        **each_of("conv1d conv2d conv3d", convolution),
        **each_of("conv_transpose1d conv_transpose2d conv_transpose3d", transposed_convolution),
        "deform_conv2d": deform_convolution,
    },
    "matmul": {
        "linear": matrix_product("input"),
        **each_of("matmul mm bmm mv dot vdot int_mm scaled_mm", matrix_product("self")),
        "addmm": matrix_product("mat1"),
        "addmv": matrix_product("mat"),
        "baddbmm": matrix_product("batch1"),
        "addbmm": summed_matrix_product,
        "grouped_mm": grouped_matrix_product,
        "affine_grid_generator": matrix_product("theta"),
        "bilinear": bilinear,
        "einsum": einsum,
    },
    "attention": {"scaled_dot_product_attention": attention},
    "recurrent": {
        "lstm": recurrent(*LSTM),
        "gru": recurrent(*GRU),
        **each_of("rnn_tanh rnn_relu", recurrent(*RNN)),
        "lstm_cell": recurrent_cell(*LSTM),
        "gru_cell": recurrent_cell(*GRU),
        **each_of("rnn_tanh_cell rnn_relu_cell", recurrent_cell(*RNN)),
    },
    "normalisation": {
        **each_of("batch_norm instance_norm", batch_norm),
        **each_of("layer_norm group_norm", per_input(5)),
        "rms_norm": per_input(4),
        **each_of("weight_norm weight_norm_interface", per_input(3)),
    },
    "softmax": each_of("softmax log_softmax", per_input(3)),
    "loss": each_of(
        "mse_loss l1_loss smooth_l1_loss huber_loss soft_margin_loss binary_cross_entropy kl_div nll_loss_forward"
        " binary_cross_entropy_with_logits nll_loss2d_forward multilabel_margin_loss_forward multi_margin_loss",
        per_input(3),
    ),
    "pooling": {
        **each_of("max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d", pooling),
        **each_of("max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices", pooling),
        **each_of("adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d", adaptive_pooling),
        **each_of("adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d", adaptive_pooling),
        **each_of("roi_align roi_pool ps_roi_align ps_roi_pool", roi_align),
    },
    "interpolation": {
        **each_of("upsample_nearest1d upsample_nearest2d upsample_nearest3d", interpolation(1)),
        **each_of("upsample_linear1d", interpolation(2)),
        "upsample_bilinear2d": interpolation(4),
        "upsample_trilinear3d": interpolation(8),
        "upsample_bicubic2d": interpolation(16),
        "grid_sampler": grid_sample,
    },
    "element_wise": {
        **each_of(
            "add sub rsub mul div floor_divide remainder fmod pow square sqrt rsqrt reciprocal exp exp2 expm1 log"
            " log2 log10 log1p abs neg sign sgn floor ceil round trunc frac clamp clamp_min clamp_max maximum minimum"
            " fmax fmin sin cos tan asin acos atan atan2 sinh cosh tanh erf erfc erfinv sigmoid logit relu relu6"
            " hardtanh hardswish hardsigmoid silu mish gelu elu selu celu leaky_relu prelu rrelu softplus softsign"
            " hardshrink softshrink tanhshrink log_sigmoid threshold glu eq ne lt le gt ge logical_and logical_or"
            " logical_not logical_xor bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_left_shift"
            " bitwise_right_shift where masked_fill isnan isinf isfinite isin lerp addcmul addcdiv nan_to_num dropout"
            " feature_dropout alpha_dropout polar complex real imag angle view_as_complex view_as_real conj"
            " conj_physical hypot copysign fake_quantize quantize_per_tensor quantize_per_channel dequantize xlogy"
            " sinc bernoulli triu tril deg2rad rad2deg i0 special_entr heaviside logaddexp acosh asinh atanh lgamma"
            " digamma signbit",
            per_output(1),
        ),
        "cdist": cdist,
        "addr": per_output(2),
        "cross": per_output(3),
    },
    "reduction": {
        **each_of(
            "sum mean max min amax amin argmax argmin prod all any norm vector_norm logsumexp cumsum cumprod cummax"
            " cummin count_nonzero median nanmedian mode topk sort argsort kthvalue unique unique_consecutive nonzero"
            " bincount histc searchsorted bucketize equal aminmax nansum nanmean trace logcumsumexp quantile"
            " nanquantile",
            per_input(1),
        ),
        **each_of("var std", per_input(3)),
        **each_of("var_mean std_mean", per_input(3)),
        "cosine_similarity": per_input(6),
        "nms": nms,
    },
    "fourier": each_of(
        "fft_fft fft_ifft fft_rfft fft_irfft fft_hfft fft_ihfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn"
        " fft_ifftn fft_rfftn fft_irfftn",
        fourier,
    ),
    "copy": {
        **each_of(
            "reshape view contiguous clone to flatten unflatten cat stack repeat repeat_interleave tile roll pad"
            " constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d"
            " replication_pad3d flip fliplr flipud rot90 pixel_shuffle pixel_unshuffle channel_shuffle unfold im2col"
            " fold col2im diag diag_embed meshgrid hstack vstack item expand movedim permute transpose select slice"
            " unsqueeze squeeze chunk split split_with_sizes tensor_split unbind narrow t numpy_T mT diagonal"
            " unfold_dim as_strided expand_as view_as reshape_as detach alias lift_fresh swapaxes ravel block_diag"
            " atleast_1d select_scatter slice_scatter diagonal_scatter broadcast_to broadcast_tensors cartesian_prod"
            " resize pad_packed_sequence type_as positive hsplit vsplit combinations matrix_H"
            " adjoint resolve_conj resolve_neg moveaxis vander chunk_cat one_hot max_unpool2d max_unpool3d",
            copy,
        ),
    },
    "indexing": {
        **each_of("embedding index gather index_select take take_along_dim masked_select pack_padded_sequence", gather),
        "embedding_bag": embedding_bag,
        **each_of(
            "scatter scatter_add scatter_reduce index_put index_add index_copy index_fill masked_scatter index_reduce"
            " put",
            scatter,
        ),
    },
    "creation": {
        **each_of(
            "zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full arange linspace logspace eye"
            " rand randn randint randperm rand_like randn_like randint_like tril_indices triu_indices scalar_tensor"
            " hann_window hamming_window blackman_window normal uniform exponential",
            create,
        ),
        **each_of("empty empty_strided empty_like new_empty new_empty_strided", allocate),
        **each_of("fill zero copy", fill),
    },
}

RULES: dict[str, Rule] = {kind: rule for family in FAMILIES.values() for kind, rule in family.items()}
FAMILY_OF: dict[str, str] = {kind: family for family, rules in FAMILIES.items() for kind in rules}


def cost_of(op: Op, rules: Mapping[str, Rule] = RULES) -> Cost | None:
    """The cost of one operator without its parameters; None if no rule knows its kind."""
    if op.free:
        return Cost()
    rule = rules.get(op.kind)
    return rule(op) if rule else None
