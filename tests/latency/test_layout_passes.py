"""Layout passes on a CPU: what oneDNN says that it reorders is what the model predicts."""

from __future__ import annotations

import platform
from dataclasses import replace

import pytest
import torch
from torch import nn

import costlab
from costlab.latency.devices import find_device
from costlab.latency.execution import ExecutionConfig
from costlab.latency.lowering import WORK, lower

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
