"""Results lie in memory as torch's CPU kernels lay them out, so that a `view` which a CPU accepts passes a trace."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from costlab.core.profile import Profile
from costlab.tracing._profile import profile
from costlab.tracing.cpu_layouts import FORMS, laid_out
from costlab.tracing.shapes import SHAPES
from costlab.tracing.tensors import all_tensors, moved, on_meta

ONES = torch.ones(8)
CALLS: dict[str, Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]] = {
    "batch norm": lambda x, lay: F.batch_norm(x, ONES, ONES),
    "batch norm in training": lambda x, lay: F.batch_norm(x, None, None, training=True),
    "group norm": lambda x, lay: F.group_norm(x, 2),
    "log sigmoid": lambda x, lay: F.logsigmoid(x),
    "roll": lambda x, lay: x.roll(1, 1),
    "shuffled channels": lambda x, lay: torch.channel_shuffle(x, 2),
    "shuffled pixels": lambda x, lay: F.pixel_shuffle(x, 2),
    "unpooled": lambda x, lay: F.max_unpool2d(x, torch.zeros_like(x, dtype=torch.long), 2),
    "reflected": lambda x, lay: F.pad(x, (0, 1, 1, 0), "reflect"),
    "replicated": lambda x, lay: F.pad(x, (0, 1, 1, 0), "replicate"),
    "around": lambda x, lay: F.pad(x, (0, 1, 1, 0), "circular"),
    "padded": lambda x, lay: F.pad(x, (0, 1, 1, 0)),
    "pointwise": lambda x, lay: F.conv2d(x, lay(torch.ones(6, 8, 1, 1))),
    "convolution": lambda x, lay: F.conv2d(x, lay(torch.ones(6, 8, 3, 3)), padding=1),
    "grouped": lambda x, lay: F.conv2d(x, lay(torch.ones(8, 4, 3, 3)), padding=1, groups=2),
    "depthwise": lambda x, lay: F.conv2d(x, lay(torch.ones(8, 1, 3, 3)), padding=1, groups=8),
    "transposed": lambda x, lay: F.conv_transpose2d(x, lay(torch.ones(8, 6, 2, 2)), stride=2),
}


def layouts(rank: int) -> Iterator[Callable[[Tensor], Tensor]]:
    """As they are, channels last, in any other order, and with gaps."""
    for order in itertools.permutations(range(rank)):
        back = [order.index(i) for i in range(rank)]
        yield lambda x, order=order, back=back: x.permute(order).contiguous().permute(back)  # type: ignore[misc]
    yield lambda x: torch.cat([x, x], -1)[..., : x.shape[-1]]


class Compared(TorchDispatchMode):
    """Runs operators, and compares their strides with those that a trace gives them."""

    seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.name().removeprefix("aten::") in FORMS:
            meta, options = moved(args, on_meta), moved(kwargs or {}, on_meta)
            rule = SHAPES.get(func.name())
            found = rule(*meta, **options) if rule else NotImplemented
            if found is NotImplemented:
                found = func(*meta, **options)
            found = laid_out(func.name(), found, meta)
            self.seen += 1
            assert strides(found) == strides(result), (func.name(), [(t.shape, t.stride()) for t in all_tensors(args)])
        return result


def strides(result: Any) -> list[list[int]]:
    """Those of dimensions with more than one element."""
    return [[s for s, n in zip(t.stride(), t.shape, strict=True) if n > 1] for t in all_tensors(result)]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_strides_are_those_of_the_cpu_kernel(call: Any) -> None:
    with torch.inference_mode():
        for shape in ((2, 8, 3, 4), (1, 8, 3, 4), (2, 8, 2, 2)):
            for lay in layouts(4):
                x = lay(torch.randn(shape))
                with Compared() as compared:
                    call(x, lay)
                assert compared.seen


@pytest.mark.parametrize("name", ["batch norm", "batch norm in training", "log sigmoid"])
@pytest.mark.parametrize("shape", [(2, 8), (2, 8, 3)])
def test_so_are_those_of_vectors_and_series(name: str, shape: tuple[int, ...]) -> None:
    with torch.inference_mode():
        for lay in layouts(len(shape)):
            with Compared():
                CALLS[name](lay(torch.randn(shape)), lay)


class Net(nn.Module):
    """Sees a [n, h, w, c] input as images, and their channels as rows again."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.last = layer, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x.movedim(-1, 1)).movedim(1, -1)
        return self.last(y.view(y.shape[0], -1, 8))  # type: ignore[no-any-return]


def by_kind(found: Profile, *kinds: str) -> int:
    """The mult-adds of the operators of these kinds."""
    return sum(row.mult_adds for kind, row in found.by_kind().items() if kind in kinds)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 3, groups=8, padding=1),
        nn.ConvTranspose2d(8, 8, 2, 2),
        nn.BatchNorm2d(8),
        nn.ReflectionPad2d(1),
        nn.ReplicationPad2d(1),
        nn.GroupNorm(2, 8),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("mode", ["eval", "train", "step"])
def test_a_view_that_a_cpu_accepts_passes(layer: nn.Module, mode: Any) -> None:
    net = Net(layer).train(mode != "eval")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.randn(2, 5, 6, 8))
    found = profile(net, (2, 5, 6, 8), mode=mode)
    products = by_kind(found, "conv2d", "conv_transpose2d", "linear")
    assert products == counter.get_total_flops() // 2


def test_batch_norm_makes_a_permuted_input_contiguous() -> None:
    class Rows(nn.Module):
        """[n, l, c] -> rows of a batch norm over c."""

        def __init__(self) -> None:
            super().__init__()
            self.norm, self.last = nn.BatchNorm1d(8), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.norm(x.transpose(1, 2)).view(16, 6))  # type: ignore[no-any-return]

    Rows().eval()(torch.randn(2, 6, 8))
    assert profile(Rows(), (2, 6, 8)).mult_adds >= 16 * 6 * 3
