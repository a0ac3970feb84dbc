"""The trace handles every way of writing a network that torch allows."""

from __future__ import annotations

import collections
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.calls import Call, indices, only, profile_of, total_of
from torch import Tensor, nn

from costlab.core.cost import RULES, Cost, traffic
from costlab.core.graph import Op
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.tracing._profile import profile

HERE = Path(__file__).name


def kinds(result: Profile) -> list[str]:
    """The operators that cost something, in order."""
    return [op.kind for op in result.ops if not op.free]


def paths(result: Profile) -> list[str]:
    return [op.module for op in result.ops if not op.free]


def ancestors(result: Profile, name: str) -> set[str]:
    import networkx as nx

    return nx.ancestors(result.graph, name)


# Modules and their paths.


def test_operators_carry_the_path_of_the_module_that_called_them() -> None:
    class Parent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
            self.heads = nn.ModuleDict({"main": nn.Sequential(nn.Linear(4, 2), nn.ReLU())})

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = F.relu(layer(x))
            return self.heads["main"](x).sum()

    result = profile_of(nn.Sequential(Parent()), (2, 4))
    calls = ["0.layers.0", "0", "0.layers.1", "0", "0.heads.main.0", "0.heads.main.1", "0"]
    assert paths(result) == calls
    assert list(result.by_module()) == [
        *("", "0", "0.layers", "0.layers.0", "0.layers.1", "0.heads", "0.heads.main"),
        *("0.heads.main.0", "0.heads.main.1"),
    ]


def test_operators_of_one_kind_in_one_module_have_names_of_their_own() -> None:
    result = profile_of(lambda x: x.relu().relu().relu(), (2, 4))
    assert [op.name for op in result.ops] == ["relu", "relu_1", "relu_2"]


def test_a_shared_module_is_called_by_the_name_that_a_sequential_calls_it() -> None:
    layer = nn.Linear(4, 4)
    result = profile_of(nn.Sequential(layer, nn.ReLU(), layer), (2, 4))
    assert paths(result) == ["0", "1", "2"]
    rows = result.by_module()
    assert (rows["0"].params, rows["2"].params) == (20, 0)
    assert rows["0"].mult_adds == rows["2"].mult_adds == 2 * 4 * 4


def test_a_shared_module_goes_by_its_name_below_the_caller() -> None:
    layer = nn.Linear(4, 4)
    result = profile_of(nn.Sequential(nn.Sequential(layer), nn.Sequential(nn.ReLU(), layer)), (2, 4))
    assert paths(result) == ["0.0", "1.0", "1.1"]


def test_a_module_may_call_itself_and_know_its_parent() -> None:
    class Child(nn.Module):
        def __init__(self, parent: nn.Module) -> None:
            super().__init__()
            self.parent = parent
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor, times: int) -> Tensor:
            return self(self.layer(x), times - 1) if times else x

    class Parent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.child = Child(self)

        def forward(self, x: Tensor) -> Tensor:
            return self.child(x, 3)

    result = profile_of(Parent(), (2, 4))
    assert paths(result) == ["child.layer"] * 3
    assert list(result.by_module()) == ["", "child", "child.layer"]
    assert (result.mult_adds, result.params) == (3 * 2 * 4 * 4, 20)


def test_functional_calls_know_their_line() -> None:
    class Lines(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.layer(x)
            return F.relu(x)

    first = Lines.forward.__code__.co_firstlineno
    result = profile_of(Lines(), (2, 4))
    lines = {op.kind: (Path(op.source.file).name, op.source.line - first) for op in result.ops if op.source}
    assert lines == {"linear": (HERE, 1), "relu": (HERE, 2)}
    assert result.by_module()[""].source.line == first


def test_the_line_of_a_network_without_code_of_its_own_is_unknown() -> None:
    result = profile_of(nn.Sequential(nn.Linear(4, 4)), (2, 4))
    assert [op.source for op in result.ops] == [None]


# Inputs and outputs.


@dataclass
class Batch:
    image: Tensor
    extra: list[Tensor]


Pair = collections.namedtuple("Pair", "a b")


class Structured(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Any, *, scale: Tensor | None = None) -> Any:
        if isinstance(x, dict):
            x = Batch(x["image"], [*x["extra"]])
        if isinstance(x, Pair):
            x = Batch(x.a, [x.b])
        y = self.layer(x.image) + x.extra[0]
        return Batch(y if scale is None else y * scale, [y.relu()])


@pytest.mark.parametrize(
    "given",
    [
        {"image": torch.randn(2, 4), "extra": (torch.randn(2, 4),)},
        collections.OrderedDict(image=torch.randn(2, 4), extra=[torch.randn(2, 4)]),
        Batch(torch.randn(2, 4), [torch.randn(2, 4)]),
        Pair(torch.randn(2, 4), torch.randn(2, 4)),
    ],
    ids=["dict", "ordered dict", "dataclass", "named tuple"],
)
def test_inputs_and_outputs_may_be_any_structure(given: Any) -> None:
    result = profile(Structured(), [given], {"scale": (2, 1)})
    assert kinds(result) == ["linear", "add", "mul", "relu"]
    assert [(i.name, i.shape) for i in result.trace.inputs] == [("x.0", (2, 4)), ("x.1", (2, 4)), ("scale", (2, 1))]
    last = {op.output.storage for op in result.ops if op.kind in ("mul", "relu")}
    assert set(result.trace.outputs) == last
    assert {t.role for op in result.ops if op.kind == "add" for t in op.inputs} == {"input", "activation"}


def test_one_argument_may_stand_for_the_list_of_them() -> None:
    alone = profile(nn.Linear(4, 5), (2, 4))
    for inputs in ([(2, 4)], torch.empty(2, 4), [torch.empty(2, 4)], [2, 4]):
        assert profile(nn.Linear(4, 5), inputs).total == alone.total


def test_a_tensor_given_twice_stays_one_tensor() -> None:
    layer, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(3, 5, 8)
    shared = profile_of(layer, x, x, x, kwargs={"need_weights": False})
    apart = profile_of(layer, x, x.clone(), x.clone(), kwargs={"need_weights": False})
    assert [k for k in kinds(shared) if k == "linear"] == ["linear"] * 2  # one projection for all three
    assert [k for k in kinds(apart) if k == "linear"] == ["linear"] * 4
    assert shared.mult_adds == apart.mult_adds


def test_tensors_made_inside_forward_are_operators() -> None:
    def positions(x: Tensor) -> Tensor:
        ramp = torch.arange(x.shape[1], dtype=x.dtype, device=x.device)
        return x * ramp + torch.zeros(4, device=x.device)

    result = profile_of(positions, (2, 4))
    assert kinds(result) == ["arange", "mul", "zeros", "add"]
    assert ancestors(result, "add") >= {"arange", "mul", "zeros"}


# Views, aliases and writes in place.


def test_a_reader_of_the_base_comes_after_a_write_to_its_view() -> None:
    def write(x: Tensor) -> Tensor:
        y = x * 1
        y[:, 0].add_(1)
        return y.sum()

    assert ancestors(profile_of(write, (2, 4)), "sum") == {"mul", "select", "add"}


def test_a_reader_of_a_view_comes_after_a_write_to_the_base() -> None:
    def write(x: Tensor) -> Tensor:
        y = x * 1
        corner = y[0]
        y.add_(1)
        return corner.sum()

    assert ancestors(profile_of(write, (2, 4)), "sum") == {"mul", "select", "add"}


def test_a_result_written_part_by_part_comes_after_every_part() -> None:
    def assign(x: Tensor) -> Tensor:
        y = torch.zeros(2, 4)
        y[0] = x[0].exp()
        y[1] = x[1].sin()
        return y.sum()

    def out(x: Tensor) -> Tensor:
        y = torch.empty(2, 4)
        torch.exp(x[0], out=y[0])
        torch.sin(x[1], out=y[1])
        return y.sum()

    for function in (assign, out):
        assert ancestors(profile_of(function, (2, 4)), "sum") >= {"exp", "sin"}, function.__name__


def test_out_does_not_read_what_it_overwrites() -> None:
    def out(x: Tensor) -> Tensor:
        y = x.exp()
        torch.sin(x, out=y)
        return y.sum()

    result = profile_of(out, (2, 4))
    assert ("exp", "sin") not in result.edges()
    assert ancestors(result, "sum") >= {"sin"}
    assert only(result, "sin")[1].memory_access == 8 + 8


@pytest.mark.parametrize(
    "nothing",
    [
        nn.Dropout(),
        nn.Identity(),
        Call(lambda x: x.to(torch.float32)),
        Call(lambda x: x.contiguous()),
        Call(Tensor.cpu),
    ],
    ids=["dropout", "identity", "to", "contiguous", "cpu"],
)
def test_an_operator_that_returns_its_input_keeps_the_edge_and_the_residual(nothing: nn.Module) -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.nothing = nn.Linear(4, 4), nothing

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            return self.nothing(y).relu() + y

    result = profile_of(Residual(), (2, 4))
    assert kinds(result) == ["linear", "relu", "add"]
    assert ancestors(result, "relu") >= {"layer/linear"}
    assert ("layer/linear", "add") in result.edges()
    assert ("relu", "add") in result.edges()


def test_a_branch_does_not_depend_on_its_sibling() -> None:
    result = profile_of(lambda x: x.exp() + x.sin(), (2, 4))
    assert result.edges() == [("exp", "add"), ("sin", "add")]


# Values that decide.


def test_control_flow_on_known_values_is_followed_exactly() -> None:
    def loop(x: Tensor, times: Tensor) -> Tensor:
        for _ in range(int(times)):
            x = x + 1
        if (times > 2).any() and times.tolist() == 3:
            x = x * 2
        return x

    result = profile_of(loop, (2, 4), torch.tensor(3))
    assert [k for k in kinds(result) if k in ("add", "mul")] == ["add"] * 3 + ["mul"]
    assert not result.estimated


def test_a_known_mask_is_exact_and_an_unknown_one_an_estimate() -> None:
    mask = torch.tensor([True, False, True, True])
    known = profile_of(lambda x, m: x[m] * 2, (4, 5), mask)
    assert not known.estimated
    assert only(known, "mul")[1].element_wise_ops == 3 * 5
    unknown = profile_of(lambda x: x[x[:, 0] > 0] * 2, (4, 5))
    assert unknown.estimated == {"index": 1, "mul": 1}
    assert unknown.guesses == {"index": 1}
    assert only(unknown, "mul")[1].element_wise_ops == 4 * 5


@pytest.mark.parametrize(
    ("function", "guess"),
    [
        (lambda x: x.nonzero() * 2, "nonzero"),
        (lambda x: torch.where(x > 0)[0] * 2, "nonzero"),
        (lambda x: x.masked_select(x > 0) * 2, "masked_select"),
        (lambda x: x.unique() * 2, "unique"),
        (lambda x: x * (2 if x.sum() > 0 else 3), "item"),
        (lambda x: x * x.mean().item(), "item"),
        (lambda x: x * float(x.mean()), "item"),
    ],
)
def test_what_nobody_can_know_is_guessed_and_told(function: Any, guess: str) -> None:
    result = profile_of(function, (4, 5))
    assert guess in result.guesses
    assert not result.uncounted


def test_known_places_are_exact() -> None:
    mask = torch.eye(4, dtype=torch.bool)
    for function in (lambda m: m.nonzero(), lambda m: torch.where(m)[0], lambda m: torch.arange(16.0).view(4, 4)[m]):
        result = profile_of(lambda x, m, function=function: x[: len(function(m))] * 2, (9, 1), mask)
        assert not result.estimated
        assert [c.element_wise_ops for op, c in zip(result.ops, result.costs, strict=True) if op.kind == "mul"] == [4]


def test_random_numbers_are_drawn_alike_every_time() -> None:
    def drop(x: Tensor) -> Tensor:
        for _ in range(20):
            if torch.rand(()) > 0.5:
                x = x + 1
        return x

    assert kinds(profile_of(drop, (2, 4))) == kinds(profile_of(drop, (2, 4)))


# Types and operators that nobody foresaw.


def test_fake_quantisation_is_element_wise() -> None:
    total = total_of(lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255), (2, 4))
    assert (total.element_wise_ops, total.mult_adds) == (8, 0)


@pytest.fixture(scope="module")
def mylib() -> Any:
    library = torch.library.Library("costlab_tests", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")
    library.impl("twice", torch.empty_like, "Meta")
    library.define("shapeless(Tensor x) -> Tensor")
    library.impl("shapeless", lambda x: x * 2, "CPU")
    library.define("scale_(Tensor(a!) x, Tensor by) -> ()")
    library.impl("scale_", lambda x, by: None, "CompositeExplicitAutograd")
    library.define("push(Tensor(a!) cache, Tensor x) -> Tensor")
    library.impl("push", lambda cache, x: torch.empty_like(x), "CompositeExplicitAutograd")
    yield torch.ops.costlab_tests
    library._destroy()


def test_an_operator_without_a_rule_is_uncounted_until_one_is_given(mylib: Any) -> None:
    network = Call(lambda x: mylib.twice(x) + 1)
    result = profile(network, (2, 4))
    assert result.uncounted == {"costlab_tests::twice": 1}
    assert result.graph.nodes["costlab_tests::twice"]["mult_adds"] is None
    assert result.edges() == [("costlab_tests::twice", "add")]

    def rule(op: Op) -> Cost:
        return traffic(op, mult_adds=op["x"].numel * 7)

    counted = profile(network, (2, 4), rules=RULES | {"costlab_tests::twice": rule})
    assert (counted.uncounted, counted.mult_adds) == ({}, 56)
    assert counted.total.memory_access == 16 + 16


def test_an_operator_without_a_shape_function_is_still_traced(mylib: Any) -> None:
    result = profile_of(lambda x: mylib.shapeless(x) + 1, (2, 4))
    assert only(result, "add")[0].output.shape == (2, 4)


def test_own_operators_may_write_in_place(mylib: Any) -> None:
    def scaled(x: Tensor) -> Tensor:
        y = x.exp()
        mylib.scale_(y, x)
        return y.sum()

    def pushed(x: Tensor) -> Tensor:
        cache = torch.empty_like(x)
        y = mylib.push(cache, x)
        return y.sum() + cache.mean()

    result = profile_of(scaled, (2, 4), rules=RULES | {"costlab_tests::scale": traffic})
    assert result.edges() == [("exp", "costlab_tests::scale"), ("costlab_tests::scale", "sum")]
    assert only(result, "costlab_tests::scale")[1].memory_access == 8 + 8 + 8
    readers = {b for a, b in profile_of(pushed, (2, 4)).edges() if a == "costlab_tests::push"}
    assert readers == {"sum", "mean"}


def test_a_list_written_in_place() -> None:
    def add_to_all(x: Tensor) -> Tensor:
        tensors = [x.exp(), x.sin()]
        torch._foreach_add_(tensors, 1.0)
        return tensors[0].sum()

    assert ancestors(profile_of(add_to_all, (2, 4)), "sum") == {"exp", "sin", "_foreach_add"}


def test_profiler_annotations_are_not_operators() -> None:
    def marked(x: Tensor) -> Tensor:
        with torch.profiler.record_function("part"):
            return x.exp()

    assert [op.kind for op in profile_of(marked, (2, 4)).ops] == ["exp"]


def test_a_rule_that_fails_is_named() -> None:
    def rule(op: Op) -> Cost:
        return traffic(op, mult_adds=op["weight"].numel)

    with pytest.raises(CostlabError, match=r"the cost rule of relu fails on relu: KeyError.*no input 'weight'"):
        profile(nn.ReLU(), (2, 4), rules=RULES | {"relu": rule})


def test_a_rule_for_a_composite_operator_keeps_it_whole() -> None:
    apart = profile_of(lambda x: torch.outer(x, x), (4,))
    whole = profile_of(lambda x: torch.outer(x, x), (4,), rules=RULES | {"outer": traffic})
    assert "outer" not in kinds(apart)
    assert kinds(whole) == ["outer"]


# Hooks, wrappers and compiled forms.


def test_hooks_of_the_user_run_and_survive() -> None:
    network, seen = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), []
    network[0].register_forward_hook(lambda module, args, output: seen.append(type(output)) or output * 2)
    network[1].register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    result = profile(network, (2, 4))
    assert kinds(result) == ["linear", "mul", "add", "relu"]
    assert paths(result) == ["0", "0", "1", "1"]
    assert seen == [Tensor]
    assert (len(network[0]._forward_hooks), len(network[1]._forward_pre_hooks)) == (1, 1)


IMAGE = (1, 3, 8, 8)


def image_network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 2, 1))).eval()


def compiled_in_place(network: nn.Module) -> nn.Module:
    network.compile()
    return network


@pytest.mark.parametrize(
    "wrap", [torch.compile, compiled_in_place, torch.fx.symbolic_trace], ids=["compile", "in place", "fx"]
)
def test_compiled_and_symbolic_networks_are_seen_as_they_were_written(wrap: Any) -> None:
    network = image_network()
    plain = profile(network, IMAGE)
    wrapped = profile(wrap(network), IMAGE)
    assert replace(wrapped.total, peak_bytes=plain.total.peak_bytes) == plain.total  # another forward, other variables
    assert [op.name for op in wrapped.ops] == [op.name for op in plain.ops]


@pytest.mark.parametrize("form", ["script", "trace", "export", "unflatten"])
def test_other_forms_of_a_network_cost_the_same(form: str) -> None:
    network, image = image_network(), torch.randn(IMAGE)
    plain = profile(network, IMAGE)
    if form == "script":
        other = torch.jit.script(network)
    elif form == "trace":
        other = torch.jit.trace(network, image)
    else:
        exported = torch.export.export(network, (image,))
        other = exported.module() if form == "export" else torch.export.unflatten(exported)
    result = profile(other, IMAGE)
    assert replace(result.total, peak_bytes=plain.total.peak_bytes) == plain.total  # another forward, other variables
    assert kinds(result) == kinds(plain)


@pytest.mark.parametrize("form", ["script", "trace"])
def test_layers_of_a_scripted_module_have_rows_of_their_own(form: str) -> None:
    inner = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)), nn.ReLU()).eval()
    scripted = torch.jit.script(inner) if form == "script" else torch.jit.trace(inner, torch.zeros(1, 3, 9, 9))
    network = nn.Sequential(nn.Conv2d(3, 3, 1), scripted)
    rows = profile(network, (1, 3, 9, 9)).by_module()
    plain = profile(nn.Sequential(nn.Conv2d(3, 3, 1), inner), (1, 3, 9, 9)).by_module()
    for path in ("0", "1.0", "1.1.0", "1.1.1"):
        assert (rows[path].mult_adds, rows[path].params) == (plain[path].mult_adds, plain[path].params)
    assert rows["1"].ops == 1  # which module without parameters runs an operator cannot be seen
    assert not rows[""].ops


def test_a_scripted_network_keeps_its_mode() -> None:
    network = torch.jit.script(image_network().train())
    profile(network, IMAGE)
    assert all(module.training for module in network.modules())


def test_a_train_method_of_the_network_is_left_alone() -> None:
    class Merging(nn.Linear):
        def train(self, mode: bool = True) -> nn.Module:
            self.weight.data.zero_()
            return super().train(mode)

    network = Merging(4, 4)
    weight = network.weight.detach().clone()
    profile(network, (2, 4))
    assert torch.equal(network.weight, weight)


def test_parametrised_weights_are_computed_and_counted() -> None:
    plain = nn.Linear(4, 6, bias=False)
    for wrap in (torch.nn.utils.parametrizations.weight_norm, torch.nn.utils.parametrizations.spectral_norm):
        result = profile_of(wrap(nn.Linear(4, 6, bias=False)), (2, 4))
        assert not result.uncounted
        assert only(result, "linear")[1].mult_adds == total_of(plain, (2, 4)).mult_adds
        assert result.total.unused_params == 0


def test_checkpoints_and_own_autograd_functions_are_transparent() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

    from torch.utils.checkpoint import checkpoint

    def network(x: Tensor) -> Tensor:
        return checkpoint(torch.exp, Double.apply(x), use_reentrant=False)

    computed = [kind for kind in kinds(profile_of(network, (2, 4))) if kind != "empty"]  # which torch 2.11 makes two of
    assert computed == ["mul", "exp"]


# Speed, threads and mistakes.


def test_a_network_that_no_machine_could_run_is_traced_with_real_weights() -> None:
    network = nn.Sequential(*(nn.Conv2d(256, 256, 3, padding=1) for _ in range(4)))
    result = profile(network, torch.empty(1 << 20, 256, 1024, 1024, device="meta"))
    assert result.mult_adds == 4 * 2**20 * 256 * 1024 * 1024 * 256 * 3 * 3
    assert result.total.activation_bytes == 4 * 2**20 * 256 * 1024 * 1024 * 4  # 4 PB


def test_threads_may_profile_at_once() -> None:
    def network(width: int) -> nn.Module:
        return nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.Dropout()) for _ in range(20))).train()

    networks = [network(4), network(8)]
    alone = [profile(n, (2, width)) for n, width in zip(networks, (4, 8), strict=True)]
    torch.manual_seed(7)
    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: profile(networks[i % 2], (2, (4, 8)[i % 2])), range(12)))
    assert together == alone * 6
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for n in networks for module in n.modules())


ERRORS = {
    "wrong width": (
        nn.Sequential(nn.Linear(4, 4)),
        [(2, 5)],
        r"forward fails in Sequential\.0 on input 2x5 float32: .*mat1 and mat2 shapes cannot be multiplied",
    ),
    "wrong channels": (
        nn.Conv2d(3, 4, 3),
        [(2, 4, 8, 8)],
        r"forward fails in Conv2d on input 2x4x8x8 float32: .*channels",
    ),
    "wrong rank": (nn.Conv2d(3, 4, 3), [(2, 3)], r"forward fails in Conv2d on input 2x3 float32: .*"),
    "too few": (Structured(), [], r"forward fails in Structured on no inputs: .*missing 1 required"),
    "too many": (nn.ReLU(), [(2,), (3,)], r"forward fails in ReLU on .*"),
    "lazy": (nn.Sequential(nn.LazyLinear(4)), [], r"parameters of 0 have no shape yet: call the network once"),
    "own error": (Call(lambda x: 1 / 0), [(2,)], r"forward fails in Call on .*: ZeroDivisionError: division by zero"),
    "no network": (len, [(2,)], r"model must be a torch\.nn\.Module, got builtin_function_or_method"),
    "no shape": (nn.ReLU(), [(2, 0)], r"sizes must be 1 or more, got the shape \(2, 0\)"),
}


@pytest.mark.parametrize(("network", "inputs", "message"), ERRORS.values(), ids=ERRORS)
def test_mistakes_are_reported_in_one_line(network: Any, inputs: list[Any], message: str) -> None:
    with pytest.raises(CostlabError, match=message) as caught:
        profile(network, inputs)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.slow
def test_the_failing_module_is_the_innermost() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(5, 5)))
    with pytest.raises(CostlabError, match=r"fails in Sequential\.1\.1 on input 2x4"):
        profile(network, (2, 4))


def test_modes_are_reported() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Dropout())
    assert profile(network, (2, 4)).mode == "eval"
    trained = profile(network, (2, 4), mode="train")
    assert trained.mode == "train"
    assert kinds(trained) == ["linear", "dropout"]


def test_embedding_tables_of_any_size_need_no_memory() -> None:
    with torch.device("meta"):
        network = nn.Embedding(1 << 40, 1 << 12)
    result = profile(network, indices(1, 128))
    assert result.params == 1 << 52
    assert result.total.peak_activation_bytes == 128 * 8 + 4 * 128 * (1 << 12)


# What a forward pass calls in addition to layers.


def test_autocast_over_real_weights_casts_activations_too() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.head(self.conv(x).flatten(2).transpose(1, 2))

    network = Net()
    result = profile(network, (2, 3, 8, 8))
    assert result.mult_adds == 2 * 8 * 6 * 6 * 3 * 3 * 3 + 2 * 36 * 8 * 4
    contractions = [op for op in result.ops if op.kind in ("conv2d", "linear")]
    assert (
        [op.output.dtype for op in contractions]
        == ["bfloat16"] * 2
        == [str(network(torch.ones(2, 3, 8, 8)).dtype)[6:]] * 2
    )
    with pytest.raises(CostlabError, match="forward fails"):
        profile(nn.Conv2d(3, 8, 3).half(), (2, 3, 8, 8))


def test_distributions_over_activations_are_taken_as_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", True)  # as it is until something compiles

    class Sampler(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean, self.scale = nn.Linear(8, 4), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.distributions.Normal(self.mean(x), self.scale(x).exp()).rsample()

    result = profile(Sampler(), (3, 8))
    assert result.mult_adds == 2 * 3 * 8 * 4
    assert not result.estimated
    with pytest.raises(ValueError, match="invalid"):
        torch.distributions.Normal(torch.tensor(0.0), torch.tensor(-1.0))


def test_a_spectrogram_reads_its_window_and_the_signal() -> None:
    class Spectrogram(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("window", torch.hann_window(64))

        def forward(self, x: Tensor) -> Tensor:
            return torch.stft(x, 64, 16, window=self.window, return_complex=True)

    result = profile(Spectrogram(), (2, 512))
    assert not result.uncounted
    assert result.by_module()[""].output_shape == (2, 64 // 2 + 1, 512 // 16 + 1)
    windowed, _ = only(result, "mul")
    assert [t.role for t in windowed.inputs] == ["activation", "buffer"]
    assert ancestors(result, only(result, "fft_rfft")[0].name) >= {windowed.name, "pad"}


def test_padding_costs_like_any_other_token() -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    padding = torch.arange(6) >= torch.tensor([[6], [4]])
    result = profile(nn.TransformerEncoder(layer, 2), [torch.ones(2, 6, 32)], {"src_key_padding_mask": padding})
    assert result.mult_adds == 2 * 2 * (6 * 32 * (4 * 32 + 2 * 64) + 2 * 6 * 6 * 32)
    assert not result.uncounted
    assert not result.estimated


def test_a_cache_that_is_handed_in_does_not_grow() -> None:
    class Cache:
        def __init__(self) -> None:
            self.keys = [torch.ones(2, 3, 4)]

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.key = nn.Linear(4, 4)

        def forward(self, x: Tensor, cache: Cache) -> Tensor:
            cache.keys.append(self.key(x))
            return torch.cat(cache.keys, 1)

    cache = Cache()
    (before,) = cache.keys
    result = profile(Step(), [torch.ones(2, 1, 4), cache])
    assert len(cache.keys) == 1
    assert cache.keys[0] is before
    assert [t.role for t in only(result, "cat")[0].inputs] == ["input", "activation"]
    assert result.by_module()[""].output_shape == (2, 4, 4)


def test_a_module_among_the_inputs_is_not_copied() -> None:
    class Host(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.guest = nn.Linear(4, 4)

        def forward(self, x: Tensor, layer: nn.Module) -> Tensor:
            return layer(x)

    host = Host()
    result = profile(host, [torch.ones(2, 4), host.guest])
    assert paths(result) == ["guest"]
    assert result.total.unused_params == 0


class Routed(nn.Module):
    """Tokens go to the expert that scores highest; an expert without tokens is passed over."""

    def __init__(self, chosen: Any) -> None:
        super().__init__()
        self.router = nn.Linear(4, 3)
        self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.chosen = chosen

    def forward(self, x: Tensor) -> Tensor:
        index = self.router(x).argmax(-1)
        result = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            mask = index == number
            if self.chosen(mask):
                result[mask] = expert(x[mask])
        if torch.isnan(result).any():
            raise ValueError("not a number")
        return result


@pytest.mark.parametrize(
    "chosen", [lambda m: m.any(), lambda m: m.sum() > 0, lambda m: m.count_nonzero().item() != 0], ids=range(3)
)
def test_experts_share_the_tokens_that_went_in(chosen: Any) -> None:
    result = profile(Routed(chosen), (8, 4))
    assert result.mult_adds == 8 * 4 * 3 + 8 * 4 * 4
    assert result.estimated


def test_losses_are_counted() -> None:
    def network(x: Tensor) -> Tensor:
        return F.mse_loss(x, x + 1) + F.cross_entropy(x, torch.zeros(2, dtype=torch.long))

    assert profile_of(network, (2, 4)).uncounted == {}


def test_a_parameter_that_is_made_and_thrown_away_is_not_counted():
    class Replaces(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(16, 7)

        def forward(self, x):
            other = nn.Linear(16, 7)
            other.weight, other.bias = self.linear.weight, self.linear.bias
            return other(x)

    assert profile(Replaces(), (2, 16)).params == 16 * 7 + 7
