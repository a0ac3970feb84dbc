"""The parameters of the latency model: what software makes of the hardware, in units that mean something on any card.

The values of eager mode and of `torch.compile` are fitted together to the measurements that docs/latency.md names, by
`tests/bench/latency.py --fit`; PyTorch 2.4. A device file may override them (`[efficiency.eager]`).
"""

from typing import NamedTuple

SHARE, OF_BANDWIDTH = "of the peak", "of the bandwidth"
FLOPS, BYTES, OPERATIONS = "FLOP/clock/SM", "B/clock/SM", "operations/clock/SM"
PRODUCTS = "multiply-adds/clock/SM"
CYCLES, TRAFFIC, SLOTS, SECONDS = "cycles", "times the bytes", "vector slots", "s"
TIMES = "times as long"  # as the forward pass takes for the same work


class Parameter(NamedTuple):
    """A fitted number in both ways of running, what to expect before any fit, its plausible range, unit and meaning."""

    prior: float
    eager: float
    compiled: float
    low: float
    high: float
    unit: str
    meaning: str


P = Parameter
GPU: dict[str, Parameter] = {
    # Contractions: a tile takes cycles to compute, to be fed with operands, and to start and finish.
    "matmul": P(0.95, 1.01, 1.01, 0.3, 1.3, SHARE, "matrix products with a weight"),
    "batched_matmul": P(0.8, 0.768, 1.3, 0.2, 1.3, SHARE, "products of two activations"),
    "convolution": P(0.9, 1.07, 1.07, 0.3, 1.8, SHARE, "convolutions; above 1 by Winograd's algorithm"),
    "pointwise_convolution": P(0.9, 1.12, 1.12, 0.3, 1.3, SHARE, "1 x 1 convolutions"),
    "grouped_flops": P(400, 450, 450, 20, 2000, FLOPS, "at most, in grouped convolutions"),
    "padded_flops": P(400, 405, 405, 20, 4000, FLOPS, "the same, where channels are padded to multiples of 8"),
    "vector_share": P(0.8, 0.828, 0.828, 0.3, 1.0, SHARE, "the same on vector units, 32 lanes a scheduler"),
    "half_warp_vector_share": P(0.95, 0.969, 0.969, 0.3, 1.0, SHARE, "the same, 16 lanes a scheduler: V100, T4, A100"),
    "operand_bytes": P(48, 48.4, 48.4, 10, 400, BYTES, "at which a tile is fed"),
    "convolution_operand_bytes": P(32, 68.5, 68.5, 8, 400, BYTES, "at which a tile of a convolution is fed"),
    "image_operand_bytes": P(48, 48.4, 48.4, 8, 400, BYTES, "the same, 1 x 1 convolutions of NCHW images"),
    "matmul_cycles": P(1500, 8000, 8000, 50, 8000, CYCLES, "to start and finish a tile of a matrix product"),
    "batched_matmul_cycles": P(1500, 1920, 165, 50, 8000, CYCLES, "the same, products of two activations"),
    "convolution_cycles": P(1500, 60.7, 60.7, 50, 8000, CYCLES, "the same, convolutions"),
    "vector_cycles": P(3000, 7020, 7020, 50, 300000, CYCLES, "the same, on vector units"),
    "attention": P(0.8, 1.3, 1.3, 0.1, 1.3, SHARE, "products of fused attention"),
    "attention_padding": P(64, 15.9, 15.9, 1, 256, "rows", "block to which attention rounds up rows and columns"),
    "score_cycles": P(0.3, 0.733, 0.733, 0.01, 5, CYCLES, "of an SM for a score of attention"),
    "mask_cycles": P(0.1, 0.0374, 0.0374, 0.001, 5, CYCLES, "the same, to add a mask"),
    "recurrent": P(0.05, 0.353, 0.353, 0.005, 1, SHARE, "recurrent layers"),
    # Memory.
    "stream": P(0.92, 0.971, 0.971, 0.7, 1.0, OF_BANDWIDTH, "that long reads and writes reach"),
    "l2_bytes": P(12, 3.81, 3.81, 3, 100, BYTES, "from L2"),
    "cache_share": P(0.65, 1.14, 1.14, 0.1, 2, "of L2", "that holds recent activations"),
    "irregular_element_wise_traffic": P(1.05, 1.33, 1, 1, 4, TRAFFIC, "element-wise, mixed shapes or types"),
    "batch_norm_traffic": P(1.05, 1, 1.05, 1, 4, TRAFFIC, "batch norm"),
    "normalisation_traffic": P(1.05, 1.74, 1, 1, 4, TRAFFIC, "norms"),
    "strided_normalisation_traffic": P(1.05, 1.66, 1, 1, 4, TRAFFIC, "group norm, norms over strided dimensions"),
    "softmax_traffic": P(1.05, 1.33, 1, 1, 4, TRAFFIC, "softmax"),
    "pooling_traffic": P(1.05, 1, 1, 1, 4, TRAFFIC, "pooling"),
    "reduction_traffic": P(1.05, 1, 1, 1, 4, TRAFFIC, "sums and means"),
    "copy_traffic": P(1.05, 1.16, 2.11, 1, 4, TRAFFIC, "copies"),
    "transposing_copy_traffic": P(1.05, 1.38, 1, 1, 4, TRAFFIC, "copies across dimensions"),
    "concatenation_traffic": P(1.05, 1.29, 1.4, 1, 4, TRAFFIC, "concatenations"),
    "gather_traffic": P(1.05, 1, 1.05, 1, 4, TRAFFIC, "gathers"),
    "interpolation_traffic": P(1.05, 1.34, 1.6, 1, 4, TRAFFIC, "interpolation"),
    "layout_traffic": P(1.05, 1, 1.01, 1, 4, TRAFFIC, "layout passes"),
    "depthwise_convolution_traffic": P(1.05, 1.21, 1.21, 1, 4, TRAFFIC, "depthwise convolutions"),
    "attention_traffic": P(1.05, 1, 1, 1, 4, TRAFFIC, "fused attention"),
    # What the schedulers of an SM issue in a clock.
    "element_wise": P(64, 63.4, 63.4, 2, 1000, OPERATIONS, "element-wise kernels"),
    "irregular_element_wise": P(2, 1.68, 3.22, 0.5, 1000, OPERATIONS, "element-wise, mixed shapes or types"),
    "batch_norm": P(4, 3.71, 3.71, 0.5, 1000, OPERATIONS, "batch norm"),
    "normalisation": P(10, 7.61, 56.1, 0.5, 1000, OPERATIONS, "norms"),
    "strided_normalisation": P(5, 2.85, 3.8, 0.1, 1000, OPERATIONS, "group norm, norms over strided dimensions"),
    "softmax": P(10, 9.58, 13.5, 0.5, 1000, OPERATIONS, "softmax"),
    "pooling": P(10, 18.5, 18.5, 0.5, 1000, OPERATIONS, "pooling, for each element visited"),
    "reduction": P(10, 19.1, 29.6, 0.5, 1000, OPERATIONS, "sums and means"),
    "strided_reduction": P(10, 1.99, 0.293, 0.05, 1000, OPERATIONS, "the same, over strided dimensions"),
    "interpolation": P(8, 12.4, 14, 0.1, 1000, OPERATIONS, "interpolation"),
    "copy": P(16, 17.5, 17.8, 0.2, 1000, BYTES, "copies"),
    "transposing_copy": P(8, 9.59, 16.9, 0.1, 1000, BYTES, "copies across dimensions"),
    "concatenation": P(16, 17.7, 18.1, 0.2, 1000, BYTES, "concatenations"),
    "gather": P(4, 2.88, 2.88, 0.1, 1000, BYTES, "gathers"),
    "layout": P(16, 31.8, 33.2, 0.2, 1000, BYTES, "NCHW to NHWC and back, around a convolution"),
    "transcendental": P(2, 3.16, 0.636, 0.01, 100, "operations", "of a transcendental function"),
    "depthwise": P(12, 14.5, 14.5, 1, 500, PRODUCTS, "depthwise convolutions, NCHW, up to 5 x 5"),
    "large_depthwise": P(6, 4.95, 4.95, 0.5, 500, PRODUCTS, "the same, larger"),
    "channels_last_depthwise": P(12, 18.7, 18.7, 1, 500, PRODUCTS, "the same, NHWC, up to 7 x 7"),
    "channels_last_large_depthwise": P(6, 1.21, 1.21, 0.5, 500, PRODUCTS, "the same, NHWC, larger"),
    "block_cycles": P(1, 1.25, 1.25, 0.1, 20, CYCLES, "of the GPU to start a block: each plane of a batch norm, NCHW"),
    "normalisation_row": P(20, 56.6, 5.34, 0.01, 2000, CYCLES, "of an SM for five rows of a norm"),
    "softmax_row": P(20, 8.92, 4.75, 0.01, 2000, CYCLES, "of an SM for three rows of a softmax"),
    "reduction_row": P(5, 4.22, 0.397, 0.01, 2000, CYCLES, "of an SM for a sum or mean"),
    "pooled_output": P(2, 2.13, 2.13, 0.01, 100, CYCLES, "of an SM for an element that pooling writes"),
    "overlap": P(2, 2.54, 2.38, 1.5, 8, "exponent", "p of (memory^p + issue^p + matrix^p)^(1/p)"),
    # Launching.
    "kernel_seconds": P(2e-6, 1.79e-06, 1.3e-07, 1e-7, 6e-6, SECONDS, "minimum time of a kernel on the GPU"),
    "reducing_seconds": P(1e-6, 1e-08, 1e-08, 1e-8, 3e-6, SECONDS, "additional latency of norms and sums"),
    "product_seconds": P(
        1e-6, 1e-08, 1e-08, 1e-8, 5e-6, SECONDS, "additional latency of convolutions and matrix products"
    ),
    "attention_seconds": P(5e-6, 1e-08, 1e-08, 1e-8, 3e-5, SECONDS, "additional latency of fused attention"),
    "launch_seconds": P(2.5e-5, 2.5e-05, 1.42e-05, 1e-6, 5e-5, SECONDS, "CPU time to launch one kernel"),
    "start_seconds": P(1e-5, 1e-05, 1e-05, 1e-8, 3e-3, SECONDS, "of a forward pass outside its kernels"),
    # Fixed, not fitted.
    "serial_seconds": P(3e-7, 3e-7, 3e-7, 3e-7, 3e-7, SECONDS, "a step of NCHW bilinear upsampling: a memory latency"),
    "half_norms": P(1, 1, 1, 0, 1, "setting", "1 if norms keep the lower type under autocast"),
}

CPU: dict[str, Parameter] = {
    # Contractions: a tile of m x n results takes k + prologue steps.
    "matmul": P(0.6, 0.951, 0.951, 0.005, 1.25, SHARE, "matrix products with a weight"),
    "batched_matmul": P(0.8, 0.643, 0.643, 0.005, 1.25, SHARE, "products of two activations"),
    "convolution": P(0.8, 1.06, 1.06, 0.005, 1.25, SHARE, "convolutions"),
    "pointwise_convolution": P(0.9, 0.94, 0.94, 0.005, 1.25, SHARE, "1 x 1 convolutions"),
    "grouped_convolution": P(0.5, 1.23, 1.23, 0.005, 1.25, SHARE, "grouped convolutions"),
    "attention": P(0.7, 0.322, 0.322, 0.005, 1.25, SHARE, "fused attention"),
    "recurrent": P(0.1, 0.0508, 0.0508, 0.005, 1.25, SHARE, "recurrent layers"),
    "matmul_prologue": P(24, 20.9, 20.9, 1, 40, "steps", "to start and finish a tile"),
    "batched_matmul_prologue": P(32, 33.9, 33.9, 1, 100, "steps", "the same, products of two activations"),
    "convolution_prologue": P(24, 21.5, 21.5, 1, 40, "steps", "the same, convolutions"),
    "tile_overhead": P(12, 8.96, 8.96, 0.5, 60, "results", "to load a tile's row or column: small tiles pay more"),
    "attention_padding": P(64, 256, 256, 1, 256, "rows", "block to which attention rounds up rows and columns"),
    # Memory.
    "bandwidth": P(0.9, 0.324, 0.324, 0.005, 1.0, OF_BANDWIDTH, "element-wise kernels"),
    "matmul_bandwidth": P(0.9, 0.85, 0.85, 0.85, 1.0, OF_BANDWIDTH, "activations of matrix products"),
    "convolution_bandwidth": P(0.85, 0.8, 0.8, 0.75, 1.0, OF_BANDWIDTH, "activations of convolutions"),
    "depthwise_bandwidth": P(0.8, 0.753, 0.753, 0.005, 1.0, OF_BANDWIDTH, "depthwise convolutions"),
    "depthwise_tap": P(0.1, 0.12, 0.12, 0.0005, 10, "outputs", "moved again for each further kernel tap"),
    "large_depthwise_tap": P(0.5, 0.339, 0.339, 0.0005, 10, "outputs", "the same, kernels larger than 5 x 5"),
    "cache_share": P(0.65, 0.49, 0.49, 0.02, 4, "of L2 and L3", "that holds recent activations"),
    "cache_speed": P(5.0, 8.05, 8.05, 1, 40, OF_BANDWIDTH, "at which the caches move"),
    "weight_cache_share": P(0.65, 0.409, 0.409, 0.02, 4, "of L2 and L3", "that holds the network's weights"),
    "weight_bandwidth": P(0.9, 0.661, 0.661, 0.005, 1.0, OF_BANDWIDTH, "weights of matrix products"),
    "convolution_weight_bandwidth": P(0.9, 0.129, 0.129, 0.005, 3, OF_BANDWIDTH, "weights of convolutions"),
    "pointwise_weight_bandwidth": P(0.9, 0.837, 0.837, 0.005, 3, OF_BANDWIDTH, "weights of 1 x 1 convolutions"),
    # Arithmetic outside contractions: slots for one result of the vector units.
    "operation": P(20.0, 24.7, 24.7, 0.001, 400, SLOTS, "an element-wise operation"),
    "transcendental": P(60.0, 71.5, 71.5, 0.001, 600, SLOTS, "a transcendental function"),
    "norm_operation": P(10.0, 9.3, 9.3, 0.001, 400, SLOTS, "an operation of a norm"),
    "strided_norm_operation": P(40.0, 51.3, 51.3, 0.001, 600, SLOTS, "an operation of a norm over strided channels"),
    "copied_element": P(30.0, 146, 146, 0.001, 600, SLOTS, "a copied element"),
    "pooled_element": P(30.0, 37.2, 37.2, 0.001, 400, SLOTS, "a pooled or interpolated element"),
    "planar_pooled_element": P(170.0, 173, 173, 0.001, 600, SLOTS, "the same in NCHW, where PyTorch pools one by one"),
    "reordered_element": P(20.0, 20, 20, 0.001, 600, SLOTS, "NCHW to oneDNN's blocks and back, around a convolution"),
    "overlap": P(2.0, 1, 1, 1, 8, "exponent", "p of (memory^p + issue^p + matrix^p)^(1/p)"),
    # Launching.
    "kernel_seconds": P(1e-8, 1e-08, 1e-08, 1e-8, 4e-6, SECONDS, "minimum time of a kernel"),
    "launch_seconds": P(2e-5, 6.18e-05, 6.18e-05, 1e-7, 1e-4, SECONDS, "to launch a convolution on several threads"),
    "product_launch": P(0.3, 0.31, 0.31, 0.01, 1, "of a launch", "of matrix products and attention"),
    "movement_launch": P(0.5, 0.296, 0.296, 0.01, 1, "of a launch", "of kernels that move data, outside libraries"),
    "start_seconds": P(2e-4, 2e-4, 2e-4, 1e-8, 3e-3, SECONDS, "of a forward pass outside its kernels"),
    "page_seconds": P(2.5e-7, 4e-7, 4e-7, 2e-8, 2e-6, SECONDS, "to map and clear a page of a buffer of over 32 MB"),
    # Fixed, not fitted.
    "mapped_outputs": P(0.33, 1, 0.33, 0, 1, "setting", "share of large outputs that no buffer used before can hold"),
    "single_thread_launch": P(0.32, 0.32, 0.32, 0.1, 1, "of a launch", "where no threads have to be started"),
    "half_norms": P(0, 0, 0, 0, 1, "setting", "1 if norms keep the lower type under autocast"),
}
TRAINING: dict[str, Parameter] = {  # fitted on GPUs; CPUs use the priors, because none has been measured
    "training_batch_norm": P(1, 1.09, 1.09, 0.3, 5, TIMES, "batch norm with the statistics of the batch"),
    "input_gradient": P(1, 1.45, 1.45, 0.3, 5, TIMES, "gradient of a convolution's input"),
    "weight_gradient": P(1, 0.588, 0.588, 0.3, 5, TIMES, "gradient of a convolution's weight"),
    "grouped_input_gradient": P(1, 2.5, 2.5, 0.1, 10, TIMES, "the same of grouped convolutions"),
    "grouped_weight_gradient": P(1, 1.15, 1.15, 0.1, 20, TIMES, "the same of grouped convolutions"),
    "depthwise_input_gradient": P(1, 1.52, 1.52, 0.1, 10, TIMES, "the same of depthwise convolutions"),
    "depthwise_weight_gradient": P(1, 1.53, 1.53, 0.1, 20, TIMES, "the same of depthwise convolutions"),
    "large_depthwise_input_gradient": P(1, 1.73, 1.73, 0.1, 10, TIMES, "the same of kernels larger than 5 x 5"),
    "large_depthwise_weight_gradient": P(1, 1.73, 1.73, 0.1, 20, TIMES, "the same of kernels larger than 5 x 5"),
    "product_gradient": P(1, 0.7, 0.7, 0.7, 1.5, TIMES, "gradient of the input of a linear layer"),
    "product_weight_gradient": P(1, 1.21, 1.21, 0.7, 2, TIMES, "gradient of its weight"),
    "batched_product_gradient": P(1, 0.978, 0.978, 0.5, 2, TIMES, "gradients of a product of two activations"),
    "attention_gradient": P(1, 1.0, 1.0, 0.3, 5, TIMES, "gradients of fused attention"),
    "batch_norm_gradient": P(1, 1.17, 1.17, 0.2, 5, TIMES, "gradients of batch norm"),
    "normalisation_gradient": P(1, 1.09, 1.09, 0.1, 5, TIMES, "gradients of other norms"),
    "softmax_gradient": P(1, 1.82, 1.82, 0.2, 5, TIMES, "gradient of a softmax"),
    "pooling_gradient": P(1, 0.816, 0.816, 0.1, 10, TIMES, "gradient of pooling"),
    "reduction_gradient": P(1, 1.37, 1.37, 0.2, 10, TIMES, "sums over what was broadcast"),
    "backward_launch_seconds": P(1e-5, 3.54e-06, 3.54e-06, 1e-6, 5e-5, SECONDS, "CPU time to launch a backward kernel"),
    "optimizer_launch_seconds": P(1e-5, 1.59e-05, 1.59e-05, 1e-6, 3e-5, SECONDS, "the same, of the optimizer"),
}
FIXED = ("serial_seconds", "half_norms", "single_thread_launch", "mapped_outputs")


def parameters_of(device_type: str) -> dict[str, Parameter]:
    """The parameters of a type of device: "cuda", "mps" or "cpu"."""
    if device_type != "cpu":
        return GPU | TRAINING
    return CPU | {name: p._replace(eager=p.prior, compiled=p.prior) for name, p in TRAINING.items()}
