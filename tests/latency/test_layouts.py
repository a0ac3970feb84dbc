"""Memory layouts agree with torch's strides; autocast's dtypes agree with torch's."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import profile_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from costlab.core.graph import Op
from costlab.latency.layouts import contiguous, is_channels_last, is_contiguous, layouts, significant
from costlab.latency.precision import LOWERED, NORMS, RAISED, dtypes, type_read

# Layouts. A program is a list of steps on one tensor; after each, a marker reads what has become of it.

MARKER = "sinc"  # an operator that no step is
Step = tuple[str, int, int]


def applied(step: Step, x: Tensor, weights: nn.ParameterDict) -> Tensor:
    """What a step makes of a tensor; the tensor itself where the step does not fit it."""
    kind, a, b = step
    rank = x.dim()
    i, j = a % rank, b % rank
    match kind:
        case "permute":
            dims = list(range(rank))
            dims.insert(j, dims.pop(i))
            return x.permute(dims)
        case "transpose":
            return x.transpose(i, j)
        case "flatten" if rank > 2:
            return x.flatten(min(i, rank - 2), min(i, rank - 2) + 1)
        case "unflatten" if rank < 5 and x.shape[i] % 2 == 0:
            return x.unflatten(i, (2, -1))
        case "unsqueeze" if rank < 5:
            return x.unsqueeze(i)
        case "squeeze":
            return x.squeeze(i) if rank > 2 else x
        case "select" if rank > 2:
            return x.select(i, 0)
        case "slice" if x.shape[i] > 1:
            return x.narrow(i, 0, x.shape[i] - 1)
        case "expand" if x.shape[i] == 1:
            return x.expand([3 if d == i else -1 for d in range(rank)])
        case "chunk" if x.shape[i] % 2 == 0:
            return x.chunk(2, i)[1]
        case "contiguous":
            return x.contiguous()
        case "relu":
            return x.relu()
        case "add":
            return x + x
        case "softmax":
            return x.softmax(-1)
        case "clone":
            return x.clone()
        case "conv" if rank == 4 and str(x.shape[1]) in weights:
            return F.conv2d(x, weights[str(x.shape[1])])
        case "pool" if rank == 4 and min(x.shape[2:]) > 1:
            return F.max_pool2d(x, 2)
        case "interpolate" if rank == 4:
            return F.interpolate(x, scale_factor=2.0)
        case "linear" if str(x.shape[-1]) in weights:
            return F.linear(x, weights[str(x.shape[-1])].flatten(1))
        case "layer_norm":
            return F.layer_norm(x, x.shape[-1:])
    return x


KINDS = (
    "permute transpose flatten unflatten unsqueeze squeeze select slice expand chunk contiguous relu add softmax clone"
    " conv pool interpolate linear layer_norm"
).split()
COPIES = ("contiguous", "flatten")  # in channels-last; a trace of contiguous images has them as views


def programs(kinds: list[str]) -> st.SearchStrategy[list[Step]]:
    step = st.tuples(st.sampled_from(kinds), st.integers(0, 4), st.integers(0, 4))
    return st.lists(step, min_size=1, max_size=8)


steps = programs(KINDS)
channels_last_steps = programs([kind for kind in KINDS if kind not in COPIES])


class Chain(nn.Module):
    """Steps one after the other; `seen` keeps what each of them made, in the last run."""

    def __init__(self, program: list[Step], channels_last: bool) -> None:
        super().__init__()
        form = torch.channels_last if channels_last else torch.contiguous_format
        weights = {str(n): nn.Parameter(torch.randn(6, n, 1, 1).to(memory_format=form)) for n in (2, 3, 4, 6, 8)}
        self.program, self.weights = program, nn.ParameterDict(weights)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen = [x]
        torch.sinc(x)
        for step in self.program:
            self.seen.append(applied(step, self.seen[-1], self.weights))
            torch.sinc(self.seen[-1])
        return self.seen[-1]


IMAGE = (2, 4, 6, 8)


def found_and_real(program: list[Step], channels_last: bool) -> list[tuple[Any, Tensor]]:
    """The layout of every value of a chain beside the real tensor, up to the first with a dimension of stride 0.

    Where such a dimension lies is a matter of taste.
    """
    network = Chain(program, channels_last).eval()
    image = torch.randn(IMAGE)
    with torch.no_grad():
        network(image.contiguous(memory_format=torch.channels_last) if channels_last else image)
    real = list(network.seen)
    ops = profile_of(network, IMAGE).ops
    found = [inputs[0] for op, inputs in zip(ops, layouts(ops, channels_last), strict=True) if op.kind == MARKER]
    return list(takewhile(lambda pair: not repeated(pair[1]), zip(found, real, strict=True)))


def real_order(tensor: Tensor) -> list[int]:
    """The dimensions with a stride of their own, outermost first."""
    strides = [(-tensor.stride(d), d) for d in range(tensor.dim()) if tensor.shape[d] != 1 and tensor.stride(d)]
    return [d for _, d in sorted(strides)]


def repeated(tensor: Tensor) -> bool:
    return any(tensor.stride(d) == 0 and tensor.shape[d] > 1 for d in range(tensor.dim()))


@settings(max_examples=150)
@given(steps)
def test_dimensions_lie_as_torchs_strides_say(program: list[Step]) -> None:
    for layout, real in found_and_real(program, False):
        assert sorted(layout.order) == list(range(real.dim()))
        assert list(significant(layout, real.shape)) == real_order(real), (layout, real.shape, real.stride())


@settings(max_examples=150)
@given(channels_last_steps)
def test_dimensions_lie_as_torchs_strides_say_where_images_come_in_channels_last(program: list[Step]) -> None:
    for layout, real in found_and_real(program, True):
        assert list(significant(layout, real.shape)) == real_order(real), (layout, real.shape, real.stride())


@given(channels_last_steps, st.booleans())
def test_what_is_called_contiguous_is(program: list[Step], channels_last: bool) -> None:
    for layout, real in found_and_real(program, channels_last):
        if is_contiguous(layout, real.shape):
            assert real.is_contiguous(), (layout, real.shape, real.stride())
        if is_channels_last(layout, real.shape) and layout.dense:
            assert real.is_contiguous(memory_format=torch.channels_last), (layout, real.shape, real.stride())


@pytest.mark.parametrize(
    ("program", "contiguous_after"),
    [
        ([("permute", 1, 3)], False),
        ([("permute", 1, 3), ("contiguous", 0, 0)], True),
        ([("permute", 1, 3), ("permute", 3, 1)], True),
        ([("transpose", 2, 3), ("relu", 0, 0)], False),  # an element-wise operator writes as it reads
        ([("slice", 3, 0)], False),
        ([("slice", 0, 0)], True),
        ([("select", 0, 0)], True),
        ([("select", 1, 0)], False),
        ([("flatten", 2, 0), ("unflatten", 2, 0)], True),
        ([("chunk", 1, 0)], False),
    ],
)
def test_whether_a_view_needs_a_copy(program: list[Step], contiguous_after: bool) -> None:
    layout, real = found_and_real(program, False)[-1]
    assert real.is_contiguous() == contiguous_after
    assert is_contiguous(layout, real.shape) == contiguous_after


@pytest.mark.parametrize("channels_last", [False, True])
def test_images_stay_as_they_came_through_convolutions_poolings_and_activations(channels_last: bool) -> None:
    program = [("conv", 0, 0), ("relu", 0, 0), ("pool", 0, 0), ("interpolate", 0, 0), ("add", 0, 0)]
    for layout, real in found_and_real(program, channels_last):
        assert is_channels_last(layout, real.shape) == channels_last
        assert is_contiguous(layout, real.shape) != channels_last


@given(st.lists(st.integers(1, 4), max_size=5))
def test_a_contiguous_tensor_is_contiguous(shape: list[int]) -> None:
    assert is_contiguous(contiguous(shape), shape)


# Autocast. torch itself says which types a GPU would see: its casts run on tensors that claim to lie on one.

IMAGES = (2, 8, 8, 8)
WEIGHT = (8, 8, 1, 1)
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    # contractions
    "conv_transpose2d": lambda x: F.conv_transpose2d(x, x.new_ones(8, 8, 2, 2)),
    "linear": lambda x: F.linear(x, x.new_ones(3, 8)),
    "matmul": lambda x: x @ x,
    "bmm": lambda x: torch.bmm(x.flatten(0, 1), x.flatten(0, 1)),
    "einsum": lambda x: torch.einsum("bchw,bcwv->bchv", x, x),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    # activations
    **{f.__name__: f for f in (F.relu, F.gelu, F.silu, F.mish, F.elu, F.hardswish, F.softplus, F.softsign)},
    **{f.__name__: f for f in (torch.sigmoid, torch.tanh, F.logsigmoid, F.leaky_relu, torch.relu_)},
    "prelu": lambda x: F.prelu(x, torch.ones(8, device=x.device)),
    "glu": lambda x: F.glu(x, 1),
    # arithmetic
    **{f.__name__: f for f in (torch.exp, torch.expm1, torch.log, torch.log2, torch.log10, torch.log1p)},
    **{f.__name__: f for f in (torch.sqrt, torch.rsqrt, torch.reciprocal, torch.square, torch.abs, torch.erf)},
    **{f.__name__: f for f in (torch.sin, torch.cos, torch.tan, torch.sinh, torch.cosh, torch.acos, torch.asin)},
    "erfinv": torch.erfinv,
    "pow": lambda x: x**3,
    "add a number": lambda x: x + 1.0,
    "divide by a number": lambda x: x / 3,
    "multiply": lambda x: x * x,
    "add float32": lambda x: x + torch.ones(8, device=x.device),
    "clamp": lambda x: x.clamp(0, 1),
    "where": lambda x: torch.where(x > 0, x, 0 * x),
    "maximum": lambda x: torch.maximum(x, x),
    "masked_fill": lambda x: x.masked_fill(x > 0, 1.0),
    # norms and softmax
    "batch_norm": lambda x: F.batch_norm(x, torch.zeros(8, device=x.device), torch.ones(8, device=x.device)),
    "layer_norm": lambda x: F.layer_norm(x, (8,)),
    "group_norm": lambda x: F.group_norm(x, 2),
    "rms_norm": lambda x: F.rms_norm(x, (8,)),
    "instance_norm": F.instance_norm,
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: x.log_softmax(-1),
    # reductions
    "sum": lambda x: x.sum(-1),
    "mean": lambda x: x.mean(-1),
    "amax": lambda x: x.amax(-1),
    "prod": lambda x: x.prod(-1),
    "var": lambda x: x.var(-1),
    "cumsum": lambda x: x.cumsum(-1),
    "cumprod": lambda x: x.cumprod(-1),
    "logsumexp": lambda x: x.logsumexp(-1),
    "norm": lambda x: x.norm(dim=-1),
    "vector_norm": lambda x: torch.linalg.vector_norm(x, dim=-1),
    "normalize": lambda x: F.normalize(x, dim=-1),
    "cosine_similarity": lambda x: F.cosine_similarity(x, x),
    "cdist": lambda x: torch.cdist(x, x),
    # what moves data
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 1),
    "nearest": lambda x: F.interpolate(x, scale_factor=2.0),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "bicubic": lambda x: F.interpolate(x, scale_factor=2.0, mode="bicubic"),
    "cat": lambda x: torch.cat([x, x]),
    "cat with float32": lambda x: torch.cat([x, torch.ones(x.shape, device=x.device)]),
    "stack": lambda x: torch.stack([x, x]),
    "pad": lambda x: F.pad(x, (1, 1)),
    "roll": lambda x: x.roll(1, -1),
    "clone": torch.clone,
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "repeat": lambda x: x.repeat(2, 1, 1, 1),
}


class Network(nn.Module):
    """A function of an image, or of what a convolution makes of it, which autocast has lowered."""

    def __init__(self, function: Callable[[Tensor], Tensor], lowered: bool) -> None:
        super().__init__()
        self.function, self.lowered = function, lowered

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.function(F.conv2d(x, weight) if self.lowered else x)


def torchs_type(network: nn.Module) -> str:
    """The type of what a network writes under autocast on a GPU, of tensors that hold nothing."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.float16)
    try:
        with FakeTensorMode(), torch.no_grad():
            out = network(torch.empty(IMAGES, device="cuda"), torch.empty(WEIGHT, device="cuda"))
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])
    return str(out.dtype).removeprefix("torch.")


def our_type(network: nn.Module, lower: str = "float16") -> str:
    ops = profile_of(network, IMAGES, WEIGHT).ops
    written = ops[-1].output
    return dtypes(ops, lower).get(written.storage, written.dtype)


@pytest.mark.parametrize("lowered", [False, True], ids=["of float32", "of float16"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_autocast_on_a_gpu_writes_what_torch_writes(name, lowered):
    network = Network(FUNCTIONS[name], lowered)
    assert our_type(network) == torchs_type(network)


@pytest.mark.parametrize("name", ["linear", "matmul", "bmm", "attention", "relu", "gelu", "cat", "add float32"])
def test_autocast_on_a_cpu_lowers_contractions_to_bfloat16(name):
    network = Network(FUNCTIONS[name], True)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        real = network(torch.randn(IMAGES), torch.randn(WEIGHT))
    assert our_type(network, "bfloat16") == str(real.dtype).removeprefix("torch.")


def test_without_autocast_every_type_is_the_traced_one():
    ops = profile_of(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Softmax(-1)), IMAGES).ops
    assert dtypes(ops, None) == {}
    assert all(type_read(op, None, False) is None for op in ops)


def test_norms_keep_the_lower_type_only_with_half_norms():
    def last(half_norms: bool) -> tuple[Op, str]:
        ops = profile_of(nn.Sequential(nn.Conv2d(8, 8, 1), nn.GroupNorm(2, 8)), IMAGES).ops
        return ops[-1], dtypes(ops, "float16", half_norms)[ops[-1].output.storage]

    op, written = last(True)
    assert (written, type_read(op, "float16", True)) == ("float16", "float16")
    op, written = last(False)
    assert (written, type_read(op, "float16", False)) == ("float32", "float32")


def test_an_operator_in_place_keeps_the_type_of_its_storage():
    network = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(inplace=True))
    ops = profile_of(network, IMAGES).ops
    assert dtypes(ops, "float16")[ops[0].output.storage] == "float16"


def test_no_operator_is_both_lowered_and_raised():
    assert not LOWERED & RAISED
    assert NORMS <= RAISED
