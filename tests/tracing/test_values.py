"""A value that a network reads was computed, was given, or is a guess that marks the total as an estimate."""

from __future__ import annotations

import copy
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import torch
import torch.nn.functional as F
from helpers.calls import Call, profile_of
from helpers.canary import canary, readers
from helpers.ci_networks import TIMM, TORCHVISION, TRANSFORMERS
from helpers.transformers_families import write_config
from torch import Tensor, nn

import costlab
from costlab.errors import CostlabError
from costlab.tracing import calls
from costlab.tracing._profile import profile
from costlab.tracing.inputs import Inputs


def unknown(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """An input without values."""
    return torch.empty(shape, dtype=dtype, device="meta")


class Net(nn.Module):
    """A function of some layers and the inputs."""

    def __init__(self, function: Any, **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *args: Any) -> Any:
        return self.function(self, *args)


# Inference never touches the caller's tensors.


IN_PLACE_VIEWS = {
    "t_": lambda y: y.t_(),
    "transpose_": lambda y: y.transpose_(0, 1),
    "unsqueeze_": lambda y: y.unsqueeze_(0).squeeze_(0),
    "swapaxes_": lambda y: y.swapaxes_(0, 1),
    "squeeze_": lambda y: y.unsqueeze_(1).squeeze_(),
    "swapdims_": lambda y: torch.swapdims(y, 0, 1),
}


@pytest.mark.parametrize("change", IN_PLACE_VIEWS.values(), ids=IN_PLACE_VIEWS)
def test_an_in_place_view_is_applied_once_and_the_first_call_equals_the_second(change: Any) -> None:
    def network(self: Net, x: Tensor) -> Tensor:
        y = self.layer(x)
        z = change(y)
        return z @ z.mT

    calls.SIGNATURES.clear()
    model = Net(network, layer=nn.Linear(16, 16))
    first, second = profile(model, (2, 16)), profile(model, (2, 16))
    assert first == second
    rows, columns = network(model, torch.randn(2, 16)).shape[0], change(torch.zeros(2, 16)).shape[-1]
    assert first.mult_adds == 2 * 16 * 16 + rows * columns * rows


def test_a_short_time_fourier_transform_keeps_its_sizes_in_the_first_call() -> None:
    calls.SIGNATURES.clear()
    window = torch.hann_window(64)

    def network(self: Net, x: Tensor) -> Tensor:
        spectrum = torch.stft(x, 64, window=window, return_complex=True)
        return torch.istft(spectrum * self.mask(spectrum.abs()), 64, window=window)

    result = profile(Net(network, mask=nn.Conv1d(33, 33, 1, bias=False)), (2, 1000))
    assert result.mult_adds == 2 * (1000 // 16 + 1) * 33 * 33
    assert not result.uncounted


FRESH = """
import hashlib, sys, warnings
warnings.simplefilter("ignore")
import costlab
for name in sys.stdin.read().split():
    model, inputs = costlab.load(name)
    print(name, hashlib.sha256(costlab.profile(model, inputs).to_json().encode()).hexdigest(), flush=True)
"""


def fresh(names: list[str]) -> set[tuple[str, ...]]:
    """What one process says of each network, in this order: one pair if it always says the same."""
    run = subprocess.run(
        [sys.executable, "-c", FRESH], input=" ".join(names), capture_output=True, text=True, check=True
    )
    return {tuple(line.split()) for line in run.stdout.splitlines()}


@pytest.mark.slow
def test_the_first_call_equals_the_second_and_a_call_in_a_fresh_process(tmp_path: Path) -> None:
    """Over all networks of the tests: one process in this order, each twice, and one in the reverse order."""
    names = [f"torchvision:{name}" for name in TORCHVISION] + [f"timm:{name}" for name in TIMM]
    names += [write_config(name, tmp_path) for name in TRANSFORMERS]
    twice, other = fresh([name for name in names for _ in range(2)]), fresh(names[::-1])
    assert len(other) == len(names)
    assert twice == other


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["torchvision:raft_small", "torchvision:vit_b_16", "timm:levit_128", "zoo:mobilenet_v3_large"]
)
def test_a_process_of_its_own_says_the_same(name: str) -> None:
    model, inputs = costlab.load(name)
    digests = [hashlib.sha256(profile(model, inputs).to_json().encode()).hexdigest() for _ in range(2)]
    assert fresh([name]) == {(name, digest) for digest in digests}


# Values are known or unreadable.


READERS = {
    "tolist": lambda n: n.tolist(),
    "numpy": lambda n: list(n.numpy()),
    "item": lambda n: [v.item() for v in n],
    "int": lambda n: [int(v) for v in n],
    "array": lambda n: list(__import__("numpy").asarray(n)),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_buffer_that_an_activation_was_written_to_is_not_zero(read: Any) -> None:
    def network(self: Net, x: Tensor) -> list[Tensor]:
        lengths = torch.zeros(x.shape[0], dtype=torch.long)
        lengths[:] = (x.abs().sum(-1) > 0).sum(-1)
        return [self.layer(x[i, :n]) for i, n in enumerate(read(lengths))]

    result = profile(Net(network, layer=nn.Linear(16, 16)), (2, 7, 16))
    assert result.mult_adds == 2 * 7 * 16 * 16
    assert result.estimated


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_made_up_mask_keeps_everything_and_a_given_one_is_exact(read: Any) -> None:
    def network(self: Net, x: Tensor, mask: Tensor) -> list[Tensor]:
        return [self.layer(x[i, :n]) for i, n in enumerate(read(mask.sum(1)))]

    model = Net(network, layer=nn.Linear(16, 8))
    made_up = profile(model, [(2, 7, 16), unknown(2, 7, dtype=torch.bool)])
    assert made_up.mult_adds == 2 * 7 * 16 * 8
    assert made_up.estimated
    given = profile(model, [(2, 7, 16), torch.arange(7) < torch.tensor([[3], [5]])])
    assert given.mult_adds == (3 + 5) * 16 * 8
    assert not given.estimated


def test_what_is_known_of_an_unknown_truth_value_stays_exact() -> None:
    def network(self: Net, x: Tensor) -> Tensor:
        done = x[:, 0] > 0
        never, always = done & torch.zeros(2, dtype=torch.bool), done | torch.ones(2, dtype=torch.bool)
        none = torch.ones(2, dtype=torch.long) & ~always
        if never.any() or not always.all() or none.max() > 0:
            return x
        return self.layer(x)

    result = profile(Net(network, layer=nn.Linear(16, 16)), (2, 16))
    assert result.mult_adds == 2 * 16 * 16
    assert not result.estimated


def test_a_number_given_as_a_tensor_keeps_its_value() -> None:
    result = profile_of(lambda x, t: x @ x.mT if t > 0.5 else x, (3, 4), torch.tensor(0.75))
    assert result.mult_adds == 3 * 4 * 3
    assert not result.estimated


@pytest.mark.parametrize(("name", "model", "inputs"), list(readers()), ids=lambda v: v if isinstance(v, str) else "")
def test_totals_that_differ_with_made_up_values_are_estimates(name: str, model: nn.Module, inputs: Inputs) -> None:
    """A canary: what depends on a value nobody gave is marked, what does not is exact."""
    assert canary(model, inputs) is None
    needless = name in ("embedding", "gather", "one hot", "index", "add", "attention mask")
    assert bool(profile(model, inputs).estimated) is not needless


@pytest.mark.slow
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_networks_of_tokens_say_the_same_for_all_tokens(name: str, tmp_path: Path) -> None:
    assert canary(*costlab.load(write_config(name, tmp_path))) is None


DRAWS: dict[str, Any] = {
    "branch": lambda f, x: f(x) if torch.rand(()) < 0.5 else x,
    "mask": lambda f, x: f(x[torch.rand(6) < 0.5]),
    "bernoulli": lambda f, x: f(x[torch.bernoulli(torch.full((6,), 0.5)).bool()]),
    "length": lambda f, x: f(x[: int(torch.randint(1, 6, ()))]),
    "tolist": lambda f, x: [f(x[:n]) for n in torch.randint(1, 6, (2,)).tolist()],
    "nonzero": lambda f, x: f(x[(torch.randn(6) > 0).nonzero().flatten()]),
}
DRAWS_OF_DATA: dict[str, Any] = {
    "noise": lambda f, x: f(x + torch.randn(6, 8)),
    "order": lambda f, x: f(x[torch.randperm(6)[:3]]),
    "dropout": lambda f, x: f(F.dropout(torch.ones(6, 8))),
}


@pytest.mark.parametrize("name", [*DRAWS, *DRAWS_OF_DATA])
def test_random_numbers_that_decide_a_size_mark_the_total(name: str) -> None:
    decide = DRAWS.get(name) or DRAWS_OF_DATA[name]
    result = profile(Net(lambda self, x: decide(self.layer, x), layer=nn.Linear(8, 8)), (6, 8))
    assert bool(result.estimated) is (name in DRAWS)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_an_activation_may_be_copied(copied: Any) -> None:
    result = profile(Net(lambda self, x: self.layer(copied(self.layer(x))), layer=nn.Linear(8, 8)), (6, 8))
    assert result.mult_adds == 2 * 6 * 8 * 8
    assert nx.has_path(result.graph, *only_two(result.graph, "linear"))


def only_two(graph: nx.DiGraph, kind: str) -> list[str]:
    """The names of the two operators of a kind."""
    first, second = (name for name, op in graph.nodes.items() if op["kind"] == kind)
    return [first, second]


# Guesses.


def test_a_loop_that_waits_for_an_activation_ends() -> None:
    def network(self: Net, x: Tensor) -> Tensor:
        z, error = torch.zeros_like(x), 1.0
        while error > 1e-3:
            new = torch.tanh(self.layer(z) + x)
            error, z = (new - z).norm().item(), new
        return z

    model = Net(network, layer=nn.Linear(16, 16))
    for rounds in (5, 40):
        result = profile(model, (2, 16), max_iterations=rounds)
        assert result.mult_adds == (rounds + 1) * 2 * 16 * 16
        (loop,) = result.ended_loops
        assert (loop.rounds, loop.source.line) == (rounds, network.__code__.co_firstlineno + 4)
        assert result.estimated


LOOPS = {
    "while tensor": lambda z, step: exec_while(z, step),
    "until": lambda z, step: exec_until(z, step),
    "break": lambda z, step: exec_break(z, step),
}


def exec_while(z: Tensor, step: Any) -> Tensor:
    while z.norm() > 1e-3:
        z = step(z)
    return z


def exec_until(z: Tensor, step: Any) -> Tensor:
    while not (z.norm() < 1e-3):
        z = step(z)
    return z


def exec_break(z: Tensor, step: Any) -> Tensor:
    while True:
        z = step(z)
        if (z.abs() < 1e-3).all().item() is not False and z.max() < 0:
            return z


@pytest.mark.slow
@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_every_form_of_loop_runs_and_ends(loop: Any) -> None:
    result = profile(Net(lambda s, x: loop(x, s.layer), layer=nn.Linear(4, 4)), (2, 4), max_iterations=7)
    assert result.mult_adds >= 2 * 4 * 4
    assert result.mult_adds % (2 * 4 * 4) == 0
    assert result.estimated


def by_mask(rows: Tensor, step: Any) -> None:
    while len(rows):
        rows = rows[step(rows).sum(1) > 0]


def by_places(rows: Tensor, step: Any) -> None:
    while rows.shape[0] > 0:
        kept = torch.nonzero(step(rows).sum(1) > 0)[:, 0]
        rows = rows[kept]


def by_selection(rows: Tensor, step: Any) -> None:
    while rows.numel():
        rows = rows.masked_select(step(rows) > 0)[:4].reshape(-1, 4)


def by_unique_values(rows: Tensor, step: Any) -> None:
    while len(torch.unique(step(rows).argmax(1))) > 1:
        rows = rows * 2


def in_a_function(rows: Tensor, step: Any) -> None:
    def fewer(rows: Tensor) -> Tensor:
        return rows[step(rows).sum(1) > 0]

    while len(rows):
        rows = fewer(rows)


@pytest.mark.parametrize("loop", [by_mask, by_places, by_selection, by_unique_values, in_a_function])
def test_a_loop_ends_that_waits_for_a_size(loop: Any) -> None:
    result = profile(Net(lambda s, x: loop(x, s.layer), layer=nn.Linear(4, 4)), (5, 4), max_iterations=7)
    assert result.mult_adds >= 7 * 4 * 4
    assert result.estimated
    (ended,) = result.ended_loops
    assert ended.rounds == (7 if loop is not in_a_function else 20 * 8 - 1)


def test_a_loop_over_many_experts_is_not_ended() -> None:
    def network(self: Net, x: Tensor) -> Tensor:
        chosen = self.router(x).argmax(-1)
        for number in range(32):
            x = x.index_add(0, torch.where(chosen == number)[0], self.layer(x[chosen == number]))
        return x

    result = profile(Net(network, router=nn.Linear(4, 32), layer=nn.Linear(4, 4)), (64, 4), max_iterations=7)
    assert result.mult_adds == 64 * 4 * 32 + 64 * 4 * 4
    assert not result.ended_loops


END, ENDS = 7, (11, 12)


def exec_token(choose: Any) -> list[int]:
    said: list[int] = []
    while True:
        token = choose().item()
        if token == END:
            return said
        said.append(token)


def exec_int(choose: Any) -> list[int]:
    said: list[int] = []
    while (token := int(choose())) not in ENDS:
        said.append(token)
    return said


def exec_list(choose: Any) -> int:
    for number in range(10**6):
        if choose().tolist() == 42:
            return number
    return 0


@pytest.mark.parametrize("generate", [exec_token, exec_int, exec_list])
def test_a_loop_ends_that_waits_for_a_certain_number(generate: Any) -> None:
    def network(self: Net, x: Tensor) -> Any:
        return generate(lambda: self.layer(x).argmax())

    result = profile(Net(network, layer=nn.Linear(4, 4)), (4,), max_iterations=7)
    assert result.mult_adds == 8 * 4 * 4
    assert [end.rounds for end in result.ended_loops] == [7]


@pytest.mark.slow
def test_a_check_takes_the_branch_that_goes_on() -> None:
    def network(self: Net, x: Tensor) -> Tensor:
        y = self.layer(x)
        if y.min() < 0:
            raise ValueError("negative")
        if y.max() > 9:
            raise ValueError("large")
        torch._check(bool(y.max() < 100))
        if not y.abs().max() < 10:
            raise ValueError("large")
        return y

    result = profile(Net(network, layer=nn.Linear(16, 16)), (2, 16))
    assert result.mult_adds == 2 * 16 * 16
    assert result.estimated


# A routed set of experts counts what went in.


def experts(count: int = 8, width: int = 32) -> dict[str, nn.Module]:
    layers = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(count))
    return {"router": nn.Linear(width, count, bias=False), "experts": layers}


def by_where(self: Any, x: Tensor) -> Tensor:
    weights, chosen = self.router(x).softmax(-1).topk(2, -1)
    y = torch.zeros_like(x)
    for number, expert in enumerate(self.experts):
        token, place = torch.where(chosen == number)
        y[token] += weights[token, place, None] * expert(x[token])
    return y


def by_one_hot(self: Any, x: Tensor) -> Tensor:
    weights, chosen = self.router(x).softmax(-1).topk(2, -1)
    mask = F.one_hot(chosen, len(self.experts)).permute(2, 1, 0)
    y = torch.zeros_like(x)
    for number in torch.greater(mask.sum(dim=(-1, -2)), 0).nonzero():
        place, token = torch.where(mask[number[0]])
        y.index_add_(0, token, self.experts[number[0]](x[token]) * weights[token, place, None])
    return y


def by_bincount(self: Any, x: Tensor) -> Tensor:
    weights, chosen = self.router(x).softmax(-1).topk(2, -1)
    y = torch.zeros_like(x)
    for number, count in enumerate(torch.bincount(chosen.flatten(), minlength=len(self.experts)).tolist()):
        if count:
            token, place = torch.where(chosen == number)
            y[token] += weights[token, place, None] * self.experts[number](x[token])
    return y


def by_sorting(self: Any, x: Tensor) -> Tensor:
    _, chosen = self.router(x).softmax(-1).topk(2, -1)
    counts = chosen.new_zeros((x.shape[0], len(self.experts)))
    counts.scatter_(1, chosen, 1)
    tokens, start, outputs = x[chosen.view(-1).argsort() // 2], 0, []
    for number, count in enumerate(counts.sum(0).cpu().numpy()):
        if count:
            outputs.append(self.experts[number](tokens[start : start + count]))
            start += count
    return torch.cat(outputs)


def by_mask(self: Any, x: Tensor) -> Tensor:
    _, chosen = self.router(x).softmax(-1).topk(2, -1)
    y = torch.zeros_like(x)
    for number, expert in enumerate(self.experts):
        mask = (chosen == number).any(-1)
        if mask.any():
            y[mask] += expert(x[mask])
    return y


@pytest.mark.parametrize("tokens", [64, 50, 3])
@pytest.mark.parametrize("route", [by_where, by_one_hot, by_bincount, by_sorting, by_mask])
def test_experts_together_take_what_went_in(route: Any, tokens: int) -> None:
    result = profile(Net(route, **experts()), (tokens, 32))
    assert result.mult_adds == tokens * 32 * 8 + 2 * tokens * 32 * 32
    assert result.estimated


def of_half(self: Any, keep: Tensor, labels: Tensor) -> None:
    for label in range(len(self.experts) // 2):
        keep[torch.where(labels == label)[0]] = True


def of_half_by_mask(self: Any, keep: Tensor, labels: Tensor) -> None:
    for label in range(len(self.experts) // 2):
        keep[labels == label] = True


def of_half_together(self: Any, keep: Tensor, labels: Tensor) -> None:
    for label in range(len(self.experts) // 2):
        keep |= labels == label


def of_all_labels(self: Any, keep: Tensor, labels: Tensor) -> None:
    for label in labels.unique():
        keep[(labels == label).nonzero().flatten()] = True


@pytest.mark.parametrize(
    ("choose", "kept"), [(of_half, 32), (of_half_by_mask, 32), (of_half_together, 32), (of_all_labels, 64)]
)
def test_a_mask_filled_by_several_choices_has_the_places_of_all(choose: Any, kept: int) -> None:
    def network(self: Any, x: Tensor) -> Tensor:
        keep = torch.zeros(len(x), dtype=torch.bool)
        choose(self, keep, self.router(x).argmax(-1))
        result: Tensor = self.experts[0](x[keep])
        return result

    result = profile(Net(network, **experts()), (64, 32))
    assert result.mult_adds == 64 * 32 * 8 + kept * 32 * 32
    assert result.estimated


def test_labels_that_a_network_makes_have_one_of_their_unique_values_each() -> None:
    def network(self: Any, x: Tensor) -> list[Tensor]:
        labels = (x.sum(-1) * 8).long()
        return [self.experts[0](x[labels == label]) for label in labels.unique()]

    assert profile(Net(network, **experts()), (64, 32)).mult_adds == 64 * 32 * 32


def test_one_expert_a_token() -> None:
    def network(self: Any, x: Tensor) -> Tensor:
        best, chosen = self.router(x).max(-1)
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            token = (chosen == number).nonzero(as_tuple=True)[0]
            if token.numel():
                y[token] = expert(x[token]) * best[token, None]
        return y

    assert profile(Net(network, **experts()), (64, 32)).mult_adds == 64 * 32 * 8 + 64 * 32 * 32


# Size.


def test_constants_of_any_size_take_no_memory() -> None:
    def network(x: Tensor) -> Tensor:
        torch.empty(64, 32, 131072, 128)
        distance = torch.arange(131072)[:, None] - torch.arange(131072)[None]
        torch.ones(131072, 131072, dtype=torch.bool).tril()
        return x.sum() + (distance >= 0).sum()

    assert not profile_of(network, (2, 4)).uncounted


def test_deep_networks_do_not_reach_the_recursion_limit() -> None:
    model: nn.Module = nn.Linear(4, 4)
    for _ in range(240):
        model = nn.Sequential(model)
    assert profile(model, (2, 4)).mult_adds == 2 * 4 * 4


def by_ends(self: Any, x: Tensor) -> Tensor:
    chosen = self.router(x).softmax(-1).topk(2, -1).indices
    order, y, start = chosen.view(-1).argsort(), torch.zeros_like(x), 0
    for number, end in enumerate(chosen.view(-1).bincount().cpu().numpy().cumsum(0)):
        tokens = order[start:end] // 2
        y.scatter_reduce_(0, tokens[:, None].repeat(1, 32), self.experts[number](x[tokens]), reduce="sum")
        start = end
    return y


def test_there_are_as_many_bins_as_experts() -> None:
    result = profile(Net(by_ends, **experts()), (64, 32))
    assert result.mult_adds == 64 * 32 * 8 + 2 * 64 * 32 * 32
    assert result.estimated


def test_each_element_has_one_of_the_unique_values() -> None:
    def network(self: Net, x: Tensor, segments: Tensor) -> Tensor:
        return torch.stack([self.layer(x[segments == k]).mean(0) for k in segments.unique()])

    result = profile(Net(network, layer=nn.Linear(16, 16)), [(14, 16), unknown(14, dtype=torch.long)])
    assert result.mult_adds == 14 * 16 * 16
    assert result.estimated


@pytest.mark.slow
def test_a_loop_ends_even_if_only_another_answer_from_the_start_ends_it() -> None:
    def network(self: Net, x: Tensor) -> Tensor:
        time, step = 0.0, 0.1
        while time < 1.0:
            error = self.layer(x).abs().max().item()
            if error < 1e-2:
                time += step
                step *= 1.5
            else:
                step *= 0.5
        return x

    result = profile(Net(network, layer=nn.Linear(4, 4)), (2, 4), max_iterations=20)
    steps = 5  # 0.1 + 0.15 + 0.225 + 0.3375 + 0.50625
    assert result.mult_adds == steps * 2 * 4 * 4
    assert result.estimated


@pytest.mark.slow
def test_a_loop_that_no_answer_ends_is_one_line_that_says_where() -> None:
    def network(self: Net, x: Tensor) -> Tensor:
        while True:
            x = self.layer(x)
            if x.sum() > 0:
                x = -x

    line = network.__code__.co_firstlineno + 3
    with pytest.raises(CostlabError, match=rf"forward does not end: .*test_values.py:{line} reads a value"):
        profile(Net(network, layer=nn.Linear(4, 4)), (2, 4), max_iterations=4)


def test_a_break_or_return_waits_until_the_loop_ends_by_itself() -> None:
    def until_all_done(self: Net, x: Tensor) -> Tensor:
        while True:
            x = torch.cat([x, self.layer(x[-1:])])
            if (x.argmax(-1) == 3).all() or x.shape[0] >= 12:
                break
        return x

    def unless_converged(self: Net, x: Tensor) -> Tensor:
        for _ in range(10):
            x = self.layer(x)
            if (x < 0).all():
                return x
        return x

    for network in (until_all_done, unless_converged):
        result = profile(Net(network, layer=nn.Linear(4, 4)), (2, 4))
        rows = 10 if network is until_all_done else 10 * 2
        assert result.mult_adds == rows * 4 * 4
        assert result.estimated


# Parameters that come late.


def test_layers_made_in_forward_have_parameters() -> None:
    def network(self: Net, x: Tensor) -> Tensor:
        hidden = self.layer(x)
        return nn.Linear(hidden.shape[1], 10)(hidden)

    def lazily(self: Net, x: Tensor) -> Tensor:
        return nn.LazyLinear(10)(self.layer(x))

    for forward in (network, lazily):
        result = profile(Net(forward, layer=nn.Linear(16, 16)), (2, 16))
        assert (result.mult_adds, result.params) == (2 * 16 * 16 + 2 * 16 * 10, 272 + 170)


def test_lazy_modules_are_counted_and_stay_lazy() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(5))
    result = profile(model, (2, 3, 8, 8))
    assert result.mult_adds == 2 * 36 * 4 * 27 + 2 * 144 * 5
    assert result.params == 4 * 27 + 4 + 8 + 144 * 5 + 5
    assert [m.type for m in result.trace.modules] == ["Sequential", "Conv2d", "BatchNorm2d", "Flatten", "Linear"]
    assert all("Lazy" in type(model[i]).__name__ for i in (0, 1, 3))


class Picture:
    """What a loader of images returns."""

    def __init__(self) -> None:
        self.size = (8, 8)


def test_objects_of_any_type_go_through() -> None:
    def network(x: Tensor, *rest: Any) -> Tensor:
        sizes, mode, nothing, picture = rest
        assert nothing is None
        return F.interpolate(x, sizes, mode=mode)[..., : picture.size[0], : picture.size[1]].sum()

    result = profile(Call(network), [torch.zeros(1, 3, 4, 4), (16, 16), "nearest", None, Picture()])
    assert result.by_module()[""].ops
    assert profile(Call(network), [(1, 3, 4, 4), (16, 16), "nearest", None, Picture()]).total == result.total


def test_a_tuple_is_a_shape_or_an_argument_as_forward_needs_it() -> None:
    layer = nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, bias=False)
    expected = 16 * 8 * 8 * 8 * 9
    for inputs in (
        [(1, 16, 8, 8), (16, 16)],
        [costlab.shape(1, 16, 8, 8), (16, 16)],
        [torch.zeros(1, 16, 8, 8), [16, 16]],
    ):
        assert profile(layer, inputs).mult_adds == expected
    assert profile(layer, [(1, 16, 8, 8)], {"output_size": (16, 16)}).mult_adds == expected
    assert profile(nn.Bilinear(4, 4, 3), [(2, 4), (2, 4)]).mult_adds == 2 * 3 * 4 * 4 + 2 * 3 * 4


def test_a_shape_has_a_spelling_of_its_own() -> None:
    assert profile(nn.Linear(4, 5), costlab.shape(2, 4)).total == profile(nn.Linear(4, 5), (2, 4)).total
    tokens = profile(nn.Embedding(9, 4), costlab.shape(2, 7, dtype="int64"))
    assert [(i.shape, i.dtype) for i in tokens.trace.inputs] == [((2, 7), "int64")]
    scaled = profile_of(lambda x, t: x * t, (2, 4), costlab.shape())
    assert [i.shape for i in scaled.trace.inputs] == [(2, 4), ()]
    for arguments in ({"dtype": "int5"}, {}):
        with pytest.raises(CostlabError, match=r"unknown dtype 'int5'|sizes must be 1 or more, got the shape \(0,\)"):
            costlab.shape(0, **arguments)
