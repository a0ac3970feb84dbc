"""Plots show the values of the profile, with consistent colours and labels that do not overlap."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys

import matplotlib
import networkx as nx
import numpy as np
import pytest
from helpers.examples import HOSTILE, examples
from helpers.figures import visible_boxes
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch, Rectangle, StepPatch
from matplotlib.text import Text
from torch import nn

import costlab
from costlab import plots
from costlab.cli import run
from costlab.cli.plot import KINDS, OF_MANY
from costlab.core.cost import FAMILIES
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.formatting.colours import GROUPS, ink_on
from costlab.plots._breakdown import COSTS, cost_by_kind
from costlab.plots._graph import INPUT, OUTPUT, boxes_of, edges_of
from costlab.plots._guidelines import layer_points
from costlab.plots._stages import stages_of
from costlab.plots._treemap import Box, squarified, tree_of
from costlab.plots.layered_layout import layered_layout
from costlab.plots.module_runs import module_runs
from costlab.plots.style import LONGEST, shortened
from costlab.tracing._profile import profile

matplotlib.use("agg")

DRAWN = {"mobilenet_v2": "zoo:mobilenet_v2", "shufflenet_v1": "zoo:shufflenet_v1", "swin_b": "torchvision:swin_b"}


@pytest.fixture(scope="module")
def networks() -> dict[str, Profile]:
    """A common one, one in groups, and one of more than a thousand operators."""
    found = {}
    for name, target in DRAWN.items():
        model, inputs = costlab.load(target)
        found[name] = profile(model, inputs, name=name, provider=target.partition(":")[0])
    assert len(found["swin_b"].ops) > 1000
    return found


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


OF_ONE = [kind for kind in KINDS if kind not in OF_MANY]


def draw(kind: str, of: Profile, **options):
    if kind == "roofline":
        options["device"] = "rtx3090"
    return getattr(plots, kind)(of, **options)


# Colours.

# What readers without red, green or blue cones see of linear RGB (Machado, Oliveira and Fernandes, 2009, severity 1.0).
SEEN = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.95047, 1.0, 1.08883])  # D65
DISTINCT = 14.0  # distance in CIELAB; 2.3 is just noticeable


def linear(colour: str | tuple[float, float, float]) -> np.ndarray:
    """Linear RGB of a colour of matplotlib."""
    parts = np.array(to_rgb(colour))
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB."""
    ratios = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    x, y, z = np.where(ratios > 0.008856, np.cbrt(ratios), 7.787 * ratios + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eyes", SEEN)
def test_colours_of_groups_are_told_apart_by_everybody(eyes):
    seen = {group.name: lab(np.array(SEEN[eyes]) @ linear(group.colour)) for group in GROUPS}
    near = {(a, b): np.linalg.norm(seen[a] - seen[b]) for a, b in itertools.combinations(seen, 2)}
    assert {pair: distance for pair, distance in near.items() if distance < DISTINCT} == {}


def test_the_simulation_finds_colours_that_are_confused():
    """Red and green of equal lightness are far apart with all cones, and near without green ones."""
    pair = "#C05020", "#707000"
    apart = {
        eyes: np.linalg.norm(np.subtract(*(lab(np.array(matrix) @ linear(colour)) for colour in pair)))
        for eyes, matrix in SEEN.items()
    }
    assert apart["all cones"] > 3 * apart["no green"]


@pytest.mark.parametrize("kind", OF_ONE)
def test_words_are_dark_on_white_whatever_the_users_style(kind):
    """Notebooks on a dark page often set one."""
    of = profile(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3, groups=2)), (1, 3, 16, 16))
    with pyplot.style.context("dark_background"):
        ax = draw(kind, of)
        assert to_rgb(ax.figure.get_facecolor()) == (1, 1, 1)
        words = [text for text in ax.figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
        boxed = kind in ("breakdown", "treemap", "graph")  # words on dark colours are white
        for text in words:
            colour = to_rgb(text.get_color())
            assert contrast(colour) >= 4.5 or (boxed and colour == (1, 1, 1)), text.get_text()


def contrast(colour: tuple[float, float, float]) -> float:
    """With white (WCAG 2.2)."""
    return 1.05 / (float(TO_XYZ[1] @ linear(colour)) + 0.05)


# Labels.


class Tokens(nn.Module):
    """Patches of an image in one dimension, and a pooling of the root between two layers."""

    def __init__(self, side: int, extra: int):
        super().__init__()
        self.side, self.extra = side, extra
        self.patch, self.first, self.second = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = nn.functional.pad(tokens, (0, 0, self.extra, 0)) + 1
        return self.second(self.first(tokens).relu()).relu()


@pytest.mark.parametrize(("extra", "words"), [(0, "28x28"), (1, "785 tokens")])
def test_a_stage_is_labelled_by_height_and_width_or_by_tokens(extra, words):
    of = profile(Tokens(28, extra), (1, 3, 112, 112))
    found = [stage.resolution for stage in stages_of(of, module_runs(of, 32))]
    assert list(dict.fromkeys(found)) == (["28x28"] if extra == 0 else ["28x28", words])


def test_tokens_of_a_text_have_no_height():
    of = profile(nn.Linear(8, 8), (1, 16, 8))
    assert [stage.resolution for stage in stages_of(of, module_runs(of, 32))] == ["16 tokens"]


@pytest.mark.parametrize("kind", ["stages", "memory"])
def test_a_module_below_the_axis_is_named_once(kind):
    of = profile(Tokens(28, 1), (1, 3, 112, 112))
    assert [run.path for run in module_runs(of, 32)].count("") > 1
    ax = draw(kind, of)
    names = [text.get_text() for text in ax.texts if text.get_rotation() == 90 and text.get_ha() == "center"]
    assert "(root)" in names
    assert len(names) == len(set(names))
    assert ax.get_xlabel() == "modules in execution order"


def test_depthwise_and_dense_convolutions_have_labels_of_their_own():
    of = profile(nn.Sequential(nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 3, groups=32)), (1, 3, 16, 16))
    words = {text.get_text().rpartition("\n")[0] for text in plots.breakdown(of).texts}
    assert words >= {"conv2d", "depthwise\nconv2d"}


# With a device.


def test_areas_of_a_treemap_sum_to_the_predicted_time():
    of = profile(Tokens(28, 1), (1, 3, 112, 112))
    prediction = costlab.predict(of, "rtx3090")
    tree = tree_of(of, prediction=prediction)
    assert tree.amount == pytest.approx(prediction.seconds)
    in_patch = sum(prediction.by_op.get(op.name, 0) for op in of.ops if op.module == "patch")
    assert tree.children["patch"].amount == pytest.approx(in_patch)
    assert "predicted time" in " ".join(text.get_text() for text in plots.treemap(of, device="rtx3090").texts)
    with pytest.raises(CostlabError, match="leave out cost='params' or the device"):
        plots.treemap(of, cost="params", device="rtx3090")


def test_bars_of_stages_below_the_axis_sum_to_the_operators_share_of_the_predicted_time():
    of = profile(Tokens(28, 1), (1, 3, 112, 112))
    prediction = costlab.predict(of, "rtx3090")
    ax = plots.stages(of, device="rtx3090")
    drawn = sum(bar.get_height() for bar in ax.patches if isinstance(bar, Rectangle) and bar.get_height() < 0)
    assert -drawn == pytest.approx(sum(prediction.by_op.values()) / prediction.seconds)
    assert "predicted time " in [text.get_text() for text in ax.texts]


# All of them.


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("kind", OF_ONE)
@pytest.mark.slow
def test_words_never_touch_and_never_leave_the_picture(kind, name, networks):
    ax = draw(kind, networks[name])
    boxes = visible_boxes(ax)
    assert boxes
    page = ax.figure.bbox
    for i, (text, box) in enumerate(boxes):
        assert page.padded(1).containsx(box.x0), text
        assert page.padded(1).containsx(box.x1), text
        assert page.padded(1).containsy(box.y0), text
        assert page.padded(1).containsy(box.y1), text
        for other, place in boxes[:i]:
            assert not box.padded(-1).overlaps(place.padded(-1)), (text, other)


@pytest.mark.parametrize("name", examples())
@pytest.mark.parametrize("kind", OF_ONE)
@pytest.mark.slow
def test_every_profile_can_be_drawn(kind, name):
    if (kind, name) == ("graph", "nothing"):
        with pytest.raises(CostlabError, match="no operators"):
            draw(kind, examples()[name])
        return
    ax = draw(kind, examples()[name])
    ax.figure.savefig(io.BytesIO(), format="svg")
    assert all(line.isprintable() for text in ax.texts for line in text.get_text().split("\n"))


@pytest.mark.parametrize("kind", OF_ONE)
def test_axes_that_are_given_are_drawn_on(kind):
    pyplot.close("all")
    figure, (left, right) = pyplot.subplots(1, 2)
    assert draw(kind, examples()["tiny"], ax=right) is right
    assert right.get_title(loc="left").startswith("tiny (zoo")
    assert not left.get_title(loc="left")
    assert pyplot.get_fignums() == [figure.number]


@pytest.mark.parametrize("kind", OF_ONE)
def test_a_figure_of_our_own_is_one_that_a_notebook_shows(kind):
    ax = draw(kind, examples()["tiny"])
    assert pyplot.gcf() is ax.figure


def test_names_are_not_formulas():
    ax = draw("memory", examples()["hostile"])
    assert not any(text.get_parse_math() for text in [*ax.texts, ax._left_title])


@pytest.mark.slow
def test_drawing_a_saved_profile_takes_no_torch_and_a_plot_module_no_matplotlib(tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(examples()["tiny"].to_json())
    code = f"""
import sys
from pathlib import Path
from costlab import plots
from costlab.cli import run
assert "matplotlib" not in sys.modules
for kind in {[str(kind) for kind in OF_ONE]}:
    device = ["--device", "rtx3090"] if kind in ("roofline", "breakdown") else []
    assert run(["plot", kind, {str(path)!r}, *device, "-o", str(Path({str(tmp_path)!r}) / (kind + ".png"))]) == 0
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all((tmp_path / f"{kind}.png").read_bytes().startswith(b"\x89PNG") for kind in OF_ONE)


# Colours.


def test_every_family_has_one_colour():
    families = [family for group in GROUPS for family in group.families]
    assert sorted(families) == sorted(FAMILIES)
    assert len({group.colour for group in GROUPS}) == len(GROUPS)


def test_words_stand_out_from_every_colour():
    def luminance(colour: str) -> float:
        rgb = matplotlib.colors.to_rgb(colour)
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for group in GROUPS:
        light, dark = sorted((luminance(group.colour), luminance(ink_on(group.colour))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, group.name


@pytest.mark.slow
def test_the_colours_are_the_same_in_every_plot(networks):
    palette = {matplotlib.colors.to_rgba(group.colour): group.name for group in GROUPS}
    for kind in OF_ONE:
        for legend in draw(kind, networks["swin_b"]).figure.legends:
            for patch, text in zip(legend.get_patches(), legend.get_texts(), strict=True):
                assert palette[patch.get_facecolor()] == text.get_text()


# Breakdown.


def test_the_shares_of_a_bar_add_up_to_the_total(networks):
    for network in (*networks.values(), *examples().values()):
        for cost in COSTS:
            parts = sum(cost_by_kind(network, cost).values())
            assert parts == getattr(network.total, cost), (network.name, cost)


def test_bars_are_as_long_as_shares(networks):
    network = networks["mobilenet_v2"]
    bars = [patch for patch in draw("breakdown", network).patches if isinstance(patch, Rectangle)]
    depthwise = next(b for b in bars if b.get_y() > -0.5 and b.get_x() > 0)
    counted = [  # 17 blocks: 9 weights at every output position of every channel
        op.output.numel * 9 for op in network.ops if op.kind == "conv2d" and op.attrs["groups"] == op.output.shape[1]
    ]
    assert len(counted) == 17
    assert depthwise.get_width() == pytest.approx(sum(counted) / network.mult_adds)


# Stages.


def test_stages_of_mobilenet_v2_halve_the_resolution(networks):
    network = networks["mobilenet_v2"]
    assert [s.resolution for s in stages_of(network, module_runs(network, 32))] == [
        f"{n}x{n}" for n in (112, 56, 28, 14, 7)
    ]


def test_stages_look_through_windows(networks):
    network = networks["swin_b"]
    assert [s.resolution for s in stages_of(network, module_runs(network, 40))] == [f"{n}x{n}" for n in (56, 28, 14, 7)]


def test_stages_look_past_squeeze_and_excitation():
    model, inputs = costlab.load("zoo:mobilenet_v3_large")
    network = profile(model, inputs)
    found = [s.resolution for s in stages_of(network, module_runs(network, 32))]
    assert found == [f"{n}x{n}" for n in (112, 56, 28, 14, 7)]


def test_runs_have_every_operator_once_in_order(networks):
    for network in networks.values():
        runs = module_runs(network, 32)
        assert [p for run in runs for p in run.positions] == [p for p, op in enumerate(network.ops) if not op.free]


# Memory.


def test_live_activations_of_a_small_network_are_those_counted_by_hand():
    (curve, *_) = [patch for patch in draw("memory", examples()["tiny"]).patches if isinstance(patch, StepPatch)]
    image, features, pooled, logits = 2 * 3 * 16 * 16, 2 * 8 * 16 * 16, 2 * 8, 2 * 5  # float32
    by_operator = [image + features, 2 * features, features + pooled, pooled, pooled + logits]
    assert list(curve.get_data().values) == [4 * elements for elements in by_operator]


def test_the_column_of_the_peak_is_as_high_as_the_peak(networks):
    network = networks["shufflenet_v1"]
    ax = draw("memory", network)
    column = [patch.get_height() for patch in ax.patches if isinstance(patch, Rectangle)]
    assert sum(column) == network.total.peak_activation_bytes
    (curve, *_) = [patch for patch in ax.patches if isinstance(patch, StepPatch)]
    assert max(curve.get_data().values) == network.total.peak_activation_bytes


# Treemap.


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=30), st.floats(10, 1000), st.floats(10, 1000))
def test_boxes_fill_the_room_in_proportion_without_overlap(amounts, width, height):
    amounts.sort(reverse=True)
    boxes = squarified(amounts, Box(0, 0, width, height))
    for amount, box in zip(amounts, boxes, strict=True):
        assert box.width * box.height == pytest.approx(width * height * amount / sum(amounts), rel=1e-6)
        assert -1e-6 <= box.x <= box.x + box.width <= width + 1e-6
        assert -1e-6 <= box.y <= box.y + box.height <= height + 1e-6
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            wide = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
            high = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
            assert min(wide, high) <= 1e-6


@pytest.mark.parametrize("cost", ["mult_adds", "memory_access", "params"])
def test_branches_sum_to_their_children_and_the_tree_to_the_total(networks, cost):
    def check(branch):
        if branch.children:
            assert branch.amount == sum(child.amount for child in branch.children.values())
        for child in branch.children.values():
            check(child)

    for network in (*networks.values(), examples()["wasteful"]):
        tree = tree_of(network, cost)
        check(tree)
        assert tree.amount == getattr(network.total, cost)


# Guidelines.


def test_points_have_the_excess_that_the_formulas_give_by_hand():
    channels = [
        nn.Conv2d(3, 8, 1),
        nn.Conv2d(8, 32, 1),
        nn.Conv2d(32, 32, 3, padding=1, groups=4),
        nn.Conv2d(32, 18, 1),
    ]
    by_width, by_groups = layer_points(profile(nn.Sequential(*channels), (1, 3, 16, 16)))
    positions = 16 * 16
    assert {p.name: (p.x, p.excess) for p in by_width} == {
        "1": (4, positions * (8 + 32 - 2 * 16)),
        "2": (1, 0),
        "3": (18 / 32, positions * (32 + 18 - 2 * 24)),
    }
    assert {p.name: (p.x, p.excess) for p in by_groups} == {"2": (4, positions * (32 - 32 // 4))}
    assert all((p.ratio == 1) == (p.excess == 0) for p in (*by_width, *by_groups))


def test_no_layer_lies_above_the_curve_of_layers_without_weights(networks):
    for point in layer_points(networks["mobilenet_v2"].fused("bn"))[0]:
        assert point.ratio <= (1 + point.x) / (2 * point.x**0.5) + 1e-3


def test_layers_alike_in_repeated_blocks_are_one_point(networks):
    points, _ = layer_points(networks["mobilenet_v2"].fused("bn"))
    named = {point.name: point.excess for point in points}
    (name,) = [name for name in named if name.startswith("features.{8-10}.conv.2")]
    assert name.endswith(" x3")
    found = costlab.lint(networks["mobilenet_v2"], select=("G1",)).findings
    assert named[name] == 3 * next(f.excess_memory_access for f in found if f.module == "features.8.conv.2")
    assert [point.excess for point in points] == sorted(named.values(), reverse=True)


def test_groups_have_a_panel_where_there_are_groups(networks):
    assert len(draw("guidelines", networks["mobilenet_v2"]).child_axes) == 1
    widths, groups = draw("guidelines", networks["shufflenet_v1"]).child_axes
    (points,) = [c for c in groups.collections if isinstance(c, PathCollection)]
    assert set(points.get_offsets()[:, 0]) == {3}
    assert "6.9%" in groups.get_title(loc="left")
    assert widths.get_title(loc="left").startswith("G1")


# Graph.


def test_a_residual_block_is_a_chain_with_a_way_around_it(networks):
    network = networks["mobilenet_v2"]
    parts = boxes_of(network, "features.3")
    names = [part.name for part in parts]
    assert names == [
        INPUT,
        *("conv.0.0 conv2d", "conv.0.1 batch_norm", "conv.0.2 relu6"),
        *("conv.1.0 conv2d", "conv.1.1 batch_norm", "conv.1.2 relu6", "conv.2 conv2d", "conv.3 batch_norm"),
        "add",
        OUTPUT,
    ]
    chain = {(i, i + 1) for i in range(len(parts) - 1)}
    assert edges_of(network, parts) == chain | {(0, names.index("add"))}


def test_boxes_are_joined_as_the_operators_in_them_are(networks):
    for network in networks.values():
        parts = boxes_of(network, "")
        box = {network.ops[p].name: i for i, part in enumerate(parts) for p in part.positions}
        graph = nx.DiGraph(network.graph)
        for op in network.ops:
            if op.free:
                graph.add_edges_from((a, b) for a in graph.pred[op.name] for b in graph.succ[op.name])
                graph.remove_node(op.name)
        wanted = {(box[a], box[b]) for a, b in graph.edges if box[a] != box[b]}
        inner = {(a, b) for a, b in edges_of(network, parts) if a != 0 and b != len(parts) - 1}
        assert inner == wanted


def test_every_box_has_a_name_however_long(networks):
    for module in ("", "features.1.0", "features.5.17.attn"):
        ax = draw("graph", networks["swin_b"], module=module)
        frames = [patch for patch in ax.patches if isinstance(patch, Rectangle) and patch.get_linewidth()]
        assert len(ax.texts) == len(frames) + 1  # what is shown stands above


def test_edges_from_one_node_share_their_way():
    routes = layered_layout(8, {(i, i + 1) for i in range(1, 7)} | {(0, i) for i in range(1, 8)}).routes
    for end in range(2, 7):
        assert routes[0, end][:-1] == routes[0, end + 1][:end]


def test_arrows_are_as_many_as_edges(networks):
    network = networks["swin_b"]
    ax = draw("graph", network, module="features.1.0")
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == len(edges_of(network, boxes_of(network, "features.1.0")))


@given(st.integers(1, 14).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_edges_lead_down_and_nodes_keep_their_distance(drawn):
    count, pairs = drawn
    edges = {(a, b) for a, b in pairs if a < b}
    layout = layered_layout(count, edges)
    assert layout.routes.keys() == edges
    for (a, b), route in layout.routes.items():
        assert (route[0], route[-1]) == (layout.positions[a], layout.positions[b])
        assert [layer for _, layer in route] == list(range(layout.positions[a][1], layout.positions[b][1] + 1))
    for i, (x, layer) in enumerate(layout.positions):
        assert all(abs(x - other) >= 1 - 1e-6 for other, at in layout.positions[:i] if at == layer)


def test_a_chain_is_straight():
    layout = layered_layout(6, {(i, i + 1) for i in range(5)} | {(1, 4)})
    assert len({round(x, 2) for x, _ in layout.positions}) == 1


# The command.


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("saved") / "tiny.json"
    path.write_text(examples()["tiny"].to_json())
    return str(path)


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_a_picture_is_the_same_every_time(saved, tmp_path, suffix, magic, capsys):
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    for path in (first, second):
        assert run(["plot", "graph", saved, "--module", "head", "--cost", "params", "-o", str(path)]) == 0
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(magic)
    assert capsys.readouterr() == ("", "")
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pie", "{}", "-o", "x.png"], "'pie' is not one of"),
        (["memory", "{}"], "Missing option '-o'"),
        (["memory", "{}", "-o", "x.gif"], "x.gif is not a supported picture"),
        (["memory", "{}", "-o", "x.png", "--cost", "params"], "--cost does not go with memory"),
        (["treemap", "{}", "-o", "x.png", "--module", "head"], "--module does not go with treemap"),
        (["graph", "{}", "-o", "x.png", "--module", "heda"], "did you mean 'head"),
        (["treemap", "{}", "-o", "x.png", "--cost", "money"], "unknown metric 'money'"),
        (["memory", "{}", "-o", "no/such/folder/x.png"], "cannot be written"),
    ],
)
def test_wrong_usage_is_one_line(words, message, saved, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["plot", *(word.format(saved) for word in words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_end_of_a_long_name_is_kept():
    assert shortened("features.denseblock1.denselayer6", 20) == "…denselayer6"
    assert len(shortened("x" * 500)) == LONGEST
    assert shortened(HOSTILE).isprintable()
