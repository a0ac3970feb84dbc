"""Replayed operators compute what the network computed, and their times are separate, with any clock."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import costlab
from costlab.core.cost import RULES
from costlab.errors import CostlabError
from costlab.measurement.operator_timing import Call, EventStopwatch, HostStopwatch, filled, matched, play, recorded


class Branches(nn.Module):
    """Views, in-place operators, a functional call, a list of tensors, a tensor made inside."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        a, b = self.norm(self.conv(x)).relu_().chunk(2, 1)
        y = torch.cat([a + 1, b * torch.full((1,), 2.0)], 1)
        return self.head(y.mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.lstm = nn.LSTM(16, 16, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(16, 2, batch_first=True)

    def forward(self, tokens):
        return self.encoder(self.lstm(self.embedding(tokens))[0]).argmax(-1)


CASES = {
    "branches": (Branches, lambda: torch.randn(2, 4, 6, 6)),
    "recurrent": (Recurrent, lambda: torch.randint(0, 50, (2, 7))),
}


class Results(HostStopwatch):
    """Counts what is timed."""

    def __init__(self):
        super().__init__(itertools.count().__next__)


def taped(model, x):
    with torch.inference_mode():
        return recorded(lambda: model(x), RULES)


def paid(ops):
    """Names of the operators that are not free: tracing without data adds views of its own."""
    return [op.name for op in ops if op is not None and not op.free]


@pytest.fixture(params=CASES)
def case(request):
    torch.manual_seed(0)
    build, given = CASES[request.param]
    return build().eval(), given()


def test_the_recording_has_the_operators_of_the_profile_in_order(case):
    model, x = case
    profile = costlab.profile(model, x)
    assert paid(matched(taped(model, x), profile.ops)) == paid(profile.ops)


def test_played_calls_give_what_the_network_gives(case):
    model, x = case
    calls = taped(model, x)
    last = calls[-1]
    seen = []

    def watched(*args, **kwargs):
        seen.append(last.func(*args, **kwargs))
        return seen[-1]

    calls[-1] = Call(last.signature, watched, last.args, last.kwargs, last.made, last.released)
    with torch.inference_mode():
        for _ in range(2):  # in-place operators start from fresh values each time
            play(calls, [True] * len(calls), Results())
        expected = model(x)
    for result in seen:
        assert torch.allclose(result.double(), expected.double(), atol=1e-5)


def test_every_result_is_let_go_as_the_network_does(case):
    model, x = case
    calls = taped(model, x)
    made = [slot for call in calls for slot in call.made if slot is not None]
    released = [slot for call in calls for slot in call.released]
    assert sorted(made) == sorted(released)
    assert len(set(made)) == len(made)
    born = {slot: i for i, call in enumerate(calls) for slot in call.made if slot is not None}
    assert all(born[slot] <= i for i, call in enumerate(calls) for slot in call.released)


def test_what_a_recording_keeps_alive_is_not_an_activation():
    model, x = Branches().eval(), torch.randn(2, 4, 6, 6)
    kept = {id(t) for call in taped(model, x) for t in tensors(call.args)}
    assert kept <= {id(t) for t in (x, *model.parameters(), *model.buffers())}


def tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for member in value for t in tensors(member)] if type(value) in (list, tuple) else []


def test_only_the_timed_calls_have_seconds():
    model, x = Branches().eval(), torch.randn(2, 4, 6, 6)
    calls = taped(model, x)
    timed = [position % 2 == 0 for position in range(len(calls))]
    with torch.inference_mode():
        assert play(calls, timed, Results()) == [1] * sum(timed)


def test_operators_that_a_run_leaves_out_match_none_and_shift_no_other():
    model, x = Branches().eval(), torch.randn(2, 4, 6, 6)
    profile, calls = costlab.profile(model, x), taped(model, x)
    names = paid(profile.ops)
    for left_out in names:
        kept = [op for op in profile.ops if op.name != left_out]
        assert paid(matched(calls, kept)) == [name for name in names if name != left_out]
    whole = matched(calls, profile.ops)
    for i in range(len(calls)):
        fewer = matched(calls[:i] + calls[i + 1 :], profile.ops)
        assert paid(fewer) == paid(whole[:i] + whole[i + 1 :])


def test_casts_of_an_operator_match_in_any_order():
    """Autocast casts the arguments of a call in C++, where the compiler chooses the order: GCC takes the last first."""
    profile = costlab.profile(Branches().eval(), (2, 4, 6, 6), amp=True)
    runs = [list(run) for _, run in itertools.groupby(profile.ops, lambda op: op.kind == "to")]
    assert max(map(len, runs)) > 2
    made = [op for run in runs for op in (reversed(run) if run[0].kind == "to" else run)]
    calls = [Call((op.kind, tuple(t.shape for t in op.inputs)), None, (), {}, ()) for op in made]
    assert matched(calls, profile.ops) == made


def test_user_memory_is_the_same_after_recording():
    model, x = Branches().eval(), torch.randn(2, 4, 6, 6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fused = torch.backends.mha.get_fastpath_enabled()
    state = torch.get_rng_state()
    taped(model, x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.backends.mha.get_fastpath_enabled() == fused
    assert torch.equal(torch.get_rng_state(), state)


def test_a_call_that_fails_the_second_time_is_one_clear_error():
    answers = iter([torch.ones(2)])

    def once():
        for answer in answers:
            return answer
        raise RuntimeError("no more")

    call = Call(("mylib::once", ()), once, (), {}, (0,), [0])
    play([call], [True], Results())
    with pytest.raises(CostlabError, match="mylib::once cannot be replayed: no more"):
        play([call], [True], Results())


def test_slots_are_filled_wherever_they_stand():
    from costlab.measurement.operator_timing import Slot

    held = {3: torch.ones(1)}
    args = (Slot(3), [Slot(3), 2], {"x": Slot(3)}, "word", None)
    one, (two, number), mapping, word, nothing = filled(args, held)
    assert one is two is mapping["x"] is held[3]
    assert (number, word, nothing) == (2, "word", None)


class Queue:
    """A device that runs what is queued for it only when it is waited for."""

    def __init__(self, costs):
        self.costs = iter(costs)
        self.now = 0.0
        self.waited = 0

    def event(self):
        queue = self

        class Event:
            def record(self):
                self.at = queue.now = queue.now + next(queue.costs)

            def elapsed_time(self, end):
                assert queue.waited, "read before the device was done"
                return end.at - self.at

        return Event()

    def synchronise(self):
        self.waited += 1


def test_events_give_seconds_from_milliseconds_and_wait_once():
    queue = Queue([0, 5, 100, 7])
    watch = EventStopwatch(queue.event, queue.synchronise)
    for _ in range(2):
        watch.start()
        watch.stop()
    assert watch.seconds() == pytest.approx([0.005, 0.007])
    assert queue.waited == 1
    assert watch.seconds() == []
