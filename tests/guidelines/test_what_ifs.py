"""What to do first: changes of the whole network, each the difference of two predictions."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from helpers.guideline_networks import network
from torch import nn

import costlab
from costlab.cli import run
from costlab.formatting import units
from costlab.guidelines.edits import edited
from costlab.guidelines.model import FindingGroup, group_findings
from costlab.guidelines.what_ifs import candidates, what_ifs
from costlab.latency._predict import predict_with
from costlab.latency.devices import find_device
from costlab.latency.execution import ExecutionConfig

NAMES = ("MobileNet V2", "ResNet-50", "ShuffleNet V1, 3 groups", "Swin-T", "ViT-B/16", "GoogLeNet")
DEVICES = ("rtx3090", "i9-10940x", "raspberry-pi-5")
AGAIN = {  # the same change, as an argument of `predict`, and of how many batches
    "fold batch norms": ({"fusion": "bn"}, 1),
    "compile it": ({"fusion": "pointwise"}, 1),
    "use channels-last": ({"channels_last": True}, 1),
    "batch 2 instead of 1": ({"batch": 2}, 2),
    "batch 4 instead of 1": ({"batch": 4}, 4),
}


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES)
def test_every_change_is_the_difference_of_two_predictions(name, device):
    profile = network(name)
    first = costlab.lint(profile, device=device).what_ifs
    assert first.predicted_seconds == costlab.predict(profile, device).seconds
    for each in first.changes:
        assert each.seconds_saved == pytest.approx(first.predicted_seconds - each.predicted_seconds)
        assert each.share == pytest.approx(each.seconds_saved / first.predicted_seconds)
        if each.change in AGAIN:
            arguments, times = AGAIN[each.change]
            assert each.predicted_seconds == costlab.predict(profile, device, **arguments).seconds / times
        elif each.change == "use half precision" and device == "rtx3090":
            dtype = "bfloat16" if "bfloat16" in each.how else "float16"
            assert each.predicted_seconds == costlab.predict(profile, device, dtype=dtype).seconds


@pytest.mark.parametrize("name", ["MobileNet V2", "ViT-B/16"])
def test_on_a_cpu_only_matrix_products_are_faster_in_half_precision(name):
    plain = find_device("i9-10940x")
    device = replace(plain, matrix_flops={**plain.matrix_flops, "bfloat16": 4 * plain.vector_flops["float32"]})
    profile, config = network(name), ExecutionConfig(device)
    now, low = (costlab.predict(profile, device, dtype=dtype) for dtype in ("float32", "bfloat16"))
    (seconds,) = [seconds for change, _, seconds in candidates(profile, config, []) if "half" in change]
    products = {op.name for op in profile.ops if op.kind in ("linear", "scaled_dot_product_attention", "matmul")}
    rest = sum(now.by_op[name] for name in now.by_op.keys() - products)
    assert seconds == pytest.approx(now.overhead_seconds + rest + sum(low.by_op[name] for name in products))


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES)
def test_at_most_five_changes_best_first_each_worth_more_than_two_percent(name, device):
    changes = costlab.lint(network(name), device=device).what_ifs.changes
    assert len(changes) <= 5
    saved = [each.seconds_saved for each in changes]
    assert saved == sorted(saved, reverse=True)
    assert all(each.share > 0.02 for each in changes)
    assert len({each.change for each in changes}) == len(changes)


@pytest.mark.parametrize("device", DEVICES)
def test_the_best_findings_are_followed_together(device):
    profile, config = network("MobileNet V2"), ExecutionConfig(find_device(device))
    found = [f for f in costlab.lint(profile, device=device).findings if f.rule not in ("X3", "X9")]
    groups = [(group, changed_by(group)) for group in group_findings(f for f in found if f.fix and f.helps)]
    best = []
    for group, ops in groups:
        if len(best) < 3 and not any(ops & changed_by(other) for other in best):
            best.append(group)
    (change,) = [c for c in what_ifs(profile, config, found).changes if "findings" in c.change] or [None]
    if change:
        after = predict_with(profile, config, edited(profile, [f.fix for group in best for f in group.findings]))
        assert change.predicted_seconds == pytest.approx(after.seconds)
        assert all(f"{group.first.rule} " in change.how for group in best)


def changed_by(group: FindingGroup) -> set[str]:
    """The operators that are not as they were after the advice of a group is followed."""
    return {name for f in group.findings for name in f.fix.ops}


def test_the_same_change_is_not_followed_twice():
    norm = costlab.profile(nn.Sequential(nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16)), (1, 3, 64, 64))
    result = costlab.lint(norm, select=["G4", "X19"], device="raspberry-pi-4")
    assert {f.rule for f in result.findings if f.fix and f.helps} == {"G4", "X19"}
    (change,) = [c for c in result.what_ifs.changes if "findings" in c.change]
    assert change.change == "follow the best group of findings"


def test_what_a_network_has_already_is_not_proposed():
    profile = network("MobileNet V2")
    plain = costlab.lint(profile, device="raspberry-pi-5").what_ifs.changes
    compiled = costlab.lint(profile, device="raspberry-pi-5", fusion="pointwise", channels_last=True).what_ifs.changes
    assert {"compile it", "fold batch norms"} <= {each.change for each in plain}
    assert {"compile it", "fold batch norms", "use channels-last"}.isdisjoint(each.change for each in compiled)
    half = costlab.lint(profile, device="rtx3090", amp=True).what_ifs.changes
    assert "use half precision" not in {each.change for each in half}


def test_a_cuda_graph_takes_the_time_of_the_kernels_alone():
    profile = network("ShuffleNet V1, 3 groups")
    slow_cpu = replace(find_device("rtx3090"), efficiency={"eager": {"launch_seconds": 5e-5}})
    config = ExecutionConfig(slow_cpu)
    prediction = predict_with(profile, config)
    (change,) = [each for each in what_ifs(profile, config).changes if "CUDA graph" in each.change]
    assert change.predicted_seconds == pytest.approx(sum(prediction.by_op.values()))
    assert not any("CUDA graph" in c.change for c in costlab.lint(profile, device="i9-10940x").what_ifs.changes)


def test_nothing_may_be_worth_it(tmp_path, capsys):
    """One matrix product at a large batch runs as well as it can."""
    profile = costlab.profile(nn.Linear(4096, 4096), (2048, 4096))
    path = tmp_path / "linear.json"
    path.write_text(profile.to_json())
    first = costlab.lint(profile, device="i9-10940x").what_ifs
    assert first.changes == ()
    said = f"nothing here is worth more than 2% of {units.seconds(first.predicted_seconds)}"
    for command in ("report", "lint"):
        for form in ("text", "markdown"):
            assert run([command, str(path), "--device", "i9-10940x", "--format", form]) == 0
            assert said in " ".join(capsys.readouterr().out.split()), (command, form)


@pytest.mark.slow
def test_every_report_says_what_to_do_first(tmp_path, capsys):
    path = tmp_path / "net.json"
    path.write_text(network("MobileNet V2").to_json())
    for command in ("report", "lint"):
        arguments = [command, str(path), "--device", "rtx3090"]
        for form in ("text", "markdown"):
            run([*arguments, "--format", form])
            assert "1. " in (out := capsys.readouterr().out)
            assert "torch.compile(model)" in " ".join(out.split())
        run([*arguments, "--format", "json"])
        document = json.loads(capsys.readouterr().out)
        changes = document["latency"]["what_ifs"] if command == "report" else document["what_ifs"][0]["changes"]
        assert set(changes[0]) == {"change", "how", "predicted_seconds", "seconds_saved", "share"}
    assert run(["report", str(path), "--device", "rtx3090", "--format", "html", "-o", str(tmp_path / "page.html")]) == 0
    assert "torch.compile(model)" in (tmp_path / "page.html").read_text()


def test_without_a_device_nothing_is_predicted(capsys):
    assert costlab.lint(network("MobileNet V2")).what_ifs is None
    run(["report", "zoo:mobilenet_v2"])
    assert "do first" not in capsys.readouterr().out


def test_results_say_what_matters_when_they_are_printed():
    profile = costlab.profile(nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16)), (1, 3, 64, 64))
    result = costlab.lint(profile, device="i9-10940x")
    head, *lines = str(result).splitlines()
    assert head == f"Sequential: {len(result.findings)} findings, broken: {', '.join(result.broken) or 'nothing'}"
    assert "\n".join(lines) == str(result.what_ifs)
    assert len(lines) == len(result.what_ifs.changes)
    assert lines[0].startswith(f"1. {result.what_ifs.changes[0].change}: saves ")
    assert str(costlab.lint(profile)).count("\n") == 0
    assert lines[0].partition(": ")[0] in result.what_ifs._repr_html_()
    larger = costlab.profile(nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32)), (1, 3, 64, 64))
    printed = str(costlab.compare(profile, larger))
    assert printed.startswith(
        "Sequential (python) → Sequential (python): mult-adds 1.661 M → 3.321 M (+100.0%), params"
    )
    assert "(" not in str(costlab.compare(profile, profile)).partition(": ")[2]


def test_fused_attention_says_where():
    class Attention(nn.Module):
        def forward(self, x):
            return (x @ x.transpose(-2, -1)).softmax(-1) @ x

    blocks = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), Attention()) for _ in range(5)))
    changes = costlab.lint(costlab.profile(blocks, (4, 512, 64)), device="rtx3090").what_ifs.changes
    (fused,) = (each for each in changes if each.change == "fuse attention")
    assert fused.how.endswith(" in {0-4}.1")
