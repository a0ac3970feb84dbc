"""The numbers that fvcore, thop and ptflops print follow from a profile: checked against the tools and their tables."""

from __future__ import annotations

import contextlib
import copy
import io
import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import Call
from torch import nn

from costlab.core.profile import Profile
from costlab.crosscheck.emulation import TOOLS, count_like
from costlab.errors import CostlabError
from costlab.models import ModelSpec, load_model
from costlab.models.providers.torchvision import import_torchvision
from costlab.tracing._profile import profile

pytestmark = pytest.mark.slow


def real_fvcore(model: nn.Module, inputs: list[torch.Tensor]) -> int:
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(model, tuple(inputs))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return int(analysis.total())


def real_thop(model: nn.Module, inputs: list[torch.Tensor]) -> int:
    thop = pytest.importorskip("thop")
    return int(thop.profile(model, inputs=tuple(inputs), verbose=False)[0])


def real_ptflops(model: nn.Module, inputs: list[torch.Tensor]) -> int:
    """Keyword inputs: with positional ones it divides a part of its sum by the batch size."""
    import_torchvision()  # ptflops imports it, and fails where its operators do not load
    ptflops = pytest.importorskip("ptflops")
    result: Any = ptflops.get_model_complexity_info(
        ByKeyword(model),
        (1,),
        print_per_layer_stat=False,
        as_strings=False,
        input_constructor=lambda _: {f"input_{i}": tensor for i, tensor in enumerate(inputs)},
    )
    return result[0]


class ByKeyword(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: torch.Tensor) -> Any:
        return self.model(*inputs.values())


RUN = {"fvcore": real_fvcore, "thop": real_thop, "ptflops": real_ptflops}


class Parts(nn.Module):
    """Networks side by side on one input."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: torch.Tensor) -> list[Any]:
        return [part(x) for part in self.parts]


class SelfAttention(nn.Module):
    def __init__(self, need_weights: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x, need_weights=self.need_weights)[0]


class Functions(nn.Module):
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = F.relu6(F.silu(F.gelu(F.elu(F.relu(x)))))
        pools = [F.max_pool2d(x, 2), F.avg_pool2d(x, 3), F.adaptive_avg_pool2d(x, 2), F.interpolate(x, scale_factor=2)]
        return [F.softmax(torch.bmm(x[0], x[1]), -1), *pools]


class Linear(nn.Linear):
    """A type of its own, though of the same name."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)


def encoder(**options: Any) -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, **options), 2)


NETWORKS: dict[str, tuple[Any, list[tuple[int, ...]]]] = {
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.Conv2d(8, 6, 3, groups=2, bias=False), nn.Conv2d(6, 6, 1)
        ),
        [(2, 4, 16, 16)],
    ),
    "transposed": (
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 8, 3, stride=2, groups=2), nn.ConvTranspose2d(8, 3, 2, bias=False)),
        [(2, 4, 7, 7)],
    ),
    "one dimension": (
        lambda: nn.Sequential(nn.Conv1d(4, 8, 3), nn.BatchNorm1d(8), nn.MaxPool1d(2), nn.AdaptiveAvgPool1d(3)),
        [(2, 4, 17)],
    ),
    "three dimensions": (lambda: nn.Sequential(nn.Conv3d(2, 4, 3), nn.AvgPool3d(2)), [(1, 2, 6, 7, 8)]),
    "unbatched": (lambda: nn.Conv2d(3, 4, 3), [(3, 9, 11)]),
    "norms": (
        lambda: Parts(
            nn.BatchNorm2d(4),
            nn.BatchNorm2d(4, affine=False),
            nn.GroupNorm(2, 4),
            nn.InstanceNorm2d(4),
            nn.InstanceNorm2d(4, affine=True),
            nn.LayerNorm(5),
            nn.LayerNorm(5, elementwise_affine=False),
            nn.RMSNorm(5),
        ),
        [(2, 4, 5, 5)],
    ),
    "activations": (
        lambda: nn.Sequential(
            *(nn.ReLU(), nn.GELU(), nn.SiLU(), nn.ReLU6(), nn.PReLU(), nn.ELU(), nn.LeakyReLU(), nn.Hardswish()),
            *(nn.Sigmoid(), nn.Softmax(-1)),
        ),
        [(3, 8)],
    ),
    "pools": (
        lambda: Parts(nn.MaxPool2d(3, 2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(3), nn.AdaptiveMaxPool2d(2)),
        [(2, 4, 9, 9)],
    ),
    "upsampling": (
        lambda: Parts(
            nn.Upsample(scale_factor=2),
            nn.Upsample(size=(7, 7), mode="bilinear"),
            nn.Upsample(scale_factor=2, mode="bicubic"),
            nn.UpsamplingBilinear2d(scale_factor=2),
        ),
        [(2, 4, 9, 9)],
    ),
    "functions": (Functions, [(2, 4, 8, 8)]),
    "own type": (lambda: nn.Sequential(nn.Linear(8, 8), Linear(8, 8), nn.Linear(8, 4, bias=False)), [(3, 5, 8)]),
    "lstm": (lambda: nn.LSTM(10, 20, 2, bidirectional=True, batch_first=True), [(3, 7, 10)]),
    "gru": (lambda: nn.GRU(10, 20, 2, bias=False), [(7, 3, 10)]),
    "rnn": (lambda: nn.RNN(10, 20, 2, nonlinearity="relu"), [(7, 3, 10)]),
    "projection": (lambda: nn.LSTM(10, 20, 2, proj_size=5), [(7, 3, 10)]),
    "lstm cell": (lambda: nn.LSTMCell(10, 20), [(3, 10)]),
    "gru cell": (lambda: nn.GRUCell(10, 20), [(3, 10)]),
    "rnn cell": (lambda: nn.RNNCell(10, 20, bias=False), [(3, 10)]),
    "attention": (lambda: SelfAttention(need_weights=False), [(2, 9, 16)]),
    "attention with weights": (lambda: SelfAttention(need_weights=True), [(2, 9, 16)]),
    "encoder": (encoder, [(2, 9, 16)]),
    "encoder, norm first": (lambda: encoder(norm_first=True, activation="gelu"), [(2, 9, 16)]),
    "transformer": (lambda: nn.Transformer(16, 4, 2, 2, 32), [(9, 2, 16), (7, 2, 16)]),
}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_tool_prints_the_number_that_its_rules_give(name, tool):
    build, shapes = NETWORKS[name]
    model, inputs = build().eval(), [torch.randn(shape) for shape in shapes]
    assert count_like(profile(model, inputs), tool).total == measured(tool, model, inputs)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", ["zoo:mobilenet_v2", "torchvision:shufflenet_v2_x0_5", "torchvision:vit_b_32"])
def test_the_tool_prints_the_number_that_its_rules_give_for_a_network(name, tool):
    from costlab.crosscheck.copies import copied, real

    loaded = load_model(ModelSpec(name, resolution=None if "vit" in name else 64))
    model, inputs, _ = copied(loaded.model, loaded.inputs.args, {}, real)
    model.requires_grad_(True)  # or torch takes a fused path that no tool sees into
    assert count_like(profile(loaded.model, loaded.inputs), tool).total == measured(tool, model, inputs)


def measured(tool: str, model: nn.Module, inputs: list[torch.Tensor]) -> int:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RUN[tool](copy.deepcopy(model), inputs)


# Gmult-adds at 224x224 as ptflops' page has them for its backend `pytorch`:
# https://github.com/sovrasov/flops-counter.pytorch, inception_v3 at its 299x299. (thop's page is of an older thop.)
PTFLOPS_TABLE = {
    "alexnet": 0.72,
    "convnext_base": 15.43,
    "densenet121": 2.90,
    "efficientnet_b0": 0.41,
    "efficientnet_v2_m": 5.43,
    "googlenet": 1.51,
    "inception_v3": 5.75,
    "maxvit_t": 5.48,
    "mnasnet1_0": 0.33,
    "mobilenet_v2": 0.32,
    "mobilenet_v3_large": 0.23,
    "regnet_y_1_6gf": 1.65,
    "resnet18": 1.83,
    "resnet50": 4.13,
    "resnext50_32x4d": 4.29,
    "shufflenet_v2_x1_0": 0.15,
    "squeezenet1_0": 0.84,
    "vgg16": 15.52,
    "vit_b_16": 17.61,
    "wide_resnet50_2": 11.45,
}


@pytest.mark.parametrize("name", PTFLOPS_TABLE)
def test_the_table_that_ptflops_publishes_comes_out(name, torchvision):
    loaded = load_model(ModelSpec(f"torchvision:{name}", resolution=299 if name == "inception_v3" else 224))
    total = count_like(profile(loaded.model, loaded.inputs), "ptflops").total
    assert total is not None
    assert round(total / 1e9, 2) == PTFLOPS_TABLE[name]


@pytest.mark.parametrize(
    ("tool", "families"),
    [
        ("fvcore", {"convolution": 2 * 8 * 5 * 5 * 4 * 3 * 3, "normalisation": 2 * 2 * 8 * 5 * 5}),
        ("thop", {"convolution": 2 * 8 * 5 * 5 * 4 * 3 * 3, "normalisation": 4 * 2 * 8 * 5 * 5}),
        (
            "ptflops",
            {
                "convolution": 2 * 8 * 5 * 5 * 4 * 3 * 3 + 2 * 8 * 5 * 5,
                "normalisation": 2 * 2 * 8 * 5 * 5,
                "element_wise": 2 * 2 * 8 * 5 * 5,
            },
        ),
    ],
)
def test_families_are_the_products_of_the_published_formulas(tool, families):
    model = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    assert count_like(profile(model, (2, 4, 5, 5)), tool).families == families


@pytest.mark.parametrize(
    ("model", "shapes", "kind"),
    [(nn.LayerNorm(8), [(8,)], "layer_norm"), (Call(lambda x, y: x @ y), [(3, 5), (5,)], "matmul")],
)
def test_where_fvcore_ends_with_an_error_there_is_no_total_but_the_place(model, shapes, kind):
    inputs = [torch.randn(shape) for shape in shapes]
    column = count_like(profile(model, inputs), "fvcore")
    assert (column.total, column.stops_at) == (None, kind)
    with pytest.raises((AssertionError, IndexError)):
        real_fvcore(model, inputs)


def test_packed_sequences_count_in_thop_as_if_padded_and_stop_ptflops():
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(10, 20)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rnn(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([7, 5, 2])))[0].data

    model, x = Packed(), torch.randn(7, 3, 10)
    traced = profile(model, [x])
    assert count_like(traced, "thop").total == real_thop(copy.deepcopy(model), [x])
    assert count_like(traced, "ptflops").stops_at == "rnn/gru"


@pytest.mark.parametrize("tool", TOOLS)
def test_a_saved_profile_gives_the_same_numbers(tool):
    loaded = load_model(ModelSpec("zoo:mobilenet_v2", resolution=64))
    traced = profile(loaded.model, loaded.inputs)
    assert count_like(Profile.from_json(traced.to_json()), tool) == count_like(traced, tool)


def test_a_tool_without_rules_is_named_with_those_that_have():
    with pytest.raises(CostlabError, match="fvcore, thop, ptflops"):
        count_like(profile(nn.Linear(2, 2), (1, 2)), "calflops")


def test_conventions_need_no_torch():
    code = (
        "import costlab.crosscheck.emulation, sys;"
        " sys.exit(any(m in sys.modules for m in ('torch', 'thop', 'ptflops')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
