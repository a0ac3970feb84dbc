"""A `.pt2` program costs what its network costs: every form of it that torch.export writes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.exported_programs import Attention, Nested, save, save_nested, save_net
from torch import nn
from torch._higher_order_ops.map import map as map_over
from torch.export import Dim

import costlab
from costlab.errors import CostlabError
from costlab.models import ModelSpec, load_model, profile_of
from costlab.models.providers.transformers import import_transformers

VISION = [
    "torchvision:alexnet",
    "torchvision:mobilenet_v3_small",
    "torchvision:mnasnet0_5",
    "torchvision:resnet18",
    "torchvision:squeezenet1_1",
    "timm:mixer_s32_224",
    "timm:poolformer_s12",
    "timm:resnet10t",
    "timm:vit_tiny_patch16_224",
]
EXPORTED = Path(__file__).parents[1] / "data" / "exported"
STRICT = pytest.mark.parametrize("strict", [False, True], ids=["non-strict", "strict"])


def costs(profile: Any) -> dict[str, Any]:
    """What each module costs."""
    return {path: (r.mult_adds, r.params, r.memory_access) for path, r in profile.by_module().items()}


def total(profile: Any) -> Any:
    """All totals but the peak of everything: a program's code lets go of values earlier than its network's."""
    return replace(profile.total, peak_bytes=None)


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    return save_net(tmp_path_factory.mktemp("exported") / "net.pt2")


@pytest.mark.slow
@STRICT
@pytest.mark.parametrize("name", VISION)
def test_a_program_costs_what_its_network_costs_by_module(name, strict, tmp_path):
    loaded = load_model(ModelSpec(name))
    network = loaded.model.to("meta")
    path = save(tmp_path / "network.pt2", network, loaded.inputs.args, strict=strict)
    expected, profile = costlab.profile(network, loaded.inputs), profile_of(ModelSpec(str(path)))
    assert total(profile) == total(expected)
    assert costs(profile) == costs(expected)
    assert [op.name for op in profile.trace.ops] == [op.name for op in expected.trace.ops]
    if strict:  # otherwise export leaves out frames
        assert [op.source for op in profile.trace.ops] == [op.source for op in expected.trace.ops]


@pytest.mark.parametrize("release", ["2.11", "2.12", "2.14"])
@pytest.mark.parametrize("name", ["attention", "nested"])
def test_programs_of_other_releases_cost_what_their_networks_cost(name, release):
    network, inputs, keywords = {
        "attention": (Attention(), (torch.zeros(2, 7, dtype=torch.int64),), {}),
        "nested": (Nested(), (torch.zeros(3, 8),), {"extra": {"more": [torch.zeros(3, 8)]}, "flag": True}),
    }[name]
    program = profile_of(ModelSpec(str(EXPORTED / f"{name}-{release}.pt2")))
    expected = costlab.profile(network, inputs, keywords)
    assert total(program) == total(expected)
    assert program.estimated == expected.estimated
    assert not program.uncounted
    if name == "attention":  # export leaves out the module of operators in branches
        assert costs(program) == costs(expected)


def language_models() -> dict[str, Any]:
    transformers = import_transformers()
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 99}
    return {
        "bert": transformers.BertConfig(**sizes, intermediate_size=64),
        "gpt2": transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=99, use_cache=False),
        "llama": transformers.LlamaConfig(**sizes, intermediate_size=64, use_cache=False),
    }


@pytest.mark.slow
@STRICT
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_a_language_model_costs_what_its_program_costs_in_torch(name, strict, tmp_path):
    config = language_models()[name]
    network = import_transformers().AutoModel.from_config(config).eval()
    tokens = torch.zeros(1, 16, dtype=torch.long)
    program = torch.export.export(network, (), {"input_ids": tokens}, strict=strict)
    torch.export.save(program, tmp_path / "network.pt2")
    profile = profile_of(ModelSpec(str(tmp_path / "network.pt2")))
    assert total(profile) == total(costlab.profile(program.module(), (), {"input_ids": tokens}))
    traced = costlab.profile(network, (), {"input_ids": tokens})
    assert (profile.mult_adds, profile.params) == (traced.mult_adds, traced.params)


def test_the_costs_of_a_program_by_hand(net):
    profile = profile_of(ModelSpec(str(net)))
    assert profile.mult_adds == 2 * 14 * 14 * 8 * 3 * 3 * 3 + 2 * 8 * 4
    assert profile.params == 8 * 3 * 3 * 3 + 8 + 2 * 8 + 8 * 4 + 4
    rows = profile.by_module()
    assert rows[""].type == "Net"
    assert rows["body.0"].type == "Conv2d"
    assert rows["head"].mult_adds == 2 * 8 * 4
    assert [(i.name, i.shape) for i in profile.trace.inputs] == [("x", (2, 3, 16, 16))]


def test_what_load_returns_can_be_profiled(net):
    model, inputs = costlab.load(str(net))
    assert costlab.profile(model, inputs).total == profile_of(ModelSpec(str(net))).total


def test_weights_are_read_only_to_measure(net):
    assert all(p.is_meta for p in load_model(ModelSpec(str(net))).model.parameters())
    real = load_model(ModelSpec(str(net)), weights=True).model
    image = torch.randn(2, 3, 16, 16)
    program = torch.export.load(net).module()
    torch.testing.assert_close(real(image), program(image))


# Sizes.


class Flattens(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        return self.linear(x).reshape(x.shape[0] * 8)


DIMS = [
    Dim("b"),
    Dim.AUTO,
    Dim.DYNAMIC,
    Dim("b", min=2, max=50),
    2 * Dim("k", max=60) + 1,
    2 * Dim("m", min=4, max=20) + 1,
]


@STRICT
@pytest.mark.parametrize("dim", DIMS, ids=lambda dim: f"{dim} from {getattr(dim, 'min', '')}")
def test_a_dynamic_size_is_that_of_the_example_or_of_the_input(dim, strict, tmp_path):
    example = torch.randn(9, 8)
    path = save(tmp_path / "net.pt2", Flattens(), (example,), dynamic_shapes={"x": {0: dim}}, strict=strict)
    assert profile_of(ModelSpec(str(path))).total == costlab.profile(Flattens(), [example]).total
    assert profile_of(ModelSpec(str(path), inputs=("13,8",))).total == costlab.profile(Flattens(), (13, 8)).total
    assert profile_of(ModelSpec(str(path), batch=13)).mult_adds == 13 * 8 * 8


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (["4,8"], "size of 4 where the program was exported for 2\\*\\w+ \\+ 1"),
        (["5,9"], "size of 9 where the program was exported for 8: export it with dynamic_shapes"),
        (["5,8,1"], "must be a tensor of 2 dimensions"),
        (["151,8"], "151|75.*outside the exported range"),
        (["5,8", "5,8"], "got 2 inputs, the program takes x"),
        (["y=5,8"], "got the inputs y .*the program takes x"),
    ],
)
def test_an_input_that_the_program_was_not_exported_for_is_refused(inputs, says, tmp_path):
    shapes = {"x": {0: 2 * Dim("k", max=60) + 1}}
    path = save(tmp_path / "net.pt2", Flattens(), (torch.randn(9, 8),), dynamic_shapes=shapes)
    with pytest.raises(CostlabError, match=says):
        profile_of(ModelSpec(str(path), inputs=tuple(inputs)))


def test_a_fixed_batch_is_not_changed_silently(net):
    with pytest.raises(CostlabError, match="exported for 2: export it with dynamic_shapes"):
        profile_of(ModelSpec(str(net), batch=4))


# Operators.


@torch.library.custom_op("costlab_tests::scaled", mutates_args=())
def scaled(x: torch.Tensor, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
    return x * factor, x.sum(0)


@scaled.register_fake
def _(x, factor):
    return torch.empty_like(x), x.new_empty(x.shape[1:])


class Custom(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        y, total = scaled(self.linear(x), 2.0)
        return self.linear(y) + total


@pytest.mark.slow
def test_an_unknown_operator_is_uncounted_with_its_recorded_sizes(tmp_path):
    batch = {"x": {0: Dim("b")}}
    path = save(tmp_path / "net.pt2", Custom(), (torch.randn(4, 8),), dynamic_shapes=batch)
    script = (
        "from costlab.models import ModelSpec, profile_of\n"
        f"p = profile_of(ModelSpec({str(path)!r}, batch=6))\n"
        "print(p.uncounted, p.mult_adds, [o.shape for o in p.trace.ops[1].outputs])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{{'costlab_tests::scaled': 1}} {2 * 6 * 8 * 8} [(6, 8), (8,)]"


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        with torch.no_grad():
            y = self.linear(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.linear(y)
        y = torch.cond(y.sum() > 0, lambda v: self.linear(v).relu(), lambda v: v * 2, (y.float(),))
        return map_over(lambda row: self.linear(row), y)


def test_operators_with_graphs_are_run_through_their_graphs(tmp_path):
    profile = profile_of(ModelSpec(str(save(tmp_path / "net.pt2", Branches(), (torch.randn(4, 8),)))))
    assert profile.mult_adds == 4 * (4 * 8 * 8)
    assert profile.estimated["item"] == 1  # of the branch
    assert [t.dtype for op in profile.trace.ops for t in op.outputs if op.kind == "linear"][1] == "bfloat16"


def test_nested_inputs_outputs_constants_and_mutated_buffers(tmp_path):
    profile = profile_of(ModelSpec(str(save_nested(tmp_path / "nested.pt2")), batch=5))
    assert [i.shape for i in profile.trace.inputs] == [(5, 8), (5, 8)]
    assert [op.kind for op in profile.trace.ops].count("copy") == 0
    assert [t.role for t in profile.trace.ops[0].inputs] == ["buffer"]
    assert "constant" in {t.role for op in profile.trace.ops for t in op.inputs}
    assert len(profile.trace.outputs) == 2
    assert Nested().linear.weight.numel() + 8 == profile.params


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.head = nn.Linear(8, 10, bias=False)
        self.head.weight = self.embed.weight
        self.block = nn.Linear(8, 8)
        self.spare = nn.Linear(3, 3)

    def forward(self, tokens):
        return self.head(self.block(self.block(self.embed(tokens))))


@STRICT
def test_tied_shared_and_unused_weights_count_as_in_the_network(strict, tmp_path):
    tokens = torch.zeros(2, 5, dtype=torch.long)
    expected = costlab.profile(Tied(), [tokens])
    profile = profile_of(ModelSpec(str(save(tmp_path / "net.pt2", Tied(), (tokens,), strict=strict))))
    assert total(profile) == total(expected)
    assert costs(profile) == costs(expected)


@pytest.mark.slow
def test_reading_a_program_imports_no_part_of_torch_that_loads_or_compiles(net):
    script = (
        f"from costlab.models import ModelSpec, profile_of; import sys; profile_of(ModelSpec({str(net)!r}))\n"
        "print({'torch.export.pt2_archive', 'torch._export.serde', 'torch._dynamo.eval_frame'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
