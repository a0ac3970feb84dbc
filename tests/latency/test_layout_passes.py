"""Layouts of images: what oneDNN and PyTorch say that they copy is what the model predicts, and what GPUs take."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import costlab
from costlab.latency.devices import find_device
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import WORK, Kernel, lower

X86 = platform.machine() in ("x86_64", "AMD64") and torch.backends.cpu.get_cpu_capability() == "AVX512"
SIDE = 96  # PyTorch leaves smaller images to MKL: up to 20,480 elements
LAYERS = {  # channels in and out, kernel, stride, groups
    "first": (3, 32, 3, 2, 1),
    "dense": (32, 64, 3, 1, 1),
    "pointwise": (32, 64, 1, 1, 1),
    "strided pointwise": (32, 64, 1, 2, 1),
    "depthwise": (32, 32, 3, 1, 32),
    "grouped": (64, 64, 3, 1, 2),
}


def layer(name: str) -> tuple[nn.Conv2d, torch.Tensor]:
    channels, outputs, kernel, stride, groups = LAYERS[name]
    module = nn.Conv2d(channels, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return module.eval(), torch.randn(1, channels, SIDE, SIDE)


def predicted(module: nn.Module, image: torch.Tensor, threads: int, channels_last: bool) -> int:
    """Layout passes of the model on a CPU with so many cores."""
    profile = costlab.profile(module, (image,))
    device = replace(find_device("i9-10940x"), units=threads)
    kernels = lower(profile, profile, ExecutionConfig(device, channels_last=channels_last))
    return sum(kernel.work == WORK["layout"] for kernel in kernels)


@pytest.mark.skipif(not X86, reason="other processors block images in other ways")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_images_are_reordered_where_onednn_reorders_them(name, channels_last, threads, capfd):
    module, image = layer(name)
    form = torch.channels_last if channels_last else torch.contiguous_format
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode(), torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
            output = module.to(memory_format=form)(image.to(memory_format=form))
    finally:
        torch.set_num_threads(before)
    sizes = {"x".join(map(str, tensor.shape)) for tensor in (image, output)}
    lines = [line.split(",") for line in capfd.readouterr().out.splitlines() if ",exec,cpu,reorder," in line]
    reorders = sum(bool(sizes & set(fields)) for fields in lines)
    assert predicted(*layer(name), threads, channels_last) == reorders


@pytest.mark.parametrize("name", ["dense", "depthwise"])
def test_channels_last_saves_its_layout_passes(name):
    module, image = layer(name)
    profile = costlab.profile(module, (image,))
    plain, last = (costlab.predict(profile, "i9-10940x", channels_last=value).seconds for value in (False, True))
    assert last < plain


def test_pooling_is_slower_in_nchw():
    profile = costlab.profile(nn.MaxPool2d(3, 2), (8, 64, 112, 112))
    plain, last = (costlab.predict(profile, "i9-10940x", channels_last=value).seconds for value in (False, True))
    assert last < plain / 2  # measured: 10 to 17 times


@pytest.mark.parametrize(("channels", "cores"), [(16, 1), (112, 7), (1024, 14)])
def test_a_strided_mean_occupies_a_core_for_each_16_channels(channels, cores):
    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))

    profile = costlab.profile(Mean(), (1, channels, 112, 112))
    device = replace(find_device("i9-10940x"), bandwidth=1e15)

    def seconds(units: int) -> float:
        """Without launches, on so many cores of the same speed."""
        scale = units / device.units
        card = replace(device, units=units, vector_flops={"float32": device.vector_flops["float32"] * scale})
        found = costlab.predict(profile, replace(card, efficiency={"eager": {"launch_seconds": 1e-12,
            "start_seconds": 1e-12}}), channels_last=True)  # fmt: skip
        return found.seconds

    assert seconds(cores) == pytest.approx(seconds(14), rel=0.1)


# Copies.


class Rolled(nn.Module):
    """An image moved along some of its dimensions."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.roll(x, (1,) * max(len(self.dims), 1), self.dims or None)


@pytest.mark.parametrize("dims", [(), (2,), (1, 2), (1, 2, 3)])
def test_a_roll_copies_once_for_each_dimension_as_torch_does(dims):
    network, image = Rolled(dims), torch.randn(2, 3, 16, 16)
    with torch.profiler.profile() as recorded:
        network(image)
    rolls = [event for event in recorded.events() if event.name == "aten::roll"]
    copying = [event for event in rolls if not any(child.name == "aten::roll" for child in event.cpu_children)]
    profile = costlab.profile(network, (image,))
    kernels = lower(profile, profile, ExecutionConfig(find_device("h100")))
    assert [kernel.work for kernel in kernels] == [WORK["copy"]] * len(copying)


# Images on a GPU.


def gpu_kernels(module: nn.Module, shape: tuple[int, ...], **way: Any) -> list[Kernel]:
    profile = costlab.profile(module.eval(), shape)
    return lower(profile, profile, ExecutionConfig(find_device("h100"), amp=True, **way))


@pytest.mark.parametrize("side", [28, 21])
def test_a_contiguous_pointwise_convolution_is_a_product_of_each_image(side):
    kernels = gpu_kernels(nn.Conv2d(64, 32, 1, bias=False), (4, 64, side, side))
    (product,) = (kernel for kernel in kernels if kernel.work == WORK["convolution"])
    assert (product.m, product.n, product.k, product.products) == (side * side, 32, 64, 4)
    assert 2 * product.m * product.n * product.k * product.products == product.flops
    assert not any(kernel.work == WORK["layout"] for kernel in kernels)


@pytest.mark.parametrize(
    "options", [{"kernel_size": 3}, {"kernel_size": 1, "stride": 2}, {"kernel_size": 1, "groups": 2}]
)
def test_other_contiguous_convolutions_have_layout_passes(options):
    works = [kernel.work for kernel in gpu_kernels(nn.Conv2d(64, 64, **options), (4, 64, 28, 28))]
    assert works.count(WORK["layout"]) == 2


def seconds(module: nn.Module, shape: tuple[int, ...], kind: str, **way: Any) -> float:
    """Of the operator of a kind, on an H100 in float16."""
    by_op = costlab.predict(costlab.profile(module.eval(), shape), "h100", dtype="float16", **way).by_op
    return next(value for name, value in by_op.items() if name.endswith(kind))


@pytest.mark.parametrize(
    ("inputs", "outputs", "side", "measured"),
    [
        (256, 128, 56, 112e-6),
        (512, 128, 28, 55e-6),
        (1008, 168, 42, 462e-6),
        (2016, 672, 21, 516e-6),
        (192, 64, 35, 78e-6),
    ],
)
def test_pointwise_convolutions_of_any_number_of_pixels_are_near_what_was_measured(inputs, outputs, side, measured):
    """Operators of ResNet-50, NASNet-A and Inception v3 on an H100, batch 128 (docs/latency.md)."""
    found = seconds(nn.Conv2d(inputs, outputs, 1, bias=False), (128, inputs, side, side), "conv2d")
    assert measured / 1.6 < found < measured * 1.6


def test_a_batch_norm_of_small_planes_takes_as_long_as_of_four_times_larger_ones():
    """Measured on an H100, 2,048 channels, batch 128: 163 us at 7 x 7, 164 us at 14 x 14."""
    small, large = (seconds(nn.BatchNorm2d(2048), (128, 2048, side, side), "batch_norm") for side in (7, 14))
    assert 0.7 * large < small < large
    last = seconds(nn.BatchNorm2d(2048), (128, 2048, 7, 7), "batch_norm", channels_last=True)
    assert last < small / 2


def test_groups_of_a_power_of_two_have_kernels_of_their_own_in_channels_last():
    """RegNetX-1.6GF, with groups of 24, took 2.6 times as long as the 800 MF one on an RTX 4090, groups of 16."""

    def each_flop(width: int, **way: bool) -> float:
        channels = 8 * width
        module = nn.Conv2d(channels, channels, 3, padding=1, groups=8, bias=False)
        kernels = gpu_kernels(module, (64, channels, 28, 28), **way)
        (grouped,) = (kernel for kernel in kernels if kernel.work == WORK["grouped_convolution"])
        return grouped.n / width

    assert each_flop(32, channels_last=True) == each_flop(24) == each_flop(32) == 1
    assert each_flop(24, channels_last=True) == 128 / 24


class Sliced(nn.Module):
    """A convolution of all channels of an image, or of half of them."""

    def __init__(self, parts: int, groups: int) -> None:
        super().__init__()
        self.parts, self.conv = parts, nn.Conv2d(64 // parts, 64, 3, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.relu().chunk(self.parts, 1)[0])


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("parts", "groups"), [(1, 1), (2, 1), (2, 32)])
def test_a_slice_of_an_image_is_copied_where_torch_copies_it(parts, groups, channels_last):
    form = torch.channels_last if channels_last else torch.contiguous_format
    network = Sliced(parts, groups).eval().to(memory_format=form)
    image = torch.randn(2, 64, SIDE, SIDE).to(memory_format=form)
    with torch.inference_mode(), torch.profiler.profile() as recorded:
        network(image)
    copies = sum(event.name == "aten::clone" for event in recorded.events())
    profile = costlab.profile(network, (image,))
    for device in ("i9-10940x", "rtx3090"):
        kernels = lower(profile, profile, ExecutionConfig(find_device(device), channels_last=channels_last))
        assert sum(kernel.work == WORK["copy"] for kernel in kernels) == copies == parts - 1


def test_an_image_of_a_batch_of_one_is_sliced_as_one_of_several():
    network, device = Sliced(2, 1).eval(), find_device("rtx3090")
    one, two = (costlab.profile(network, (size, 64, SIDE, SIDE)) for size in (1, 2))
    assert costlab.predict(one, device, batch=2).seconds == pytest.approx(costlab.predict(two, device).seconds)
