"""Cost formulas: pure functions from an operator's shapes and attributes to a `Cost`.

`RULES` at the end is the one table of them, by operator kind. An operator without a rule is uncounted, never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import zip_longest
from math import log2, prod

from costlab.core.graph import ITEM_BYTES, Op, Tensor


@dataclass(frozen=True, slots=True)
class Cost:
    """What one operator, or any number of them, costs. Costs add."""

    mult_adds: int = 0  # multiply-accumulates of contractions, whole batch, no biases
    element_wise_ops: int = 0  # arithmetic outside contractions
    params: int = 0  # elements of distinct parameters
    memory_access: int = 0  # elements read and written
    read_bytes: int = 0
    write_bytes: int = 0
    activations: int = 0  # elements written by convolutions and matmuls
    activation_bytes: int = 0  # bytes of all outputs that are not views
    param_bytes: int = 0  # bytes of distinct parameters

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.mult_adds + other.mult_adds,
            self.element_wise_ops + other.element_wise_ops,
            self.params + other.params,
            self.memory_access + other.memory_access,
            self.read_bytes + other.read_bytes,
            self.write_bytes + other.write_bytes,
            self.activations + other.activations,
            self.activation_bytes + other.activation_bytes,
            self.param_bytes + other.param_bytes,
        )

    @property
    def flops(self) -> int:
        """One multiply-accumulate is two floating point operations."""
        return 2 * self.mult_adds

    @property
    def bytes_accessed(self) -> int:
        return self.read_bytes + self.write_bytes

    @property
    def arithmetic_intensity(self) -> float | None:
        """FLOP per byte of traffic; None where nothing moves."""
        return self.flops / self.bytes_accessed if self.bytes_accessed else None


COST_KEYS = tuple(field.name for field in fields(Cost))

Rule = Callable[[Op], Cost]
Touched = tuple[int, Tensor]  # so many elements of that tensor


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of costs."""
    result = Cost()
    for cost in costs:
        result = result + cost
    return result


def traffic(
    op: Op,
    mult_adds: int = 0,
    element_wise_ops: int = 0,
    activations: int = 0,
    reads: Iterable[Touched] | None = None,
    writes: Iterable[Touched] | None = None,
) -> Cost:
    """The cost of `op` with its memory access: every input once and every output once, unless told what it touches.

    MAC = hw (c1 + c2) + k k c1 c2 / g for a convolution without bias (ShuffleNet V2, arXiv 1807.11164, section 2).
    """
    read_elements = read_bytes = write_elements = write_bytes = 0
    for elements, tensor in [(t.elements, t) for t in op.inputs] if reads is None else reads:
        read_elements += elements
        read_bytes += elements * ITEM_BYTES[tensor.dtype]
    for elements, tensor in [(t.elements, t) for t in op.outputs] if writes is None else writes:
        write_elements += elements
        write_bytes += elements * ITEM_BYTES[tensor.dtype]
    return Cost(
        mult_adds=mult_adds,
        element_wise_ops=element_wise_ops,
        memory_access=read_elements + write_elements,
        read_bytes=read_bytes,
        write_bytes=write_bytes,
        activations=activations,
        activation_bytes=sum(t.bytes for t in op.outputs),
    )


# Contractions. Shapes: batch n, channels c, features i and o, positions p, groups g, kernel k, heads h, length l and s.


def convolution(op: Op) -> Cost:
    """Every output element [n, o, p] sums over one group's channels and the kernel: weight [o, i/g, k...]."""
    outputs = op.output.numel
    return traffic(op, mult_adds=outputs * prod(op["weight"].shape[1:]), activations=outputs)


def transposed_convolution(op: Op) -> Cost:
    """Every input element [n, i, p] is spread over one group's outputs and the kernel: weight [i, o/g, k...]."""
    return traffic(op, mult_adds=op["input"].numel * prod(op["weight"].shape[1:]), activations=op.output.numel)


def matrix_product(contracted: str) -> Rule:
    """[..., i] x [i, o] -> [..., o]: every output element sums over the last dimension of input `contracted`."""

    def rule(op: Op) -> Cost:
        outputs = op.output.numel
        return traffic(op, mult_adds=outputs * op[contracted].shape[-1], activations=outputs)

    return rule


def bilinear(op: Op) -> Cost:
    """x1 [..., i] and x2 [..., j] with weight [o, i, j]: x1 W [..., o, j], then times x2."""
    outputs = op.output.numel
    _, i, j = op["weight"].shape
    return traffic(op, mult_adds=outputs * i * j + outputs * j, activations=outputs)


def summed_matrix_product(op: Op) -> Cost:
    """[b, i, k] x [b, k, o], summed over the batch: [i, o]."""
    return traffic(op, mult_adds=op["batch1"].numel * op["batch2"].shape[-1], activations=op.output.numel)


def grouped_matrix_product(op: Op) -> Cost:
    """Rows, columns or summands of [.., m, k] x [.., k, n] fall into groups: each meets one group of the other side."""
    rows, matrices = op.inputs[:2]
    summands = len(rows.shape) == len(matrices.shape) == 2  # then every group has an output of its own
    outputs = rows.shape[0] * matrices.shape[1] if summands else op.output.numel
    return traffic(op, mult_adds=outputs * rows.shape[-1], activations=op.output.numel)


def cdist(op: Op) -> Cost:
    """Distances [b, p, r] between rows of m features: a difference, a power and a sum per feature."""
    return traffic(op, element_wise_ops=3 * op.output.numel * op["x1"].shape[-1])


def attention(op: Op) -> Cost:
    """q [n, h, l, e], k [n, h, s, e], v [n, h, s, f]: scores l s e, then l s f; softmax 3 a score, a mask 1.

    The scores never count as memory access: a fused kernel keeps them on the chip.
    """
    q, k, v = op["query"], op["key"], op["value"]
    rows = prod(op.output.shape[:-1])  # n h l
    scores = rows * k.shape[-2]
    masked = 1 if op.find("attn_mask") or op.find("attn_bias") else 0
    return traffic(
        op,
        mult_adds=scores * (q.shape[-1] + v.shape[-1]),
        element_wise_ops=scores * (3 + masked),
        activations=op.output.numel,
        writes=[(op.output.elements, op.output)],
    )


def einsum(op: Op) -> Cost:
    """Operands are contracted from left to right, as torch does without an optimiser.

    A pair costs the product of all its dimensions where it sums over a shared one, and is an element-wise product
    where it does not; a dimension that only one operand has, and nobody needs later, is summed beforehand. Over a
    dimension of size 1 there is nothing to sum.
    """
    terms, result = einsum_terms(op.attrs["equation"], [t.shape for t in op.each("tensors")])
    terms = [{dim: size for dim, size in term.items() if size != 1} for term in terms]
    mult_adds = element_wise_ops = 0
    left = terms[0]
    if len(terms) == 1 and set(left) - result:
        element_wise_ops += prod(left.values())
    for position, right in enumerate(terms[1:], 2):
        later = result.union(*terms[position:])
        for term, other in ((left, right), (right, left)):
            alone = set(term) - set(other) - later
            if alone:
                element_wise_ops += prod(term.values())
                for dim in alone:
                    del term[dim]
        both = {d: max(left.get(d, 1), right.get(d, 1)) for d in (*left, *right)}
        if set(both) - later:
            mult_adds += prod(both.values())
        else:
            element_wise_ops += prod(both.values())
        left = {d: n for d, n in both.items() if d in later}
    return traffic(op, mult_adds, element_wise_ops, activations=op.output.numel if mult_adds else 0)


def einsum_terms(equation: str, shapes: list[tuple[int, ...]]) -> tuple[list[dict[str, int]], set[str]]:
    """The size of every dimension of every operand, and the dimensions of the result; an ellipsis is numbered."""
    sources, arrow, target = equation.replace(" ", "").partition("->")

    def dims(term: str, rank: int) -> list[str]:
        before, dots, after = term.partition("...")
        hidden = rank - len(before) - len(after) if dots else 0
        return [*before, *(f".{hidden - i}" for i in range(hidden)), *after]

    terms = []
    for term, shape in zip(sources.split(","), shapes, strict=True):
        sized: dict[str, int] = {}
        for dim, size in zip(dims(term, len(shape)), shape, strict=True):
            sized[dim] = max(size, sized.get(dim, 1))
        terms.append(sized)
    every = [d for term in terms for d in term]
    ellipsis = {d for d in every if d.startswith(".")}
    if arrow:
        return terms, set(target.replace(".", "")) | (ellipsis if "..." in target else set())
    return terms, {d for d in every if sources.count(d) == 1} | ellipsis


def recurrent(gates: int, per_unit: int) -> Rule:
    """Every step and row multiplies every weight matrix once; `per_unit` operations for each unit of the hidden state.

    x [l, n, i] (or packed rows [l n, i]) with w_ih [g h, i] and w_hh [g h, h], per layer and direction; the weights are
    read once per layer and direction.
    """

    def rule(op: Op) -> Cost:
        x = op.find("data") or op["input"]
        rows = prod(x.shape[:-1])
        weights = [t for t in op.each("params") if len(t.shape) == 2]
        gate_rows = max(t.shape[0] for t in weights)  # a projection has fewer rows
        units = sum(t.shape[0] for t in weights if t.shape[0] == gate_rows) // 2 // gates
        return traffic(
            op,
            mult_adds=rows * sum(t.numel for t in weights),
            element_wise_ops=rows * units * per_unit,
            activations=op.output.numel,
        )

    return rule


def recurrent_cell(gates: int, per_unit: int) -> Rule:
    """One step of `recurrent`: rows [n] times w_ih and w_hh."""

    def rule(op: Op) -> Cost:
        w_ih, w_hh = op["w_ih"], op["w_hh"]
        rows = prod(op["input"].shape[:-1])
        return traffic(
            op,
            mult_adds=rows * (w_ih.numel + w_hh.numel),
            element_wise_ops=rows * w_ih.shape[0] // gates * per_unit,
            activations=op.output.numel,
        )

    return rule


# What a unit of the hidden state does besides its matrix products: each gate adds its two halves and is squashed; then
LSTM = 4, 13  # c' = f c + i g, h' = o tanh(c')
GRU = 3, 11  # n = tanh(x + r h), h' = (1 - z) n + z h
RNN = 1, 2


# Arithmetic outside contractions.


def per_output(operations: int) -> Rule:
    """`operations` for each output element."""
    return lambda op: traffic(op, element_wise_ops=operations * op.output.numel)


def per_input(operations: int) -> Rule:
    """`operations` for each element of the first input."""
    return lambda op: traffic(op, element_wise_ops=operations * op.inputs[0].numel)


def batch_norm(op: Op) -> Cost:
    """2 an element: the statistics are folded into a scale and a shift. In train mode it finds and updates them too."""
    train = op.attrs.get("training") or op.attrs.get("use_input_stats")
    cost = traffic(op, element_wise_ops=(5 if train else 2) * op.inputs[0].numel)
    statistics = [t for t in (op.find("running_mean"), op.find("running_var")) if t]
    if not (train and statistics):
        return cost
    return cost + Cost(memory_access=sum(t.elements for t in statistics), write_bytes=sum(t.bytes for t in statistics))


def pooling(op: Op) -> Cost:
    """One for each element visited: every output element sees the part of its window that lies on the input."""
    spatial = spatial_rank(op)
    kernel, stride, padding, dilation = (
        numbers * spatial if len(numbers) == 1 else numbers
        for numbers in (
            op.attrs["kernel_size"],
            op.attrs.get("stride") or op.attrs["kernel_size"],
            op.attrs.get("padding") or [0],
            op.attrs.get("dilation") or [1],
        )
    )
    sizes = zip(op.inputs[0].shape[-spatial:], op.output.shape[-spatial:], strict=True)
    visited = prod(op.output.shape[:-spatial])
    for (i, o), k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
        visited *= sum(positions_inside(i, o, s, tap * d - p) for tap in range(k))
    return traffic(op, element_wise_ops=visited)


def positions_inside(inputs: int, outputs: int, stride: int, offset: int) -> int:
    """For how many output positions j the input position j * stride + offset exists."""
    first = max(-(offset // stride), 0)  # the smallest j that does not fall short of the input
    last = min((inputs - 1 - offset) // stride, outputs - 1)
    return max(last - first + 1, 0)


def adaptive_pooling(op: Op) -> Cost:
    """One for each element visited: output position j of o sees input positions floor(j i / o) to ceil((j+1) i / o)."""
    spatial = spatial_rank(op)
    sizes = zip(op.inputs[0].shape[-spatial:], op.output.shape[-spatial:], strict=True)
    visited = prod(op.output.shape[:-spatial])
    for i, o in sizes:
        visited *= sum(-(-(j + 1) * i // o) - j * i // o for j in range(o))
    return traffic(op, element_wise_ops=visited)


def spatial_rank(op: Op) -> int:
    """The number that ends the kind: 2 for `max_pool2d`."""
    return int(op.kind.removesuffix("_with_indices")[-2])


def interpolation(taps: int) -> Rule:
    """One for each input element that an output element is made of."""
    return lambda op: traffic(op, element_wise_ops=taps * op.output.numel)


def grid_sample(op: Op) -> Cost:
    """Bilinear (2 taps a dimension), nearest (1) or bicubic (4): a tap for each output element and neighbour."""
    spatial = op["grid"].shape[-1]
    taps = {0: 2, 1: 1, 2: 4}[op.attrs.get("interpolation_mode", 0)] ** spatial
    return traffic(op, element_wise_ops=taps * op.output.numel)


def roi_align(op: Op) -> Cost:
    """Each output cell averages sampling_ratio^2 points (at least 1) of 4 neighbours; it reads what it samples."""
    ratio = max(op.attrs.get("sampling_ratio", 0), 1)
    visited = op.output.numel * ratio**2 * 4
    features, rois = op["input"], op["rois"]
    return traffic(
        op, element_wise_ops=visited, reads=[(min(visited, features.elements), features), (rois.elements, rois)]
    )


def deform_convolution(op: Op) -> Cost:
    """A convolution whose every tap is interpolated between 4 neighbours."""
    cost = convolution(op)
    outputs = op.output
    sampled = outputs.shape[0] * op["input"].shape[1] * prod(outputs.shape[2:]) * prod(op["weight"].shape[2:])
    return cost + Cost(element_wise_ops=4 * sampled)


def nms(op: Op) -> Cost:
    """Every pair of boxes is compared at worst."""
    boxes = op.inputs[0].shape[0]
    return traffic(op, element_wise_ops=boxes * boxes)


def fourier(op: Op) -> Cost:
    """5 n log2 n real operations for a complex transform of n points, half for a real one (FFTW's convention)."""
    full, kept = max(op.inputs[0], op.output, key=lambda t: t.numel), op.inputs[0]
    dims = op.attrs.get("dim")
    dims = [dims] if isinstance(dims, int) else dims
    points = prod(full.shape[d] for d in (range(len(full.shape)) if dims is None else dims))
    real = not (kept.dtype.startswith("complex") and op.output.dtype.startswith("complex"))
    operations = int(5 * full.numel * log2(points)) if points > 1 else 0
    return traffic(op, element_wise_ops=operations // 2 if real else operations)


# Moving data.


def copy(op: Op) -> Cost:
    """Reads its inputs and writes its output, no arithmetic."""
    return traffic(op)


def create(op: Op) -> Cost:
    """Writes its output; what it was shaped after is not read."""
    return traffic(op, reads=())


def allocate(op: Op) -> Cost:
    """Memory with nothing in it: neither read nor written."""
    return traffic(op, reads=(), writes=())


def fill(op: Op) -> Cost:
    """Writes its output over whatever was there."""
    return traffic(op, reads=[(t.elements, t) for t in op.inputs if t.name not in ("self", "input")])


def gather(op: Op) -> Cost:
    """Reads indices and the elements they pick, not the table; `index` lists its index tensors, `embedding` has one."""
    table, *indices = op.inputs
    if op.kind == "embedding":
        table = op["weight"]
        indices = [op["indices"]]
    return traffic(op, reads=[(op.output.elements, table), *((t.elements, t) for t in indices)])


def embedding_bag(op: Op) -> Cost:
    """Reads one row per index, adds them up bag by bag."""
    weight, indices = op["weight"], op["indices"]
    touched = indices.numel * weight.shape[-1]
    others = [(t.elements, t) for t in op.inputs if t.name not in ("weight", "indices")]
    return traffic(
        op,
        element_wise_ops=touched,
        reads=[(touched, weight), (indices.elements, indices), *others],
        writes=[(op.output.elements, op.output)],
    )


def scatter(op: Op) -> Cost:
    """Reads indices and source, writes the elements they touch; one that adds reads those as well."""
    table, *others = op.inputs
    source = next((t for t in others if t.name in ("src", "source", "values")), None)
    if op.kind == "index_put":
        touched = places_put(op)
    elif op.kind == "index_fill":
        touched = op.output.numel // op.output.shape[op.attrs["dim"]] * op["index"].numel
    elif source and op.kind in ("index_add", "index_copy", "index_reduce", "masked_scatter"):
        touched = min(source.numel, op.output.numel)
    else:
        touched = op["index"].numel
    adds = op.kind.endswith(("_add", "_reduce")) or bool(op.attrs.get("accumulate") or op.attrs.get("reduce"))
    reads = [(min(t.elements, touched) if t is source else t.elements, t) for t in others]
    return traffic(
        op,
        element_wise_ops=touched if adds else 0,
        reads=[(touched, table), *reads] if adds else reads,
        writes=[(touched, op.output)],
    )


def places_put(op: Op) -> int:
    """Elements that x[indices] = values touches: the indices, broadcast, times the dimensions that they leave alone.

    A mask touches as many places as it is given values, and all that it covers where they are broadcast to it.
    """
    shape, values = op.output.shape, op["values"]
    indices = {int(t.name.rpartition(".")[2]): t for t in op.each("indices")}
    masks = [t for t in indices.values() if t.dtype in ("bool", "uint8")]
    kept: list[int] = []
    dim = 0
    for position in range(max(indices) + 1):
        index = indices.get(position)
        if index is None:
            kept.append(shape[dim])
        dim += len(index.shape) if index in masks else 1
    kept += shape[dim:]
    if masks and len(values.shape) > len(kept):
        return values.numel
    picked = [(t.numel,) if t in masks else t.shape for t in indices.values()]
    return prod(map(max, zip_longest(*(reversed(p) for p in picked), fillvalue=1))) * prod(kept)


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
    """The cost of one operator without its parameters; None where there is no rule for it."""
    if op.free:
        return Cost()
    rule = rules.get(op.kind)
    return rule(op) if rule else None
