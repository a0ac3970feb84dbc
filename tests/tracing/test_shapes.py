"""costlab's shape rules agree with torch's meta kernels, or defer to them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab.models import ModelSpec, load_model
from costlab.tracing import calls, inference, shapes
from costlab.tracing._profile import profile

DTYPES = (torch.float32, torch.float32, torch.float32, torch.float16, torch.float64, torch.int64, torch.complex64)
SIZES = st.integers(0, 6) | st.integers(1, 4)
VIEWS = {
    "as it is": lambda t: t,
    "transposed": lambda t: t.transpose(0, -1) if t.dim() else t,
    "sliced": lambda t: torch.cat([t, t], -1)[..., : t.shape[-1]] if t.dim() else t,
    "every other": lambda t: torch.cat([t, t])[::2] if t.dim() else t,
    "expanded": lambda t: t[:1].expand(t.shape) if t.dim() and t.shape[0] else t,
    "channels last": lambda t: t.to(memory_format=torch.channels_last) if t.dim() == 4 else t,
}


@st.composite
def tensors(draw, *sizes, dtype=None, rank=None):
    """A tensor of mostly these sizes in some layout; with `rank`, of sizes that are drawn."""
    shape = [draw(SIZES) for _ in range(rank)] if rank is not None else list(sizes)
    if shape and draw(st.integers(0, 9)) == 0:
        shape[draw(st.integers(0, len(shape) - 1))] = draw(SIZES)
    if draw(st.integers(0, 19)) == 0:
        shape = shape[1:]
    dtype = dtype or draw(st.sampled_from(DTYPES))
    if draw(st.integers(0, 19)) == 0:
        dtype = draw(st.sampled_from(DTYPES))
    layout = "as it is" if draw(st.booleans()) else draw(st.sampled_from(sorted(VIEWS)))
    return VIEWS[layout](torch.empty(shape, dtype=dtype, device="meta"))


def few(draw, low, high, rank):
    """A list of one number or of one for each dimension."""
    return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank) | st.tuples(st.integers(low, high)))


def maybe(draw, strategy):
    return draw(strategy) if draw(st.booleans()) else None


@st.composite
def unary(draw, numbers=0):
    return [draw(tensors(rank=draw(st.integers(0, 5)))), *(draw(st.floats(0.1, 2)) for _ in range(numbers))]


@st.composite
def binary(draw):
    sizes = [draw(SIZES) for _ in range(draw(st.integers(0, 4)))]
    dtype = draw(st.sampled_from(DTYPES))
    other = [1 if draw(st.integers(0, 3)) == 0 else size for size in sizes][draw(st.integers(0, len(sizes))) :]
    pair = [
        draw(tensors(*sizes, dtype=dtype)),
        draw(tensors(*other, dtype=dtype) | st.floats(-1, 1) | st.integers(0, 3)),
    ]
    return pair[::-1] if draw(st.booleans()) and isinstance(pair[1], torch.Tensor) else pair


def convolution(rank):
    @st.composite
    def arguments(draw):
        dtype = draw(st.sampled_from(DTYPES))
        groups, per_group, outputs = (draw(st.integers(1, 3)) for _ in range(3))
        image = draw(tensors(2, groups * per_group, *(draw(st.integers(1, 9)) for _ in range(rank)), dtype=dtype))
        kernel = [draw(st.integers(1, 4)) for _ in range(rank)]
        weight = draw(tensors(groups * outputs, per_group, *kernel, dtype=dtype))
        bias = maybe(draw, tensors(groups * outputs, dtype=dtype))
        return [image, weight, bias, few(draw, 1, 3, rank), few(draw, 0, 3, rank), few(draw, 1, 3, rank), groups]

    return arguments()


@st.composite
def linear(draw):
    dtype = draw(st.sampled_from(DTYPES))
    inputs, outputs = draw(SIZES), draw(SIZES)
    sizes = [draw(SIZES) for _ in range(draw(st.integers(0, 3)))]
    rows = draw(tensors(*sizes, inputs, dtype=dtype))
    return [rows, draw(tensors(outputs, inputs, dtype=dtype)), maybe(draw, tensors(outputs, dtype=dtype))]


@st.composite
def batch_norm(draw):
    dtype, c = draw(st.sampled_from(DTYPES)), draw(st.integers(1, 4))
    sizes = [draw(SIZES) for _ in range(draw(st.integers(0, 3)))]
    vectors = [maybe(draw, tensors(c, dtype=dtype)) for _ in range(4)]
    return [draw(tensors(2, c, *sizes, dtype=dtype)), *vectors, draw(st.integers(0, 5)) == 0, 0.1, 1e-5, False]


@st.composite
def layer_norm(draw):
    dtype = draw(st.sampled_from(DTYPES))
    sizes = [draw(SIZES) for _ in range(draw(st.integers(1, 4)))]
    last = sizes[draw(st.integers(0, len(sizes))) :]
    return [draw(tensors(*sizes, dtype=dtype)), last, *(maybe(draw, tensors(*last, dtype=dtype)) for _ in range(2))]


@st.composite
def group_norm(draw):
    dtype, c = draw(st.sampled_from(DTYPES)), draw(st.integers(1, 6))
    sizes = [draw(st.integers(1, 5)) for _ in range(draw(st.integers(0, 3)))]
    vectors = [maybe(draw, tensors(c, dtype=dtype)) for _ in range(2)]
    return [draw(tensors(2, c, *sizes, dtype=dtype)), draw(st.integers(1, 3)), *vectors]


@st.composite
def roll(draw):
    rank = draw(st.integers(1, 4))
    dims = draw(st.lists(st.integers(-rank, rank), max_size=3))
    return [draw(tensors(rank=rank)), draw(st.lists(st.integers(-3, 3), min_size=len(dims), max_size=len(dims))), dims]


@st.composite
def softmax(draw):
    return [draw(tensors(rank=draw(st.integers(1, 4)))), draw(st.integers(-4, 4))]


@st.composite
def reduction(draw):
    dims = draw(st.lists(st.integers(-4, 4), max_size=3))
    return [draw(tensors(rank=draw(st.integers(0, 4)))), dims, draw(st.booleans())]


@st.composite
def pool(draw, dilated):
    image = draw(tensors(2, *(draw(st.integers(1, 9)) for _ in range(3))))
    gaps = [few(draw, 1, 2, 2)] if dilated else []
    stride = few(draw, 1, 3, 2) if draw(st.booleans()) else []
    return [image, few(draw, 1, 4, 2), stride, few(draw, 0, 2, 2), *gaps, draw(st.booleans())]


@st.composite
def adaptive(draw):
    return [draw(tensors(2, *(draw(SIZES) for _ in range(3)))), [draw(st.integers(0, 4)), draw(st.integers(1, 4))]]


@st.composite
def joined(draw):
    dtype = draw(st.sampled_from(DTYPES))
    sizes = [draw(SIZES) for _ in range(draw(st.integers(1, 4)))]
    dim = draw(st.integers(-len(sizes), len(sizes)))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        shape = list(sizes)
        shape[dim % len(sizes)] = draw(SIZES)
        parts.append(draw(tensors(*shape, dtype=dtype)))
    return [parts, dim]


@st.composite
def product(draw):
    dtype = draw(st.sampled_from(DTYPES))
    batch = [draw(SIZES) for _ in range(draw(st.integers(0, 2)))]
    m, k, n = draw(SIZES), draw(SIZES), draw(SIZES)
    return [draw(tensors(*batch, m, k, dtype=dtype)), draw(tensors(*batch, k, n, dtype=dtype))]


@st.composite
def attention(draw):
    dtype = draw(st.sampled_from(DTYPES))
    batch = [draw(st.integers(1, 3)) for _ in range(draw(st.integers(0, 2)))]
    rows, columns, e, v = (draw(SIZES) for _ in range(4))
    factors = [draw(tensors(*batch, *s, dtype=dtype)) for s in ((rows, e), (columns, e), (columns, v))]
    return [*factors, None, 0.0, draw(st.booleans())]


@st.composite
def embedding(draw):
    indices = draw(tensors(*(draw(SIZES) for _ in range(draw(st.integers(0, 3)))), dtype=torch.int64))
    return [draw(tensors(draw(SIZES), draw(SIZES))), indices]


ARGUMENTS = {
    **{f"conv{rank}d": convolution(rank) for rank in (1, 2, 3)},
    "linear": linear(),
    "batch_norm": batch_norm(),
    "layer_norm": layer_norm(),
    "group_norm": group_norm(),
    "roll": roll(),
    "softmax": softmax(),
    **dict.fromkeys(("mean", "sum", "amax"), reduction()),
    "max_pool2d": pool(dilated=True),
    "avg_pool2d": pool(dilated=False),
    "adaptive_avg_pool2d": adaptive(),
    "cat": joined(),
    **dict.fromkeys(("matmul", "bmm", "mm"), product()),
    "scaled_dot_product_attention": attention(),
    "embedding": embedding(),
    **dict.fromkeys(shapes.BINARY.split(), binary()),
}
REFUSED = ("aten::_grouped_mm", ".data", ".input")  # what no meta kernel answers, or only in seconds
NAMES = [name for name in shapes.SHAPES if not name.endswith(REFUSED)]
NUMBERS = {"aten::clamp": 2, "aten::clamp_": 2, "aten::pow.Tensor_Scalar": 1}


def arguments_of(name):
    """Random arguments for an operator, most of them ordinary."""
    base = name.removeprefix("aten::").partition(".")[0].removesuffix("_")
    return ARGUMENTS[base] if base in ARGUMENTS else unary(NUMBERS.get(name, 0))


def overload(name):
    base, _, variant = name.removeprefix("aten::").partition(".")
    return getattr(getattr(torch.ops.aten, base), variant or "default")


def looks(result):
    results = result if isinstance(result, (list, tuple)) else [result]
    return [(tuple(t.shape), t.stride(), t.dtype) for t in results]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_a_rule_says_what_the_meta_kernel_says(name):
    answered = []

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(arguments_of(name))
    def agrees(arguments):
        result = shapes.SHAPES[name](*arguments)
        if result is not NotImplemented:
            answered.append(1)
            assert looks(result) == looks(overload(name)(*arguments))

    agrees()
    assert answered


@pytest.mark.parametrize("name", ["shufflenet_v2", "timm:levit_128", "timm:convnext_atto", "torchvision:googlenet"])
def test_a_trace_is_the_same_without_own_rules(name, monkeypatch):
    def traced():
        loaded = load_model(ModelSpec(name))
        monkeypatch.setattr(calls, "SIGNATURES", {})
        return profile(loaded.model, loaded.inputs).trace

    with_rules = traced()
    monkeypatch.setattr(inference, "SHAPES", {})
    assert traced() == with_rules


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layer", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
def test_recurrent_layers_have_the_shapes_of_their_meta_kernels(layer, bidirectional, batch_first, monkeypatch):
    network = layer(4, 5, 2, bidirectional=bidirectional, batch_first=batch_first)

    def traced():
        monkeypatch.setattr(calls, "SIGNATURES", {})
        return profile(network, (3, 6, 4)).trace

    with_rules = traced()
    monkeypatch.setattr(inference, "SHAPES", {})
    assert traced() == with_rules


def test_results_follow_the_default_dtype():
    class Halved(torch.nn.Module):
        def forward(self, x):
            return x / 2

    before = torch.get_default_dtype()
    try:
        for dtype in (torch.float32, torch.float64):
            torch.set_default_dtype(dtype)
            result = profile(Halved(), torch.empty(3, dtype=torch.int64, device="meta"))
            assert result.trace.ops[0].output.dtype == str(dtype).removeprefix("torch.")
    finally:
        torch.set_default_dtype(before)


def test_the_sign_of_a_zero_is_kept():
    class Filled(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.leaky_relu(x, 0.0), torch.nn.functional.leaky_relu(x, -0.0)

    assert [str(op.attrs["negative_slope"]) for op in profile(Filled(), (2, 3)).trace.ops] == ["0.0", "-0.0"]


@pytest.mark.slow
def test_the_first_look_does_not_import_the_compiler():
    code = (
        "import sys, costlab; from costlab import zoo\n"
        "for name in zoo.__all__: costlab.profile(getattr(zoo, name)(), (1, 3, 224, 224))\n"
        "print([m for m in ('torch._dynamo', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
