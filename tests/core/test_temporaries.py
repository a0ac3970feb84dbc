"""What an operator allocates besides its results, against products worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import costlab
from costlab.core.memory import eager_activation_bytes
from costlab.core.temporaries import temporary_bytes

CONVOLUTIONS = [  # network, input, elements of input, weight and output that are copied
    (nn.Conv2d(16, 24, 3, padding=1), (2, 16, 8, 8), 2 * 16 * 64 + 24 * 16 * 9 + 2 * 24 * 64),
    (nn.Conv2d(16, 24, 3, padding=1, groups=4), (2, 16, 8, 8), 2 * 16 * 64 + 24 * 4 * 9 + 2 * 24 * 64),
    (nn.Conv2d(60, 240, 1, groups=3), (2, 60, 8, 8), 2 * 3 * 128 * 64 + 2 * 3 * 128 * 64),  # tiles of 128
    (nn.Conv2d(12, 24, 3, padding=1), (2, 12, 8, 8), 2 * 16 * 64 + 24 * 12 * 9 + 2 * 24 * 64),  # channels padded to 16
    (nn.Conv2d(16, 24, 1, stride=2), (2, 16, 8, 8), 2 * 16 * 64 + 2 * 24 * 16),  # a 1 x 1 weight lies the same
    (nn.Conv2d(16, 24, 1), (2, 16, 7, 7), 2 * 16 * 49 + 2 * 24 * 49),  # rows of 49 pixels are not aligned
    (nn.Conv2d(16, 24, 1), (2, 16, 8, 8), 0),  # a matrix product as it stands
    (nn.Conv2d(16, 16, 3, groups=16), (2, 16, 8, 8), 0),  # depthwise
    (nn.Conv2d(3, 8, 3, padding=1), (2, 3, 8, 8), 0),  # an image
    (nn.Conv2d(3, 8, 7, padding=3), (2, 3, 8, 8), 2 * 4 * 64 + 8 * 3 * 49 + 2 * 8 * 64),
]


@pytest.mark.parametrize(("network", "shape", "elements"), CONVOLUTIONS)
def test_a_convolution_in_half_precision_copies_to_channels_last(network, shape, elements):
    half = costlab.profile(network.half(), torch.empty(shape, dtype=torch.float16))
    assert temporary_bytes(half.ops[0]) == 2 * elements
    last = torch.empty(shape, dtype=torch.float16).to(memory_format=torch.channels_last)
    assert temporary_bytes(costlab.profile(network, last).ops[0]) == 0
    assert temporary_bytes(costlab.profile(network.float(), shape).ops[0]) == 0


def test_max_pooling_writes_the_positions_of_the_maxima():
    pooled = costlab.profile(nn.MaxPool2d(2), (2, 3, 8, 8))
    outputs = 2 * 3 * 4 * 4
    assert temporary_bytes(pooled.ops[0]) == 8 * outputs
    assert eager_activation_bytes(pooled.trace) == 4 * 4 * outputs + 4 * outputs + 8 * outputs
    assert temporary_bytes(costlab.profile(nn.AvgPool2d(2), (2, 3, 8, 8)).ops[0]) == 0
