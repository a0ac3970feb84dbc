"""Cost formulas of torch.ao's quantised operators: those of the operators that they replace, in fewer bytes."""

from math import prod

from costlab.core.cost.algebra import Cost, Rule, traffic
from costlab.core.cost.element_wise import per_output
from costlab.core.graph import Op


def quantised_linear(op: Op) -> Cost:
    """[..., i] times a packed weight [o, i]."""
    outputs = op.output.numel
    return traffic(op, mult_adds=outputs * op.inputs[0].shape[-1], activations=outputs)


def quantised_convolution(op: Op) -> Cost:
    """Every output element sums over one group's channels and the kernel: weight [o, i/g, k...]."""
    outputs = op.output.numel
    return traffic(op, mult_adds=outputs * prod(op["weight"].shape[1:]), activations=outputs)


def quantised_transposed_convolution(op: Op) -> Cost:
    """Every input element is spread over one group's outputs and the kernel: weight [i, o/g, k...]."""
    spread = op.inputs[0].numel * prod(op["weight"].shape[1:])
    return traffic(op, mult_adds=spread, activations=op.output.numel)


def quantised_recurrent(op: Op) -> Cost:
    """Every step and row multiplies every weight matrix once."""
    rows = prod(op.inputs[0].shape[:-1])
    weights = [t for t in op.each("params") if len(t.shape) == 2]
    return traffic(op, mult_adds=rows * sum(t.numel for t in weights), activations=op.output.numel)


def quantised_cell(op: Op) -> Cost:
    """One step: rows times both packed weights."""
    rows = prod(op.inputs[0].shape[:-1])
    weights = [t for t in op.inputs if t.name == "weight"]
    return traffic(op, mult_adds=rows * sum(t.numel for t in weights), activations=op.output.numel)


def lookup(op: Op) -> Cost:
    """Reads indices and the rows that they pick."""
    table = op["weight"]
    indices = [t for t in op.inputs if t.name not in ("weight", "bias")]
    picked = indices[0].numel * table.shape[-1] if indices else 0
    return traffic(op, reads=[(picked, table), *((t.elements, t) for t in indices)])


def each(prefix: str, words: str, rule: Rule) -> dict[str, Rule]:
    """`rule` for every word, with the prefix of its namespace."""
    return {f"{prefix}::{word}": rule for word in words.split()}


LINEAR = (
    "linear linear_relu linear_dynamic linear_relu_dynamic linear_dynamic_fp16 linear_relu_dynamic_fp16"
    " linear_dynamic_fp16_unpacked_weight linear_leaky_relu linear_tanh"
    " linear_with_input_q_dq_qweight_dq_output_fp32 linear_with_input_q_dq_qweight_dq_relu_output_fp32"
)
CONVOLUTIONS = (
    "conv1d conv2d conv3d conv1d_relu conv2d_relu conv3d_relu conv1d_dynamic conv2d_dynamic conv3d_dynamic conv2d_add"
    " conv2d_add_relu"
)
TRANSPOSED = (
    "conv_transpose1d conv_transpose2d conv_transpose3d conv_transpose1d_dynamic conv_transpose2d_dynamic"
    " conv_transpose3d_dynamic"
)
CELLS = (
    "quantized_lstm_cell_dynamic quantized_gru_cell_dynamic quantized_rnn_relu_cell_dynamic"
    " quantized_rnn_tanh_cell_dynamic"
)
ELEMENT_WISE = (
    "add add_relu add_scalar add_scalar_relu add_out mul mul_relu mul_scalar mul_scalar_relu mul_out batch_norm"
    " batch_norm1d batch_norm2d batch_norm3d batch_norm_relu batch_norm2d_relu batch_norm3d_relu layer_norm group_norm"
    " instance_norm hardswish leaky_relu elu celu gelu prelu sigmoid softmax relu6 dropout threshold clamp cat"
    " cat_relu"
)

QUANTISED_PRODUCTS: dict[str, Rule] = {
    **each("quantized", LINEAR, quantised_linear),
    **each("_quantized", "linear linear_dynamic wrapped_quantized_linear", quantised_linear),
    **each("sparse", "qlinear qlinear_relu qlinear_dynamic qlinear_relu_dynamic", quantised_linear),
    **each("onednn", "qlinear_pointwise linear_dynamic_fp16 linear_relu_dynamic_fp16", quantised_linear),
    **each("quantized", CONVOLUTIONS, quantised_convolution),
    **each("_quantized", "conv2d conv2d_relu conv3d conv3d_relu", quantised_convolution),
    **each("onednn", "qconv1d_pointwise qconv2d_pointwise qconv3d_pointwise qconv_pointwise", quantised_convolution),
    **each("quantized", TRANSPOSED, quantised_transposed_convolution),
    **each("_quantized", "conv_transpose1d conv_transpose2d", quantised_transposed_convolution),
    **each("quantized", CELLS, quantised_cell),
    **dict.fromkeys(("quantized_lstm", "quantized_gru"), quantised_recurrent),
}
QUANTISED: dict[str, Rule] = {
    **each("quantized", ELEMENT_WISE, per_output(1)),
    **each("quantized", "embedding_byte embedding_4bit embedding_bag_byte embedding_bag_4bit", lookup),
    **dict.fromkeys(("quantized_max_pool1d", "quantized_max_pool2d", "quantized_max_pool3d"), per_output(1)),
    "quantized_batch_norm": per_output(2),
}
