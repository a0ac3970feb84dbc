"""The table of cost rules: one for each kind of operator, by family. Kinds without a rule are uncounted, never zero."""

from collections.abc import Mapping

from costlab.core.cost.algebra import Cost, Rule
from costlab.core.cost.attention import attention, counted_attention
from costlab.core.cost.backward import ATTENTION, OTHERS, PRODUCTS
from costlab.core.cost.contractions import (
    GRU,
    LSTM,
    RNN,
    bilinear,
    convolution,
    convolution_over_time,
    deform_convolution,
    einsum,
    fused_recurrent,
    grouped_matrix_product,
    matrix_product,
    packed_matrix_product,
    products_of_lists,
    recurrent,
    recurrent_cell,
    sampled_product,
    semi_structured_product,
    summed_matrix_product,
    transposed_convolution,
    trilinear,
)
from costlab.core.cost.data_movement import (
    allocate,
    copy,
    create,
    embedding_bag,
    embedding_renorm,
    fill,
    gather,
    scatter,
)
from costlab.core.cost.element_wise import (
    batch_norm,
    cdist,
    fourier,
    nms,
    optimizer_step,
    per_input,
    per_output,
    per_stored,
)
from costlab.core.cost.linear_algebra import LINEAR_ALGEBRA
from costlab.core.cost.pooling import adaptive_pooling, grid_sample, interpolation, pooling, roi_align
from costlab.core.cost.quantised import QUANTISED, QUANTISED_PRODUCTS
from costlab.core.graph import Op
from costlab.core.optimizers import OPTIMIZERS


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
        **each_of("addmm _addmm_activation _sparse_addmm sspaddmm", matrix_product("mat1")),
        "_sparse_mm": matrix_product("sparse"),
        **each_of("_sparse_sparse_matmul _sparse_mm_reduce_impl", matrix_product("self")),
        **each_of("smm _scaled_mm_v2", matrix_product("self")),
        "hspmm": matrix_product("mat1"),
        "sparse_sampled_addmm": sampled_product,
        **each_of(
            "_weight_int4pack_mm _weight_int4pack_mm_for_cpu _weight_int4pack_mm_with_scales_and_zeros"
            " _weight_int8pack_mm _dyn_quant_matmul_4bit _mixed_dtypes_linear mkldnn_linear mkldnn::_linear_pointwise"
            " _sparse_semi_structured_linear quantized::matmul _compute_linear_combination",
            packed_matrix_product,
        ),
        **each_of("_sparse_semi_structured_mm _sparse_semi_structured_addmm _cslt_sparse_mm", semi_structured_product),
        **each_of(
            "_conv_depthwise2d conv_depthwise3d cudnn_convolution cudnn_convolution_relu cudnn_convolution_add_relu"
            " miopen_convolution miopen_convolution_relu miopen_convolution_add_relu miopen_depthwise_convolution"
            " mkldnn_convolution _slow_conv2d_forward slow_conv3d_forward slow_conv_dilated2d slow_conv_dilated3d"
            " _nnpack_spatial_convolution _mps_convolution mkldnn::_convolution_pointwise",
            convolution,
        ),
        **each_of(
            "slow_conv_transpose2d slow_conv_transpose3d cudnn_convolution_transpose miopen_convolution_transpose"
            " _mps_convolution_transpose mkldnn::_convolution_transpose_pointwise",
            transposed_convolution,
        ),
        "conv_tbc": convolution_over_time,
        **each_of(
            "_flash_attention_forward _flash_attention_forward_no_dropout_inplace _efficient_attention_forward"
            " _cudnn_attention_forward torch_attn::_varlen_attn",
            counted_attention,
        ),
        **QUANTISED_PRODUCTS,
        "_foreach_mm": products_of_lists,
        "_trilinear": trilinear,
        "addmv": matrix_product("mat"),
        "baddbmm": matrix_product("batch1"),
        "addbmm": summed_matrix_product,
        **each_of("grouped_mm _scaled_grouped_mm _scaled_grouped_mm_v2", grouped_matrix_product),
        "affine_grid_generator": matrix_product("theta"),
        "bilinear": bilinear,
        "einsum": einsum,
        **PRODUCTS,
    },
    "attention": {
        **each_of(
            "scaled_dot_product_attention _scaled_dot_product_cudnn_attention"
            " _scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math_for_mps",
            attention,
        ),
        "flex_attention": counted_attention,
        **ATTENTION,
    },
    "linear_algebra": LINEAR_ALGEBRA,
    "quantised": QUANTISED,
    "recurrent": {
        "lstm": recurrent(*LSTM),
        "gru": recurrent(*GRU),
        **each_of("rnn_tanh rnn_relu", recurrent(*RNN)),
        "lstm_cell": recurrent_cell(*LSTM),
        "gru_cell": recurrent_cell(*GRU),
        **each_of("rnn_tanh_cell rnn_relu_cell", recurrent_cell(*RNN)),
        **each_of("_cudnn_rnn miopen_rnn mkldnn_rnn_layer", fused_recurrent),
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
            " digamma signbit frexp gcd lcm igamma igammac isneginf isposinf isclose ldexp logaddexp2 mvlgamma"
            " nextafter poisson polygamma renorm rrelu_with_noise _add_relu _standard_gamma special_ndtri special_zeta"
            " special_i0e special_i1 special_i1e special_erfcx special_log_ndtr",
            per_output(1),
        ),
        **each_of("cdist _cdist_forward _euclidean_dist", cdist),
        **each_of("_thnn_fused_lstm_cell _thnn_fused_gru_cell", per_input(3)),
        "addr": per_output(2),
        "cross": per_output(3),
    },
    "reduction": {
        **each_of(
            "sum mean max min amax amin argmax argmin prod all any norm vector_norm logsumexp cumsum cumprod cummax"
            " cummin count_nonzero median nanmedian mode topk sort argsort kthvalue unique unique_consecutive nonzero"
            " bincount histc searchsorted bucketize equal aminmax nansum nanmean trace logcumsumexp quantile"
            " nanquantile _is_all_true _is_any_true multinomial allclose dist segment_reduce",
            per_input(1),
        ),
        **each_of("var std", per_input(3)),
        **each_of("var_mean std_mean", per_input(3)),
        "cosine_similarity": per_input(6),
        **each_of("_ctc_loss _pdist_forward", per_input(3)),
        "nms": nms,
        **each_of("_sparse_sum _sparse_csr_sum _sparse_csr_prod", per_stored(1)),
        **each_of("_sparse_softmax _sparse_log_softmax", per_stored(3)),
    },
    "fourier": each_of(
        "fft_fft fft_ifft fft_rfft fft_irfft fft_hfft fft_ihfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn"
        " fft_ifftn fft_rfftn fft_irfftn _fft_c2c _fft_r2c _fft_c2r",
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
            " adjoint resolve_conj resolve_neg moveaxis vander chunk_cat one_hot max_unpool2d max_unpool3d lu_unpack"
            " unfold_backward sparse_coo_tensor _sparse_coo_tensor_with_dims_and_tensors sparse_compressed_tensor"
            " to_sparse _to_sparse _to_sparse_csr _to_sparse_csc _to_sparse_bsr to_dense _to_dense _coalesce _indices"
            " _values indices values crow_indices col_indices sparse_mask _jagged_to_padded_dense_forward"
            " _padded_dense_to_jagged_forward set unsafe_split unsafe_split_with_sizes as_strided_scatter"
            " nonzero_static alias_copy as_strided_copy detach_copy diagonal_copy expand_copy narrow_copy permute_copy"
            " split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy unfold_copy unsqueeze_copy view_copy"
            " _reshape_copy lift_fresh_copy"
            " _convert_indices_from_coo_to_csr _convert_indices_from_csr_to_coo",
            copy,
        )
    },
    "indexing": {
        **each_of("embedding index gather index_select take take_along_dim masked_select pack_padded_sequence", gather),
        "embedding_bag": embedding_bag,
        "embedding_renorm": embedding_renorm,
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
            " hann_window hamming_window blackman_window normal uniform exponential cauchy geometric log_normal",
            create,
        ),
        **each_of(
            "empty empty_strided empty_like empty_permuted new_empty new_empty_strided _efficientzerotensor", allocate
        ),
        **each_of("fill zero copy", fill),
    },
    "backward": OTHERS,
    "optimizer": dict.fromkeys(OPTIMIZERS, optimizer_step),
}

RULES: dict[str, Rule] = {kind: rule for family in FAMILIES.values() for kind, rule in family.items()}
FAMILY_OF: dict[str, str] = {kind: family for family, rules in FAMILIES.items() for kind in rules}


def cost_of(op: Op, rules: Mapping[str, Rule] = RULES) -> Cost | None:
    """The cost of one operator without its parameters; None if no rule knows its kind."""
    if op.free:
        return Cost()
    rule = rules.get(op.kind)
    return rule(op) if rule else None
