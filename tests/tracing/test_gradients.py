"""Networks that differentiate in forward: the products that autograd runs, against torch's own counter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import Call, only, profile_of
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, linearize, stack_module_state, vjp, vmap
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from costlab.core.cost import cost_of
from costlab.core.cost.backward import BACKWARD
from costlab.core.graph import Op
from costlab.core.graph import Tensor as Described
from costlab.tracing._profile import profile

pytestmark = pytest.mark.slow


class Gradients(nn.Module):
    """The gradients of a function with regard to its inputs and all parameters."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, *inputs: Tensor) -> Any:
        with torch.enable_grad():
            inputs = tuple(x.requires_grad_() for x in inputs)
            result = self.function(*self.layers, *inputs)
            first = result[0] if isinstance(result, tuple) else result
            return torch.autograd.grad(first.sum(), [*inputs, *self.parameters()], allow_unused=True)


class NoTracking:
    """A module tracker for FlopCounterMode that sets no hooks: they fail where forward differentiates."""

    parents = frozenset({"Global"})

    def __enter__(self) -> NoTracking:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def counted_by_torch(network: nn.Module, *shapes: tuple[int, ...]) -> int:
    """What FlopCounterMode counts on the meta device, where attention is not hidden from it."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = NoTracking()
    with counter, torch.device("meta"):
        network.forward(*(torch.randn(shape) for shape in shapes))
    return int(counter.get_total_flops()) // 2


def apply(layer: nn.Module, *inputs: Tensor) -> Any:
    """The layer of its inputs."""
    return layer(*inputs)


IMAGE, ROWS = (2, 8, 9, 9), (2, 8)
LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "conv": (nn.Conv2d(8, 12, 3), IMAGE),
    "strided": (nn.Conv2d(8, 12, 3, stride=2, padding=1), IMAGE),
    "transposed": (nn.ConvTranspose2d(8, 12, 3, stride=2), IMAGE),
    "conv1d": (nn.Conv1d(8, 12, 3), (2, 8, 9)),
    "linear": (nn.Linear(8, 12), ROWS),
    "encoder": (nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (2, 8, 16)),
    "gru": (nn.GRU(8, 6, 2, bidirectional=True), (5, 2, 8)),
    "cell": (nn.LSTMCell(8, 6), ROWS),
    "weight norm": (nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), ROWS),
}


@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_gradients_of_layers_are_those_that_torch_counts(layer: nn.Module, shape: tuple[int, ...]) -> None:
    network = Gradients(apply, layer).eval()
    result = profile(network, shape)
    assert result.mult_adds == counted_by_torch(network.to("meta"), shape)
    assert not result.uncounted
    assert not result.estimated


def test_gradients_of_checkpoints_and_gradients_are_those_that_torch_counts() -> None:
    def recomputed(layer: nn.Module, x: Tensor) -> Tensor:
        return checkpoint(lambda x: layer(x), x, use_reentrant=False)  # type: ignore[no-any-return]

    def twice(layer: nn.Module, x: Tensor) -> Tensor:
        return torch.autograd.grad((layer(x) ** 2).sum(), x, create_graph=True)[0]

    for function in (recomputed, twice):
        network = Gradients(function, nn.Conv2d(8, 12, 3))
        result = profile(network, IMAGE)
        assert result.mult_adds == counted_by_torch(network.to("meta"), IMAGE)
        assert not result.uncounted


def test_a_grouped_convolution_has_gradients_of_its_own_size() -> None:
    """FlopCounterMode's weight gradient is too large by the number of groups."""
    result = profile(Gradients(lambda layer, x: layer(x).pow(2), nn.Conv2d(8, 12, 3, groups=4)), IMAGE)
    forward = 2 * 12 * 7 * 7 * 2 * 9
    assert result.mult_adds == 3 * forward
    _, cost = only(result, "convolution_backward")
    gradient, image, weight = 2 * 12 * 7 * 7, 2 * 8 * 9 * 9, 12 * 2 * 9
    assert cost.memory_access == 2 * (gradient + weight + image) + 12


def test_an_input_alone_takes_one_product() -> None:
    frozen = nn.Conv2d(8, 12, 3).requires_grad_(False)
    network = Call(lambda x: grad(lambda y: frozen(y).sum())(x))
    assert profile(network, IMAGE).mult_adds == 2 * (2 * 12 * 7 * 7 * 8 * 9)


def activations(x: Tensor) -> Tensor:
    """Every activation of torch."""
    functions = (
        "relu relu6 gelu silu mish elu selu celu softplus leaky_relu hardswish hardsigmoid hardtanh logsigmoid softsign"
        " tanhshrink softshrink hardshrink sigmoid tanh softmin"
    ).split()
    return F.glu(sum(getattr(F, name)(x) for name in functions))


def resampled(x: Tensor) -> Tensor:
    """Poolings, interpolations and paddings of an image [n, c, h, w]."""
    pools = F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d
    modes = "nearest bilinear bicubic area nearest-exact".split()
    ends = "reflect replicate circular constant".split()
    return (  # type: ignore[return-value]
        sum(pool(x, 2).sum() for pool in pools)
        + sum(F.interpolate(x, scale_factor=2.0, mode=mode).sum() for mode in modes)
        + sum(F.pad(x, (1, 1, 1, 1), mode=mode).sum() for mode in ends)
    )


def normalised(x: Tensor) -> Tensor:
    """Softmax, reductions and norms of rows."""
    scores = x.softmax(-1) + x.log_softmax(0) + x.logsumexp(-1, True) + x.cumsum(0) + x.norm() + x.std(0) + x.var()
    return scores + F.layer_norm(x, (8,)) + F.rms_norm(x, (8,)) + F.group_norm(x, 2) + torch.cdist(x, x).sum()


def losses(x: Tensor) -> Tensor:
    """Losses between rows."""
    target = torch.tensor([1, 2])
    pairs = F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.kl_div, F.binary_cross_entropy_with_logits
    return sum(loss(x, 2 * x) for loss in pairs) + F.cross_entropy(x, target) + F.multi_margin_loss(x, target)  # type: ignore[no-any-return]


def picked(x: Tensor) -> Tensor:
    """Slices and indices of rows."""
    parts = x[0], x[:, 1:3], x[[0, 1]], x.diagonal(), x.unfold(1, 2, 1), x.flip(0), x.roll(1), x.repeat(2, 1)
    index = torch.zeros(2, 1, dtype=torch.long)
    return sum(part.sum() for part in parts) + x.gather(1, index).sum() + torch.fft.rfft(x).abs().sum()  # type: ignore[no-any-return]


OTHERS = {
    "activations": (activations, ROWS),
    "resampled": (resampled, (1, 2, 8, 8)),
    "normalised": (normalised, ROWS),
    "losses": (losses, ROWS),
    "picked": (picked, ROWS),
    "sampled": (lambda x: F.grid_sample(x, torch.zeros(1, 4, 4, 2)), (1, 2, 8, 8)),
    "solved": (lambda x: torch.linalg.inv(x).sum() + torch.linalg.svdvals(x).sum(), (4, 4)),
}


@pytest.mark.parametrize(("function", "shape"), OTHERS.values(), ids=OTHERS)
def test_no_other_backward_operator_is_uncounted(function: Callable[..., Any], shape: tuple[int, ...]) -> None:
    result = profile(Gradients(function), shape)
    assert not result.uncounted


def test_every_backward_operator_of_torch_has_a_rule() -> None:
    """All but those of other hardware, of quantisation-aware training, and composites that torch decomposes."""
    from costlab.core.cost import RULES
    from costlab.tracing.operators import is_composite, kind_of

    left = set()
    for schema in torch._C._jit_get_all_schemas():
        name = f"{schema.name}.{schema.overload_name}" if schema.overload_name else schema.name
        if schema.name.startswith("aten::") and schema.name.endswith("_backward") and not is_composite(name):
            left |= {kind_of(schema.name)} - RULES.keys()
    assert {kind for kind in left if "mps" not in kind and "mkldnn" not in kind and "batch_norm" not in kind} <= {
        "_batch_norm_impl_index_backward",
        "_ctc_loss_backward",
        "_sparse_mm_reduce_impl_backward",
        "_sparse_sum_backward",
        "_thnn_fused_gru_cell_backward",
        "_upsample_lanczos2d_aa_backward",
        "backward",
        "max_pool2d_backward",
    }


# Fused attention, as GPUs differentiate it.

SCORES, WIDTH = 2 * 4 * 16 * 24, 8


@pytest.mark.parametrize("kind", [kind for kind in BACKWARD if kind.startswith("_scaled_dot_product")])
def test_fused_attention_computes_its_scores_again(kind: str) -> None:
    """Five products, as `sdpa_backward_flop_count` of torch."""
    from torch.utils.flop_counter import sdpa_backward_flop_count

    q, k = (2, 4, 16, WIDTH), (2, 4, 24, WIDTH)
    shapes = {"grad_out": q, "query": q, "key": k, "value": k}
    inputs = tuple(Described(n, s, "float32", "activation", 1, i) for i, (n, s) in enumerate(shapes.items()))
    outputs = tuple(Described("output", s, "float32", "activation", 1, 9) for s in (q, k, k))
    cost = cost_of(Op("x", kind, "", inputs, outputs, {}, None, (), False, False, 0, 0))
    assert cost is not None
    assert cost.mult_adds == 5 * SCORES * WIDTH == sdpa_backward_flop_count(q, q, k, k) // 2


# Transforms of functions, and forward-mode differentiation.


def jvp_of(layer: nn.Module, x: Tensor) -> Any:
    """A derivative along ones."""
    return jvp(layer, (x,), (torch.ones_like(x),))


def vjp_of(layer: nn.Module, x: Tensor) -> Any:
    """A product with ones from the left."""
    return vjp(layer, x)[1](torch.ones(2, 8))


def dual(layer: nn.Module, x: Tensor) -> Any:
    """The same as `jvp_of` by dual numbers."""
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(layer(forward_ad.make_dual(x, torch.ones_like(x)))).tangent


def adapted(layer: nn.Module, x: Tensor) -> Any:
    """A step of gradient descent in the weights, then the layer."""
    weights = dict(layer.named_parameters())
    slopes = grad(lambda w: functional_call(layer, w, (x,)).pow(2).sum())(weights)
    return functional_call(layer, {name: w - 0.1 * slopes[name] for name, w in weights.items()}, (x,))


def ensemble(layer: nn.Module, x: Tensor) -> Any:
    """Three layers at once."""
    stacked = stack_module_state([nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)])
    return vmap(lambda w, b: functional_call(layer, (w, b), (x,)))(*stacked)


def per_sample(layer: nn.Module, x: Tensor) -> Any:
    """The gradient of the weights for each row."""
    weights = dict(layer.named_parameters())
    return vmap(grad(lambda w, y: functional_call(layer, w, (y[None],)).sum()), in_dims=(None, 0))(weights, x)


TRANSFORMS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "jvp": jvp_of,
    "vjp": vjp_of,
    "dual": dual,
    "adapted": adapted,
    "ensemble": ensemble,
    "per_sample": per_sample,
    "jacrev": lambda layer, x: jacrev(layer)(x[0]),
    "jacfwd": lambda layer, x: jacfwd(layer)(x[0]),
    "hessian": lambda layer, x: hessian(lambda y: layer(y).pow(2).sum())(x[0]),
    "linearize": lambda layer, x: linearize(layer, x)[1](torch.ones_like(x)),
    "vmapped jacobian": lambda layer, x: vmap(jacrev(layer))(x),
    "jacobian": lambda layer, x: torch.autograd.functional.jacobian(layer, x[0]),
}


class Transformed(nn.Module):
    """A transform of a layer."""

    def __init__(self, transform: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.transform, self.layer = transform, nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Any:
        return self.transform(self.layer, x)


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_transforms_cost_what_torch_counts(transform: Callable[[nn.Module, Tensor], Any]) -> None:
    network = Transformed(transform)
    result = profile(network, ROWS)
    assert result.mult_adds == counted_by_torch(network.to("meta"), ROWS)
    assert not result.uncounted
    assert not result.estimated


def test_later_calls_of_a_linear_function_are_estimates() -> None:
    def twice(layer: nn.Module, x: Tensor) -> list[Any]:
        along = linearize(layer, x)[1]
        return [along(x), along(x)]

    assert profile(Transformed(twice), ROWS).estimated


def test_a_network_with_gradients_in_it_stays_as_it_was() -> None:
    network = Gradients(apply, nn.Linear(8, 12))
    before = {name: (parameter, parameter.clone()) for name, parameter in network.named_parameters()}
    profile(network, ROWS)
    for name, parameter in network.named_parameters():
        same, values = before[name]
        assert parameter is same
        assert torch.equal(parameter, values)
        assert parameter.grad is None
    assert profile_of(lambda x: x @ x.mT, (3, 4)).mult_adds == 36
