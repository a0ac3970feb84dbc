"""Cost formulas of backward operators, which a network meets that differentiates: those of the products that they run.

A product y = x w has two gradients, of as many mult-adds each: one of x, made of the gradient of y and w, and one of w,
made of the gradient of y and x. Fused attention computes its scores once more.
"""

from collections.abc import Callable
from math import prod

from costlab.core.cost.algebra import Cost, Rule, traffic
from costlab.core.cost.contractions import fused_recurrent
from costlab.core.cost.data_movement import copy
from costlab.core.cost.element_wise import per_input, per_output
from costlab.core.graph import Op, Tensor

GRADIENTS = frozenset(("grad_output", "grad_out", "grad_out_", "grad", "grad_w"))


def gradient_of(op: Op) -> Tensor:
    """The gradient that an operator is given."""
    return next(tensor for tensor in op.inputs if tensor.name in GRADIENTS)


def two_products(input: str, weight: str, products: Callable[[Op], int]) -> Rule:
    """The gradients of the operands `input` and `weight`, as far as `output_mask` asks for them.

    Each reads the gradient and the other operand, and takes the mult-adds of the forward product.
    """

    def rule(op: Op) -> Cost:
        wanted = (op.attrs.get("output_mask") or op.attrs.get("mask") or [True, True])[:2]
        gradient = gradient_of(op)
        operands = [op[name] for name, asked in zip((weight, input), wanted, strict=True) if asked]
        reads = [(t.elements, t) for operand in operands for t in (gradient, operand)]
        written = sum(t.numel for t in op.outputs[: len(operands)])
        mult_adds = len(operands) * products(op)
        return traffic(op, mult_adds=mult_adds, activations=written, reads=reads or [(gradient.elements, gradient)])

    return rule


def convolution_products(op: Op) -> int:
    """The mult-adds of the convolution, or of the transposed one."""
    input = op.find("input") or op["self"]
    spread = input if op.attrs.get("transposed") or "transpose" in op.kind else gradient_of(op)
    return spread.numel * prod(op["weight"].shape[1:])


def linear_products(op: Op) -> int:
    """[..., o] is the gradient of x [..., i] times w [o, i]."""
    return op["grad_output"].numel * op["weight"].shape[-1]


def matmul_products(op: Op) -> int:
    """[..., m, n] is the gradient of [..., m, k] times [..., k, n]."""
    return op["grad"].numel * op["self"].shape[-1]


def one_gradient(other: str, contracted: int) -> Rule:
    """The gradient of one operand: each element of the given gradient meets dimension `contracted` of the other."""

    def rule(op: Op) -> Cost:
        count = op["grad_output"].numel * op[other].shape[contracted]
        return traffic(op, mult_adds=count, activations=op.output.numel)

    return rule


def attention_backward(op: Op) -> Cost:
    """q [n, h, l, e], k [n, h, s, e], v [n, h, s, f]: five products over the scores.

    The scores again (e), the gradients of v and of the weights (f), of q and of k (e). A score takes 3 operations for
    the softmax again and 4 for its gradient.
    """
    q, k, v = op["query"], op["key"], op["value"]
    scores = op.attrs.get("scores", prod(q.shape[:-1]) * k.shape[-2])
    count = scores * (3 * q.shape[-1] + 2 * v.shape[-1])
    return traffic(op, count, scores * 7, activations=sum(t.numel for t in op.outputs[:3]))


def recurrent_backward(op: Op) -> Cost:
    """Every weight matrix of every step meets the gradient twice, for the gradient of its input and for its own."""
    cost = fused_recurrent(op)
    return traffic(op, mult_adds=2 * cost.mult_adds, activations=op.output.numel)


def deform_convolution_backward(op: Op) -> Cost:
    """The gradients of the sampled input and of the weight; each sample has 4 neighbours, offsets and a mask."""
    grad, weight, input = op["grad"], op["weight"], op["input"]
    sampled = grad.shape[0] * input.shape[1] * prod(grad.shape[2:]) * prod(weight.shape[2:])
    mult_adds = 2 * grad.numel * prod(weight.shape[1:])
    return traffic(op, mult_adds, element_wise_ops=3 * 4 * sampled, activations=sum(t.numel for t in op.outputs[:2]))


def windows(op: Op) -> Cost:
    """Each element of the gradient goes to its window."""
    return traffic(op, element_wise_ops=op["grad_output"].numel * prod(op.attrs["kernel_size"]))


def adaptive_windows(op: Op) -> Cost:
    """Each element of the input gets a part of the gradient."""
    return traffic(op, element_wise_ops=op.output.numel)


def interpolation(taps: int) -> Rule:
    """Each element of the gradient goes to the `taps` elements that made it."""
    return lambda op: traffic(op, element_wise_ops=taps * gradient_of(op).numel)


def per_gradient(operations: int) -> Rule:
    """`operations` for each element of the gradient that is given."""
    return lambda op: traffic(op, element_wise_ops=operations * gradient_of(op).numel)


def cdist_backward(op: Op) -> Cost:
    """Distances [b, p, r] of m features: three operations for each feature."""
    return traffic(op, element_wise_ops=3 * op["grad"].numel * op["x1"].shape[-1])


CONVOLUTION = two_products("input", "weight", convolution_products)
CONVOLUTION_OF_SELF = two_products("self", "weight", convolution_products)
LINEAR = two_products("self", "weight", linear_products)

PRODUCTS: dict[str, Rule] = {
    **dict.fromkeys("convolution_backward convolution_backward_overrideable".split(), CONVOLUTION),
    **dict.fromkeys(
        "_slow_conv2d_backward mps_convolution_backward mps_convolution_transpose_backward".split(), CONVOLUTION_OF_SELF
    ),
    **dict.fromkeys("linear_backward mkldnn_linear_backward".split(), LINEAR),
    "mkldnn_linear_backward_input": one_gradient("weight", -1),
    "mkldnn_linear_backward_weights": one_gradient("input", -1),
    "matmul_backward": two_products("self", "other", matmul_products),
    "cudnn_affine_grid_generator_backward": lambda op: traffic(op, op["grad"].numel * 3, activations=op.output.numel),
    "torchvision::_deform_conv2d_backward": deform_convolution_backward,
    **dict.fromkeys("_cudnn_rnn_backward miopen_rnn_backward mkldnn_rnn_layer_backward".split(), recurrent_backward),
}
ATTENTION: dict[str, Rule] = dict.fromkeys(
    (
        "_scaled_dot_product_flash_attention_backward _scaled_dot_product_flash_attention_for_cpu_backward"
        " _scaled_dot_product_efficient_attention_backward _scaled_dot_product_cudnn_attention_backward"
        " _scaled_dot_product_fused_attention_overrideable_backward _flash_attention_backward"
        " _efficient_attention_backward _cudnn_attention_backward torch_attn::_varlen_attn_backward"
        " flex_attention_backward"
    ).split(),
    attention_backward,
)
OTHERS: dict[str, Rule] = {
    **dict.fromkeys(
        "native_layer_norm_backward native_group_norm_backward".split(), per_gradient(13)
    ),  # x^ 2, bias 1, weight 2, g w 1, two sums 3, r (g - a - x^ b) 4
    "_fused_rms_norm_backward": per_gradient(9),  # x^ 1, weight 2, g w 1, a sum 2, r (g - x^ b) 3
    **dict.fromkeys(
        "native_batch_norm_backward cudnn_batch_norm_backward miopen_batch_norm_backward batch_norm_backward".split(),
        per_gradient(9),  # x^ 2, two sums 3, w r (g - a - x^ b) 4
    ),
    "_weight_norm_interface_backward": per_gradient(5),
    **dict.fromkeys(
        "_softmax_backward_data _log_softmax_backward_data _masked_softmax_backward _sparse_softmax_backward_data"
        " _sparse_log_softmax_backward_data".split(),
        per_gradient(4),  # y (g - sum(g y))
    ),
    **dict.fromkeys("avg_pool2d_backward avg_pool3d_backward".split(), windows),
    **dict.fromkeys(
        "_adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward adaptive_avg_pool2d_backward"
        " adaptive_avg_pool3d_backward mkldnn_adaptive_avg_pool2d_backward".split(),
        adaptive_windows,
    ),
    **dict.fromkeys(
        "max_pool2d_with_indices_backward max_pool3d_with_indices_backward adaptive_max_pool2d_backward"
        " adaptive_max_pool3d_backward fractional_max_pool2d_backward fractional_max_pool3d_backward"
        " upsample_nearest1d_backward upsample_nearest2d_backward upsample_nearest3d_backward embedding_dense_backward"
        " _embedding_bag_dense_backward _embedding_bag_backward _nested_sum_backward _segment_reduce_backward"
        " reflection_pad1d_backward"
        " reflection_pad2d_backward reflection_pad3d_backward replication_pad1d_backward replication_pad2d_backward"
        " replication_pad3d_backward torchvision::_roi_pool_backward torchvision::_ps_roi_pool_backward".split(),
        per_gradient(1),
    ),
    "upsample_linear1d_backward": interpolation(2),
    **dict.fromkeys(
        "upsample_bilinear2d_backward _upsample_bilinear2d_aa_backward torchvision::_roi_align_backward"
        " torchvision::_ps_roi_align_backward".split(),
        interpolation(4),
    ),
    "upsample_trilinear3d_backward": interpolation(8),
    **dict.fromkeys("upsample_bicubic2d_backward _upsample_bicubic2d_aa_backward".split(), interpolation(16)),
    **dict.fromkeys(
        "grid_sampler_2d_backward _grid_sampler_2d_cpu_fallback_backward cudnn_grid_sampler_backward".split(),
        interpolation(8),  # of the input and of the grid
    ),
    "grid_sampler_3d_backward": interpolation(16),
    **dict.fromkeys("_cdist_backward".split(), cdist_backward),
    **dict.fromkeys(
        "threshold_backward gelu_backward silu_backward sigmoid_backward tanh_backward elu_backward hardtanh_backward"
        " hardswish_backward hardsigmoid_backward hardshrink_backward softshrink_backward softplus_backward"
        " mish_backward leaky_relu_backward log_sigmoid_backward logit_backward rrelu_with_noise_backward glu_backward"
        " glu_backward_jvp _prelu_kernel_backward native_dropout_backward _thnn_fused_lstm_cell_backward_impl"
        " _thnn_fused_gru_cell_backward masked_scatter_backward mse_loss_backward huber_loss_backward"
        " smooth_l1_loss_backward soft_margin_loss_backward binary_cross_entropy_backward nll_loss_backward"
        " nll_loss2d_backward multi_margin_loss_backward multilabel_margin_loss_backward dist_backward"
        " _standard_gamma_grad _fake_quantize_learnable_per_tensor_affine_backward"
        " _fake_quantize_learnable_per_channel_affine_backward _embedding_bag_per_sample_weights_backward".split(),
        per_output(1),
    ),
    "_pdist_backward": per_input(3),
    **dict.fromkeys(
        "select_backward slice_backward diagonal_backward _nested_select_backward embedding_sparse_backward".split(),
        copy,
    ),
}

BACKWARD: dict[str, Rule] = {**PRODUCTS, **ATTENTION, **OTHERS}
