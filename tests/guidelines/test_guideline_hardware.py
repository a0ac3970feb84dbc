"""Guidelines X8 to X15, X18 and X19: what they find and skip, and networks that follow their advice, as traced."""

from __future__ import annotations

import html

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import profile_of
from torch import Tensor, nn

import costlab
from costlab.cli import run
from costlab.core.cost import cost_of
from costlab.core.profile import Profile
from costlab.guidelines import Finding
from costlab.guidelines.edits import edited
from costlab.latency._predict import predict_with
from costlab.latency.devices import find_device
from costlab.latency.execution import ExecutionConfig

DEVICES = ("rtx3090", "i9-10940x")


def found(network: Profile, rule: str, device: str | None = None) -> list[Finding]:
    return list(costlab.lint(network, select=[rule], device=device).findings)


def follows(network: Profile, rule: str, wanted: Profile, device: str, timed: bool = True) -> None:
    """The advice makes the network cost what `wanted` costs, in elements and in seconds."""
    findings = found(network, rule, device)
    after = edited(network, [f.fix for f in findings])
    assert after.total.mult_adds == wanted.total.mult_adds
    assert after.total.memory_access == wanted.total.memory_access
    assert after.total.bytes_accessed == wanted.total.bytes_accessed
    if not timed:
        return
    before, then = (costlab.predict(profile, device).seconds for profile in (network, wanted))
    assert sum(f.predicted_seconds_saved for f in findings) == pytest.approx(before - then, rel=0.02, abs=1e-7)


# X8.


@pytest.mark.parametrize(
    ("call", "kinds"),
    [
        (lambda x: x * x.sum().item(), ["item"]),
        (lambda x: x[x > 0], ["index"]),
        (lambda x: x.nonzero(), ["nonzero"]),
        (lambda x: torch.unique(x), ["unique"]),
        (lambda x: x if bool((x > 0).any()) else -x, ["item"]),
        (lambda x: torch.where(x > 0, x, -x), []),
        (lambda x: x[torch.arange(2)], []),
        (lambda x: x.masked_fill(x > 0, 0), []),
    ],
)
def test_x8_finds_what_python_waits_for_with_its_line(call, kinds):
    findings = found(profile_of(lambda x: call(x.exp()), (4, 8)), "X8")
    assert [f.message.split()[0] for f in findings] == kinds
    assert all("test_guideline_hardware.py:" in f.message for f in findings)


def test_a_line_in_a_loop_is_one_finding():
    def loop(x: Tensor) -> Tensor:
        for _ in range(5):
            x = x * x.sum().item()
        return x

    (finding,) = found(profile_of(loop, (4, 8)), "X8")
    assert "5 times" in finding.message


# X9.


class Written(nn.Module):
    """Attention over 8 heads, written out or not, with batch and heads in one dimension or two."""

    def __init__(self, whole: bool, rank: int, scale: bool) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(64, 3 * 64), nn.Linear(64, 64)
        self.whole, self.rank, self.scale = whole, rank, scale

    def forward(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, 8, 8).permute(2, 0, 3, 1, 4).contiguous()
        if self.whole:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            if self.rank == 3:
                q, k, v = (t.flatten(0, 1) for t in (q, k, v))
            scores = q @ k.transpose(-2, -1)
            weights = F.dropout((scores / 8 if self.scale else scores).softmax(-1), 0.1, self.training)
            y = (weights @ v).view(n, 8, length, 8)
        return self.out(y.transpose(1, 2).reshape(n, length, 64))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("rank", [3, 4])
def test_following_x9_costs_what_fused_attention_costs(rank, scale, device):
    written, whole = (profile_of(Written(each, rank, scale), (4, 256, 64)) for each in (False, True))
    (finding,) = found(written, "X9")
    assert finding.excess_memory_access == written.total.memory_access - whole.total.memory_access
    assert finding.excess_launches == 2 + scale
    follows(written, "X9", whole, device, timed=rank == 4)  # of rank 3 the layout of the result differs
    assert found(whole, "X9") == []


def test_fused_attention_is_a_change_of_the_whole_network():
    profile = profile_of(Written(False, 4, True), (8, 1024, 64))
    changes = {each.change for each in costlab.lint(profile, device="rtx3090").what_ifs.changes}
    assert "fuse attention" in changes


@pytest.mark.parametrize(
    "other",
    [
        lambda x: (x @ x.transpose(-2, -1)).softmax(-1),
        lambda x: x.softmax(-1) @ x.transpose(-2, -1),
        lambda x: (x @ x.transpose(-2, -1)).softmax(-2) @ x,
        lambda x: (x @ x.transpose(-2, -1)).relu() @ x,
    ],
    ids=["no values", "no scores", "another dimension", "no softmax"],
)
def test_x9_skips_other_products(other):
    assert found(profile_of(lambda x: other(x.exp()), (2, 16, 8)), "X9") == []


# X11.


class Gated(nn.Module):
    """Two layers with a gate between them, in a wide type or not."""

    def __init__(self, wide: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(256, 256), nn.Linear(256, 256)
        self.wide = wide

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second((x.float().sigmoid() * 2).half() if self.wide else x.sigmoid() * 2)


def test_x11_finds_the_operators_between_two_conversions():
    wide, half = (profile_of(Gated(each).half(), torch.zeros(64, 256, dtype=torch.float16)) for each in (True, False))
    (finding,) = found(wide, "X11")
    assert "float32 in a float16 network: sigmoid, mul" in finding.message
    assert finding.excess_launches == 1
    follows_except_last_cast = edited(wide, [finding.fix])
    assert follows_except_last_cast.total.mult_adds == half.total.mult_adds
    assert follows_except_last_cast.total.bytes_accessed < wide.total.bytes_accessed
    assert found(half, "X11") == []


# X12.


@pytest.mark.parametrize("device", DEVICES)
def test_following_x12_costs_what_a_layer_without_bias_costs(device):
    def network(bias: bool) -> Profile:
        return profile_of(nn.Sequential(nn.Conv2d(3, 32, 3, bias=bias), nn.BatchNorm2d(32)), (4, 3, 32, 32))

    (finding,) = found(network(True), "X12")
    assert finding.excess_memory_access == 32
    follows(network(True), "X12", network(False), device)
    assert found(network(False), "X12") == []


# X10.


def logits(words: int, rows: int = 4096, inner: int = 768) -> Profile:
    layer = nn.Linear(inner, words, bias=False).half()
    return costlab.profile(layer, torch.zeros(rows, inner, dtype=torch.float16))


@pytest.mark.slow
@pytest.mark.parametrize("device", ["rtx3090", "h100", "a100-40gb", "t4"])
def test_logits_of_50257_tokens_would_be_faster_with_50304(device):
    (finding,) = found(logits(50257), "X10", device)
    assert "50,304 would be faster on" in finding.message
    assert finding.advice == "50,304 channels in place of 50,257"
    both = [costlab.predict(logits(words), device).seconds for words in (50257, 50304)]
    assert finding.predicted_seconds_saved == pytest.approx(both[0] - both[1], rel=1e-9)
    assert found(logits(50304), "X10", device) == []
    assert found(logits(50257), "X10") == []


def test_a_tile_for_a_few_columns_is_not_worth_them():
    """Eight columns of 264 take a third column of tiles, far more than their 3 % of the work."""

    (finding,) = found(logits(264, 8192, 1024), "X10", "rtx3090")
    both = [costlab.predict(logits(width, 8192, 1024), "rtx3090").seconds for width in (264, 256)]
    assert finding.advice == "256 channels in place of 264"
    assert finding.predicted_seconds_saved == pytest.approx(both[0] - both[1], rel=1e-9)
    assert both[0] - both[1] > 2 * (8 / 264) * both[0]


@pytest.mark.parametrize("width", [16, 64, 128, 1024])
def test_widths_that_fill_tiles_are_left_alone(width):
    assert found(logits(width, 1024, 1024), "X10", "rtx3090") == []


@pytest.mark.parametrize("device", ["rtx3090", "a100-40gb", "h100"])
def test_a_row_of_tiles_for_one_row_is_not_worth_it(device):
    def network(rows: int) -> Profile:
        layers = nn.Sequential(*(nn.Linear(4096, 4096) for _ in range(2))).half()
        return costlab.profile(layers, torch.zeros(rows, 4096, dtype=torch.float16))

    findings = found(network(2049), "X10", device)
    assert [f.advice for f in findings] == ["2,048 rows in place of 2,049: a smaller batch, or fewer positions"] * 2
    both = [costlab.predict(network(rows), device).seconds for rows in (2049, 2048)]
    assert sum(f.predicted_seconds_saved for f in findings) == pytest.approx(both[0] - both[1], rel=0.1)
    free = int(findings[0].message.split("up to ")[1].split(" ")[0].replace(",", ""))
    assert costlab.predict(network(free), device).seconds <= both[0] * 1.005
    assert found(network(2048), "X10", device) == []


@pytest.mark.parametrize(("width", "kernel"), [(80, 96), (72, 96), (16, 32), (64, None), (128, None), (300, None)])
def test_heads_are_padded_to_the_next_kernel(width, kernel):
    def attention(query: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, query, query)

    def heads(dtype: torch.dtype, device: str) -> list[str]:
        profile = costlab.profile(Call(attention), torch.zeros(8, 16, 512, width, dtype=dtype))
        return [f.message for f in found(profile, "X10", device)]

    wasted = [f"heads of {width} run in a kernel for {kernel}: {100 * (1 - width / kernel):.1f}%"] if kernel else []
    assert [message.partition(" of their")[0] for message in heads(torch.float16, "h100")] == wasted
    assert heads(torch.float32, "h100") == heads(torch.float16, "v100") == []  # no kernel of FlashAttention


@pytest.mark.parametrize(
    ("shapes", "advice", "others"),
    [
        (((16, 80), (16, 80)), "10 heads of 128 in place of 16 of 80", ((10, 128), (10, 128))),
        (((16, 80), (4, 80)), "16 heads of 64 in place of 16 of 80", ((16, 64), (4, 64))),
        (((16, 80), (8, 80)), "10 heads of 128 in place of 16 of 80", ((10, 128), (5, 128))),
        (((13, 80), (13, 80)), "13 heads of 64 in place of 13 of 80", ((13, 64), (13, 64))),
    ],
)
def test_other_heads_save_the_difference_of_two_predictions(shapes, advice, others):
    def attention(query: Tensor, key: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, key, enable_gqa=query.shape[1] != key.shape[1])

    def network(heads: tuple[tuple[int, int], ...]) -> Profile:
        tensors = [torch.zeros(8, count, 512, width, dtype=torch.float16) for count, width in heads]
        return costlab.profile(Call(attention), tuple(tensors))

    (finding,) = found(network(shapes), "X10", "h100")
    before, after = (costlab.predict(network(heads), "h100").seconds for heads in (shapes, others))
    assert finding.advice == advice
    assert finding.predicted_seconds_saved == pytest.approx(before - after, abs=1e-12)


def test_heads_with_values_of_another_width_are_not_priced():
    def attention(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x[..., :40])

    profile = costlab.profile(Call(attention), torch.zeros(8, 16, 512, 80, dtype=torch.float16))
    (finding,) = found(profile, "X10", "h100")
    assert (finding.predicted_seconds_saved, finding.fix) == (None, None)
    assert finding.unpriced == "its time with other heads is not known"


class Call(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.function(*tensors)


# X18 and X19.


def test_x18_takes_the_place_of_x2_on_a_phone():
    profile = costlab.profile(nn.Sequential(nn.Conv2d(3, 20, 3), nn.Conv2d(20, 42, 1, groups=2)), (1, 3, 16, 16))
    messages = [f.message for f in found(profile, "X18", "raspberry-pi-4")]
    assert messages == [
        "20 output channels are computed as 24, 8 at a time in float32: 16.7% of the work is padding",
        "21 output channels in each of 2 groups are computed as 24, 8 at a time in float32:"
        " 12.5% of the work is padding",
    ]
    assert found(profile, "X2", "raspberry-pi-4") == []
    assert found(profile, "X2", "rtx3090")
    assert found(profile, "X18", "rtx3090") == found(profile, "X18", "graviton3") == found(profile, "X18") == []


@pytest.mark.parametrize("device", ["raspberry-pi-4", "snapdragon-8-gen-3"])
@pytest.mark.parametrize(
    ("layer", "fewer", "more"),
    [
        (nn.Conv2d(16, 20, 3), nn.Conv2d(16, 16, 3), None),
        (nn.Conv2d(16, 6, 1), nn.Conv2d(16, 8, 1), None),
        (nn.Conv2d(16, 42, 3, groups=2), nn.Conv2d(16, 32, 3, groups=2), None),
        (nn.ConvTranspose2d(16, 20, 3), nn.ConvTranspose2d(16, 16, 3), None),
        (nn.Linear(30, 100), nn.Linear(30, 96), nn.Linear(30, 104)),
    ],
)
def test_the_channels_that_x18_names_first_save_the_difference_of_two_predictions(layer, fewer, more, device):
    alone, inside = (costlab.profile(net, (1, 16, 30, 30)) for net in (layer, nn.Sequential(layer, nn.ReLU())))
    (finding,) = found(alone, "X18", device)
    instead = costlab.profile(more if isinstance(layer, nn.Linear) else fewer, (1, 16, 30, 30))  # as many classes
    seconds = [costlab.predict(profile, device).seconds for profile in (alone, instead)]
    assert finding.predicted_seconds_saved == pytest.approx(seconds[0] - seconds[1], abs=1e-12)
    (finding,) = found(inside, "X18", device)
    after = edited(inside, [finding.fix])
    config = ExecutionConfig(find_device(device))
    saved = predict_with(inside, config).seconds - predict_with(inside, config, after).seconds
    assert finding.predicted_seconds_saved == pytest.approx(saved, abs=1e-12)
    assert cost_of(after.ops[0]) == cost_of(costlab.profile(fewer, (1, 16, 30, 30)).ops[0])


def test_g1_does_not_ask_for_another_number_of_classes():
    profile = costlab.profile(
        nn.Sequential(nn.ReLU(), nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 100)), (64, 512)
    )
    inner, outer = sorted(found(profile, "G1", "i9-10940x"), key=lambda f: f.module)
    assert (inner.advice, outer.advice) == ("1024 to 1024 channels (the same mult-adds)", None)
    assert (outer.predicted_seconds_saved, outer.fix, outer.severity) == (None, None, "note")
    assert outer.unpriced == "its channels are the outputs of the network"
    assert [f.advice for f in found(profile, "G1")].count(None) == 0
    (phone,) = [f for f in found(profile, "X18", "raspberry-pi-4") if f.module == "3"]
    assert phone.advice == "104 output channels in place of 100"


@pytest.mark.parametrize("norm", [nn.GroupNorm(4, 16), nn.InstanceNorm2d(16)])
def test_a_norm_that_a_batch_norm_would_fold_costs_what_it_takes(norm):
    def layers(*between: nn.Module) -> Profile:
        return costlab.profile(nn.Sequential(nn.Conv2d(3, 16, 3), *between, nn.ReLU()), (1, 3, 32, 32))

    (finding,) = found(layers(norm), "X19", "tensor-g4")
    folded = layers(nn.BatchNorm2d(16)).fused("bn")
    seconds = [costlab.predict(profile, "tensor-g4").seconds for profile in (layers(norm), folded)]
    assert finding.advice.startswith("a batch norm, which is folded into the convolution before it")
    assert finding.predicted_seconds_saved == pytest.approx(seconds[0] - seconds[1], abs=1e-12)


class ReadTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x + self.norm(x)


@pytest.mark.parametrize("network", [ReadTwice(), nn.Sequential(nn.ReLU(), nn.GroupNorm(1, 3))])
def test_what_runs_in_portable_kernels_is_not_priced_and_says_why(network, tmp_path, capsys):
    profile = costlab.profile(network, (1, 3, 32, 32))
    (finding,) = found(profile, "X19", "tensor-g4")
    why = "no times of ExecuTorch's portable kernels are known"
    assert (finding.predicted_seconds_saved, finding.unpriced) == (None, why)
    path = tmp_path / "network.json"
    path.write_text(profile.to_json())
    for form in ("text", "markdown", "github", "sarif", "junit"):
        run(["lint", str(path), "--isolated", "--select", "X19", "--device", "tensor-g4", "--format", form])
        assert f"not priced: {why}" in " ".join(html.unescape(capsys.readouterr().out).split()), form


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: F.layer_norm(x, x.shape[-1:]), "has no layer_norm"),
        (lambda x: F.avg_pool2d(x, 3, 1, 1), "takes avg_pool2d with"),
        (lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), None),
        (lambda x: F.avg_pool2d(x, 2), None),
        (lambda x: F.max_pool2d(x, 1, 2), "takes max_pool2d with"),
        (lambda x: F.max_pool2d(x, 2), None),
        (lambda x: x.mean(1), "takes mean over"),
        (lambda x: x.mean((-1, -2)), None),
        (lambda x: x.mean((2, 3), keepdim=True), None),
        (lambda x: x.softmax(1), "takes softmax over"),
        (lambda x: x.softmax(-1), None),
        (lambda x: x**3, "takes pow with"),
        (lambda x: x**2, None),
        (lambda x: F.pad(x, (1, 1)), None),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "takes pad with"),
        (lambda x: F.adaptive_avg_pool2d(x, 1), None),
        (lambda x: F.adaptive_avg_pool2d(x, 3), "takes adaptive_avg_pool2d"),
        (lambda x: F.interpolate(x, scale_factor=2), "has no upsample_nearest2d"),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), None),
        (lambda x: F.silu(x), None),
        (lambda x: F.hardswish(x), None),
    ],
)
def test_x19_knows_what_the_backend_takes(call, words):
    messages = [f.message for f in found(profile_of(lambda x: call(x.exp()), (1, 4, 8, 8)), "X19", "raspberry-pi-4")]
    assert [message.startswith(f"ExecuTorch's XNNPACK backend {words}") for message in messages] == [True] * bool(words)


def test_x19_folds_batch_norms_and_asks_for_a_phone():
    profile = costlab.profile(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.LayerNorm(6)), (1, 3, 8, 8))
    (finding,) = found(profile, "X19", "raspberry-pi-4")
    assert finding.module == "2"
    assert found(profile, "X19", "rtx3090") == found(profile, "X19") == []


# X13 and X14.


def test_x13_saves_what_channels_last_saves():
    profile = costlab.profile(*costlab.load("torchvision:resnet18"))
    for device in DEVICES:
        now, then = (costlab.predict(profile, device, channels_last=last).seconds for last in (False, True))
        findings = found(profile, "X13", device)
        assert bool(findings) == (now - then >= 0.02 * now)
        assert [f.predicted_seconds_saved for f in findings] == [now - then] * len(findings)


def test_x14_saves_the_time_that_a_gpu_waits():
    profile = costlab.profile(nn.Sequential(*(nn.Linear(16, 16) for _ in range(64))), (1, 16))
    (finding,) = found(profile, "X14", "rtx3090")
    assert finding.predicted_seconds_saved == costlab.predict(profile, "rtx3090").overhead_seconds
    assert finding.excess_launches == 63
    assert found(profile, "X14", "i9-10940x") == []
    assert found(profile, "X14") == []


# X15.


class Split(nn.Module):
    """Query, key and value of one tensor, in three layers or one."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.each = nn.ModuleList(nn.Linear(64, 192 // layers) for _ in range(layers))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.first(x)
        return [layer(x) for layer in self.each]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layers", [2, 3])
def test_following_x15_costs_what_one_layer_costs(layers, device):
    split, whole = (profile_of(Split(each), (4, 128, 64)) for each in (layers, 1))
    (finding,) = found(split, "X15")
    assert finding.excess_memory_access == split.total.memory_access - whole.total.memory_access
    assert finding.excess_launches == layers - 1
    follows(split, "X15", whole, device)
    assert found(whole, "X15") == []


def test_x15_skips_a_layer_that_is_called_twice():
    layer = nn.Linear(8, 8)
    assert found(profile_of(lambda x: layer(x.exp()) + layer(x.exp()), (2, 8)), "X15") == []
