"""What a step could keep less of, against steps that are traced so and against bytes counted by hand."""

from __future__ import annotations

import pytest
import torch
import torch._functorch.config
from torch import nn

import costlab
from costlab.guidelines.analysis.kept import checkpoints, is_inside, recomputable
from costlab.reports.findings import sentence

NETWORKS = ["resnet18", "timm:vit_tiny_patch16_224", "mobilenet_v3_small", "timm:convnext_atto", "shufflenet_v2_x0_5"]


@pytest.fixture(scope="module", params=NETWORKS)
def loaded(request):
    model, _ = costlab.load(request.param)
    return model, costlab.profile(model, (2, 3, 224, 224), mode="step", name=request.param)


def test_a_candidate_frees_and_computes_what_a_step_with_it_does(loaded):
    """What later modules read is taken for kept: a pooling keeps nothing, so that more may be freed."""
    model, plain = loaded
    found = checkpoints(plain, plain.trace.step)
    assert len(found) >= 3
    for candidate, exact in zip((*found[:2], found[-1]), (True, True, False), strict=True):
        again = costlab.profile(model, (2, 3, 224, 224), mode="step", checkpoint=(candidate.path,))
        freed = plain.total.saved_bytes - again.total.saved_bytes
        assert freed == candidate.bytes if exact else freed >= candidate.bytes
        assert again.mult_adds - plain.mult_adds == candidate.mult_adds


def test_candidates_are_apart_and_sorted_by_bytes_for_a_mult_add(loaded):
    _, plain = loaded
    found = checkpoints(plain, plain.trace.step)
    ratios = [candidate.bytes / max(candidate.mult_adds, 1) for candidate in found]
    assert ratios == sorted(ratios, reverse=True)
    paths = [candidate.path for candidate in found]
    assert not any(a != b and is_inside(a, b) for a in paths for b in paths)


def test_what_can_be_made_again_is_less_than_what_is_kept(loaded):
    _, plain = loaded
    numbers = [each.storage.number for each in recomputable(plain, plain.trace.step)]
    assert len(numbers) == len(set(numbers)) > 0
    assert sum(each.storage.bytes for each in recomputable(plain, plain.trace.step)) < plain.total.saved_bytes


def test_notes_say_how_many_bytes_and_only_of_steps():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 8, 3))
    step = costlab.profile(network, (1, 3, 34, 34), mode="step")
    (finding,) = costlab.lint(step, select=["kept-activation"]).findings[:1]
    assert finding.kept_bytes == 4 * 8 * 32 * 32
    assert finding.to_dict()["kept_bytes"] == finding.kept_bytes
    assert "keeps 32.77 kB less for the backward pass" in sentence(finding)
    assert not costlab.lint(costlab.profile(network, (1, 3, 34, 34)), select=["X16", "X17"]).findings


def test_other_rules_judge_the_forward_pass_of_a_step():
    model, _ = costlab.load("zoo:shufflenet_v1")
    step = costlab.profile(model, (1, 3, 224, 224), mode="step", name="net")
    forward = costlab.profile(model, (1, 3, 224, 224), mode="train", name="net")
    rules = ["G1", "G2", "G3", "G4", "X1", "X2", "X12"]
    one, other = (costlab.lint(profile, select=rules) for profile in (step, forward))
    assert one.verdicts == other.verdicts
    assert one.findings == other.findings


def test_a_device_prices_the_forward_pass_of_a_step():
    model, _ = costlab.load("mobilenet_v2")
    result = costlab.lint(costlab.profile(model, (8, 3, 224, 224), mode="step"), device="rtx3090", select=["X12", "G4"])
    assert result.what_ifs is None
    assert any(finding.predicted_seconds_saved for finding in result.findings)


PARTITIONED = {
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.SiLU(), nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU()
        ),
        (4, 3, 40, 40),
    ),
    "in place": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 1), nn.BatchNorm2d(16), nn.ReLU6(inplace=True), nn.Conv2d(16, 16, 3, groups=16)
        ),
        (4, 3, 40, 40),
    ),
    "perceptron": (
        lambda: nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)),
        (96, 64),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTITIONED)
def test_what_is_left_is_about_what_torch_keeps_if_it_recomputes_all_it_can(name):
    """The min-cut partitioner, which may recompute statistics as well, keeps as many bytes to an eighth."""
    make, shape = PARTITIONED[name]
    model = make()
    step = costlab.profile(model, shape, mode="step")
    freed = sum(each.storage.bytes for each in recomputable(step, step.trace.step))
    kept = partitioned_bytes(model, torch.randn(shape))
    assert freed > step.total.saved_bytes / 4
    assert step.total.saved_bytes - freed == pytest.approx(kept, rel=1 / 8)


def partitioned_bytes(model, x):
    """Bytes kept as torch's partitioner divides a step, without parameters, inputs and views of them."""
    import torch._inductor.lowering  # tells the partitioner what can be fused
    from functorch.compile import aot_module, min_cut_rematerialization_partition, nop
    from torch._inductor.decomposition import select_decomp_table

    found = []

    def partition(joint, arguments, *, num_fwd_outputs, **options):
        forward, backward = min_cut_rematerialization_partition(
            joint, arguments, num_fwd_outputs=num_fwd_outputs, **options
        )
        results = next(node for node in forward.graph.nodes if node.op == "output").args[0]
        saved = dict.fromkeys(node for node in results[num_fwd_outputs:] if isinstance(node, torch.fx.Node))
        values = [node.meta["val"] for node in saved if base_of(node).op != "placeholder"]
        found.append(sum(value.nbytes for value in values if isinstance(value, torch.Tensor)))
        return forward, backward

    with torch._functorch.config.patch(aggressive_recomputation=True):
        compiled = aot_module(
            model, fw_compiler=nop, bw_compiler=nop, partition_fn=partition, decompositions=select_decomp_table()
        )
        compiled(x).sum().backward()
    return found[0]


def base_of(node):
    """What a node is a view of, or itself."""
    while getattr(node.target, "is_view", False):
        node = node.args[0]
    return node
