"""Mult-adds and parameters that torchvision publishes with its weights, reproduced to every printed digit."""

from __future__ import annotations

import pytest
from helpers.published_weights import build, figures, inputs, published
from helpers.second_stages import SECOND_STAGE

from costlab.tracing._profile import profile

pytestmark = pytest.mark.slow

ENTRIES = published()

SOME_DETECTIONS = "KeypointRCNN_ResNet50_FPN_Weights.COCO_V1"


def test_torchvision_publishes_166_figures():
    assert len(ENTRIES) == 166


@pytest.mark.parametrize(("name", "weights"), ENTRIES, ids=[str(w) for _, w in ENTRIES])
def test_published_figures_are_reproduced(name, weights):
    billions, params = figures(weights)
    result = profile(build(name, weights), inputs(name, weights))
    assert result.params == params
    assert not result.uncounted
    counted = result.mult_adds
    if name in SECOND_STAGE:
        assert result.estimated
        second, _ = SECOND_STAGE[name]
        counted -= sum(r.mult_adds for path, r in result.by_module().items() if path.startswith(second))
    if str(weights) == SOME_DETECTIONS:
        assert counted / 1e9 < billions < result.mult_adds / 1e9
    else:
        assert f"{counted / 1e9:.3f}" == f"{billions:.3f}"
