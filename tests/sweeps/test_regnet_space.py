"""The RegNet space of docs/examples against the networks that its authors published."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from costlab.models import ModelSpec, profile_of
from costlab.sweeps.space import space_of

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
sys.path.insert(0, str(EXAMPLES))

import regnet_space  # noqa: E402

NAMES = ("depth", "w0", "wa", "wm", "group_width")
PUBLISHED = {  # of RegNetX and RegNetY
    "regnet_x_400mf": (22, 24, 24.48, 2.54, 16),
    "regnet_x_800mf": (16, 56, 35.73, 2.28, 16),
    "regnet_x_1_6gf": (18, 80, 34.01, 2.25, 24),
    "regnet_x_3_2gf": (25, 88, 26.31, 2.25, 48),
    "regnet_x_8gf": (23, 80, 49.56, 2.88, 120),
    "regnet_x_16gf": (22, 216, 55.59, 2.1, 128),
    "regnet_x_32gf": (23, 320, 69.86, 2.0, 168),
    "regnet_y_400mf": (16, 48, 27.89, 2.09, 8),
    "regnet_y_800mf": (14, 56, 38.84, 2.4, 16),
    "regnet_y_1_6gf": (27, 48, 20.71, 2.65, 24),
    "regnet_y_3_2gf": (21, 80, 42.63, 2.66, 24),
    "regnet_y_8gf": (17, 192, 76.82, 2.19, 56),
    "regnet_y_16gf": (18, 200, 106.23, 2.48, 112),
    "regnet_y_32gf": (20, 232, 115.89, 2.53, 232),
}
# torchvision rounds a width up to a multiple of the group width where the paper's networks have it rounded down.
ROUNDED_UP = {"regnet_x_400mf": (3,), "regnet_y_800mf": (1, 3), "regnet_y_8gf": (0,)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_quantised_widths_are_those_of_torchvision(name, torchvision):
    depth, w0, wa, wm, group_width = PUBLISHED[name]
    params = torchvision.models.regnet.BlockParams
    theirs = params.from_init_params(depth=depth, w_0=w0, w_a=wa, w_m=wm, group_width=group_width)
    ours = regnet_space.stages(*PUBLISHED[name])
    assert [stage[0] for stage in ours] == theirs.depths
    assert [stage[2] for stage in ours] == theirs.group_widths
    for number, (stage, width) in enumerate(zip(ours, theirs.widths, strict=True)):
        assert width - stage[1] == (group_width if number in ROUNDED_UP.get(name, ()) else 0)


@pytest.mark.parametrize("name", ["regnetx_002", "regnetx_004", "regnetx_064", "regnetx_320"])
def test_the_factory_builds_the_published_network(name, torchvision):
    from timm.models.regnet import model_cfgs

    given = model_cfgs[name]
    arguments = dict(zip(NAMES, (given.depth, given.w0, given.wa, given.wm, given.group_size), strict=True))
    ours = profile_of(ModelSpec(f"{EXAMPLES / 'regnet_space.py'}:regnet", arguments))
    theirs = profile_of(ModelSpec(f"timm:{name}"))
    for key in ("mult_adds", "params", "activations", "memory_access"):
        assert getattr(ours.total, key) == getattr(theirs.total, key)


def test_another_count_of_stages_is_refused():
    with pytest.raises(ValueError, match="stages, not 4"):
        regnet_space.regnet(12, 8, 100.0, 1.5, 8)


def test_of_the_sample_five_hundred_networks_have_four_stages():
    space = space_of(EXAMPLES / "regnet.toml")
    counts = [len(regnet_space.stages(*map(point.get, NAMES))) for point in space]
    assert counts.count(regnet_space.STAGES) == 500
