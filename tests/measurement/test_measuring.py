"""`costlab measure`: results match the network and add up; errors and Ctrl-C are handled."""

from __future__ import annotations

import json
import math
import mmap
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import costlab
from costlab.cli import run
from costlab.core.cost import RULES
from costlab.core.graph import InputInfo
from costlab.core.memory import eager_activation_bytes
from costlab.errors import CostlabError
from costlab.measurement import _measure, environment, workload
from costlab.measurement._measure import measure
from costlab.measurement.memory import page_faults
from costlab.measurement.operator_timing import recorded
from costlab.measurement.result import Measurement, Timing
from costlab.measurement.timing import time_in_turns
from costlab.measurement.workload import largest_batch, prepare_model
from costlab.reports import timings as report
from costlab.tracing.inputs import Inputs

QUICK = {"min_seconds": 0.005, "threads": 1}
CODE = """
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))

def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
"""


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 2))


SHAPE = (2, 3, 6, 6)


@pytest.fixture(scope="module")
def measurement():
    return measure(network(), SHAPE, arguments={"width": 0.5}, **QUICK)


@pytest.fixture
def console(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = run(["measure", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


# The measurement.


def test_every_operator_that_is_not_free_has_a_time(measurement):
    profile = costlab.profile(network(), SHAPE)
    assert set(measurement.ops) == {op.name for op in profile.ops if not op.free}
    assert measurement.left_out == ()


def test_a_network_of_nothing_but_slow_operators_has_little_overhead():
    """The replayed operators account for the wall time of the whole, which is timed independently."""
    slow = nn.Sequential(*(nn.Linear(768, 768) for _ in range(4)))
    found = measure(slow, (512, 768), min_seconds=0.3, threads=1)
    whole, parts = min(found.whole.seconds), sum(min(timing.seconds) for timing in found.ops.values())
    assert 0.5 * whole < parts < 1.5 * whole  # at their fastest: other programs may slow down the medians


def test_the_measurement_says_what_was_measured(measurement):
    assert measurement.name == "Sequential"
    assert (measurement.device, measurement.dtype, measurement.batch, measurement.threads) == ("cpu", "float32", 2, 1)
    assert measurement.inputs == (InputInfo("input", SHAPE, "float32"),)
    ways = measurement.amp, measurement.channels_last, measurement.compiled, measurement.interrupted
    assert not any(ways)
    assert measurement.environment["torch"] == torch.__version__


def test_joined_nodes_carry_their_own_time_and_free_ones_none(measurement):
    profile = costlab.profile(network(), SHAPE)
    graph = measurement.join(profile)
    for op in profile.ops:
        expected = None if op.free else measurement.ops[op.name].median
        assert graph.nodes[op.name]["measured_seconds"] == expected
        assert "measured_seconds" not in profile.graph.nodes[op.name]
    assert list(graph.edges) == list(profile.graph.edges)


def test_another_network_is_not_joined(measurement):
    with pytest.raises(CostlabError, match="another network"):
        measurement.join(costlab.profile(nn.Linear(3, 2), (1, 3)))


@pytest.mark.parametrize("training", [True, False])
def test_the_network_and_its_inputs_are_left_as_they_were(training):
    model, x = network().train(training), torch.randn(SHAPE)
    model[0] = nn.ReLU(inplace=True)  # writes to its input
    model[1] = nn.BatchNorm2d(3)
    model[4] = nn.Linear(108, 2)
    before, given = {k: v.clone() for k, v in model.state_dict().items()}, x.clone()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    measure(model, x, dtype="bfloat16", channels_last=True, **QUICK)
    measure(model, x, **QUICK)
    assert model.training == training
    assert all(torch.equal(v, before[k]) and v.dtype == before[k].dtype for k, v in model.state_dict().items())
    assert torch.equal(x, given)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not any("_compiled_call_impl" in vars(m) for m in model.modules())


def test_it_runs_in_eval_mode_without_gradients():
    seen = set()

    class Watched(nn.Module):
        def forward(self, x):
            seen.add((self.training, torch.is_inference_mode_enabled()))
            return x + 1

    measure(Watched().train(), torch.ones(3), ops=False, **QUICK)
    assert (False, True) in seen
    assert not any(training for training, _ in seen)


def test_jagged_inputs_are_measured():
    rows = torch.nested.nested_tensor([torch.randn(5, 16), torch.randn(9, 16)], layout=torch.jagged)
    assert measure(nn.Linear(16, 8), [rows], min_seconds=0.01).whole.median > 0


def test_dtype_and_layout_reach_weights_and_inputs():
    seen = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3)

        def forward(self, x):
            seen.append((x.dtype, x.is_contiguous(memory_format=torch.channels_last), self.conv.weight.dtype))
            return self.conv(x)

    result = measure(Watched(), (2, 8, 6, 6), dtype="bfloat16", channels_last=True, **QUICK)
    assert result.dtype == "bfloat16"
    assert set(seen) == {(torch.bfloat16, True, torch.bfloat16)}


def test_under_autocast_the_casts_are_operators_too():
    result = measure(network(), SHAPE, amp=True, **QUICK)
    assert result.amp
    assert result.dtype == "float32"
    assert {"0/conv2d", "0/to"} <= set(result.ops)


def test_the_profile_of_a_run_on_a_gpu_has_the_casts_of_a_gpu():
    """Without data, torch's own autocast would leave layer norm in the lower precision."""
    model, device = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8)), torch.device("cuda")
    found = workload.traced(model, Inputs((torch.empty(2, 8),), {}), device, True, "eval", {})
    expected = costlab.profile(model, (2, 8), amp=True)
    assert [(op.name, op.inputs) for op in found.ops] == [(op.name, op.inputs) for op in expected.ops]
    assert next(op for op in found.ops if op.kind == "layer_norm").outputs[0].dtype == "float32"


def test_a_network_without_weights_is_given_finite_ones():
    with torch.device("meta"):
        model = nn.Sequential(*(layer for _ in range(40) for layer in (nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())))
    model.append(nn.BatchNorm2d(4, device="meta"))
    subject = prepare_model(model, torch.device("cpu"), None, False).eval()
    assert all(p.is_meta for p in model.parameters())
    y = subject[:-1](torch.randn(2, 4, 8, 8))
    assert 1e-6 < y.std() < 1e6
    assert subject[-1].running_var.min() > 0.5
    assert measure(model, (2, 4, 8, 8), **QUICK).left_out == ()


def test_tied_weights_stay_tied_in_the_copy():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    subject = prepare_model(model, torch.device("cpu"), None, False)
    assert subject[1].weight is subject[0].weight


def test_a_network_that_needs_no_change_is_not_copied():
    model = network()
    assert prepare_model(model, torch.device("cpu"), torch.float32, False) is model


def test_operators_that_a_warm_network_skips_are_named():
    class Caches(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = {}

        def forward(self, x):
            if "bias" not in self.table:
                self.table["bias"] = x.exp()
            return x + self.table["bias"]

    model = Caches()
    result = measure(model, (4, 4), **QUICK)
    assert set(result.ops) == {"add"}
    assert result.left_out == ("exp",)
    assert model.table == {}


def test_compiled_networks_have_a_whole_and_no_operators(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model: model)
    result = measure(network(), SHAPE, compile=True, **QUICK)
    assert result.compiled
    assert result.ops == {}
    assert result.parts_seconds is result.overhead_seconds is None


def test_a_compiled_network_is_recognised():
    model = torch.compile(network(), backend="eager")
    result = measure(model, SHAPE, **QUICK)
    assert result.compiled
    assert result.ops == {}


def test_without_a_compiler_the_error_is_one_line(monkeypatch):
    def fails(model):
        raise RuntimeError("no g++ here\nand much more")

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(CostlabError, match=r"^Sequential cannot be compiled on cpu: RuntimeError: no g\+\+ here$"):
        measure(network(), SHAPE, compile=True, **QUICK)


def test_progress_grows_to_one():
    parts = []
    measure(network(), SHAPE, progress=lambda words, part: parts.append(part), **QUICK)
    assert parts == sorted(parts)
    assert parts[-1] == 1.0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"device": "abacus"}, "unknown device 'abacus'; use cpu, cuda, cuda:1 or mps"),
        ({"device": "meta"}, "cannot measure on meta; use cpu, cuda or mps"),
        ({"dtype": "int8"}, "int8 is not a floating-point type"),
        ({"dtype": "nonsense"}, "nonsense is not a floating-point type"),
        ({"threads": 0}, "threads must be 1 or more, got 0"),
        ({"min_seconds": 0.0}, "must be finite and greater than 0"),
        ({"min_seconds": math.nan}, "must be finite and greater than 0"),
        ({"min_seconds": math.inf}, "must be finite and greater than 0"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_error(wrong, says):
    with pytest.raises(CostlabError) as error:
        measure(network(), SHAPE, **{**QUICK, **wrong})
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_device_that_is_not_there_says_why(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(CostlabError, match="no CUDA device: this torch was built without CUDA"):
        measure(network(), SHAPE, device="cuda")
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(CostlabError, match="no device cuda: torch sees no GPU"):
        measure(network(), SHAPE, device="cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Abacus 9000")
    with pytest.raises(CostlabError, match=r"no device cuda:3: torch sees cuda:0 \(Abacus 9000\)"):
        measure(network(), SHAPE, device="cuda:3")


# Memory.


@given(st.integers(1, 10**6), st.integers(0, 10**6))
def test_the_largest_batch_fits_and_lies_within_a_sixteenth(batch, room):
    room = min(room, batch - 1)
    tried = []
    best = largest_batch(lambda n: (tried.append(n), n <= room)[1], batch)
    assert best <= room <= best + max(1, best // 16)
    assert len(tried) <= 2 * math.log2(batch) + 6
    assert all(0 < n < batch for n in tried)


def test_too_large_for_memory_is_found_before_it_is_tried(monkeypatch):
    one = eager_activation_bytes(costlab.profile(network(), (1, 3, 6, 6)).trace)
    monkeypatch.setattr(workload, "free_memory", lambda: 10 * one)
    with pytest.raises(CostlabError, match="on cpu at batch 1,000,000: about 10 is the largest batch that fits"):
        measure(network(), (10**6, 3, 6, 6), **QUICK)
    monkeypatch.setattr(workload, "free_memory", lambda: one - 1)
    with pytest.raises(CostlabError, match="not even a batch of 1 fits"):
        measure(network(), SHAPE, **QUICK)


def test_a_device_that_runs_out_of_memory_is_tried_with_less():
    class Hungry(nn.Module):
        def forward(self, x):
            if x.shape[0] > 5 and torch.is_inference_mode_enabled():  # measured, not traced
                raise torch.OutOfMemoryError("CUDA out of memory")
            return x.relu()

    with pytest.raises(CostlabError, match="at batch 64: about 5 is the largest batch that fits"):
        measure(Hungry(), (64, 3), **QUICK)


def test_weights_too_large_to_copy_are_refused(monkeypatch):
    monkeypatch.setattr(workload, "free_memory", lambda: 1000)
    with pytest.raises(CostlabError, match=r"the weights need 4\.004 MB of memory, but only 1\.000 kB are free"):
        prepare_model(nn.Linear(1000, 1000, device="meta"), torch.device("cpu"), None, False)


# Interruptions.


def interrupted_at(report):
    """A progress that raises Ctrl-C at its n-th update."""
    told = iter(range(report))

    def progress(words, part):
        if next(told, None) is None:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("report", [1, 2, 3])
def test_ctrl_c_keeps_what_was_measured(report):
    model, x = nn.Linear(64, 64).eval(), torch.randn(8, 64)
    with torch.inference_mode():
        calls = recorded(lambda: model(x), RULES)
        times = time_in_turns(lambda: model(x), calls, [True], torch.device("cpu"), 0.15, interrupted_at(report))
    assert times.interrupted
    assert times.whole
    assert times.number >= 1
    assert bool(times.ops[0]) == (report > 1)


def test_what_is_to_take_no_longer_than_one_repeat_has_one_turn():
    steps = []
    time_in_turns(lambda: None, [], [], torch.device("cpu"), 0.05, lambda step, fraction: steps.append(step))
    assert steps == ["timing the whole network", "done"]


def test_ctrl_c_before_anything_was_measured_ends_it():
    with pytest.raises(KeyboardInterrupt):
        time_in_turns(lambda: None, [], [], torch.device("cpu"), 0.005, interrupted_at(0))


def test_new_memory_in_every_run_is_counted_in_pages():
    size = 1 << 26

    def write(memory):
        memory[::4096] = bytes(size // 4096)

    def anew():
        with mmap.mmap(-1, size) as memory:
            write(memory)

    kept = mmap.mmap(-1, size)
    write(kept)
    assert page_faults(anew, torch.device("cpu")) >= 32  # if all pages are huge: of 2 MB
    assert page_faults(lambda: write(kept), torch.device("cpu")) < 32
    assert page_faults(anew, torch.device("cuda")) is None


def test_many_page_faults_are_shown_with_their_cure(measurement):
    lines = {fact.label: fact.value for fact in report.facts(replace(measurement, page_faults=3373))}
    assert lines["page faults"].startswith("3,373 a run")
    assert "MALLOC_TRIM_THRESHOLD_" in lines["page faults"]
    assert "page faults" not in {fact.label for fact in report.facts(replace(measurement, page_faults=20))}


# Plain data.

times = st.lists(st.floats(0, 1e6), min_size=1, max_size=9).map(tuple)
measured = st.builds(
    Measurement,
    name=st.text(),
    provider=st.text(),
    arguments=st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())),
    device=st.text(),
    dtype=st.text(),
    amp=st.booleans(),
    page_faults=st.none() | st.integers(0, 2**40),
    channels_last=st.booleans(),
    compiled=st.booleans(),
    threads=st.integers(1, 99),
    batch=st.integers(0, 99),
    inputs=st.lists(st.builds(InputInfo, st.text(), st.lists(st.integers(0, 9)).map(tuple), st.text()), max_size=9).map(
        tuple
    ),
    whole=st.builds(Timing, times, st.integers(1, 1000)),
    ops=st.dictionaries(st.text(), st.builds(Timing, times), max_size=40),
    left_out=st.lists(st.text(), max_size=9).map(tuple),
    environment=st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()),
    interrupted=st.booleans(),
)


@given(measured)
def test_json_has_everything(one):
    assert Measurement.from_json(one.to_json()) == one


@given(times)
def test_half_of_the_times_lie_between_the_quartiles(seconds):
    timing = Timing(seconds)
    assert min(seconds) <= timing.median <= max(seconds)
    assert 0 <= timing.iqr <= max(seconds) - min(seconds) + 1e-9


@pytest.mark.parametrize("bad", [(), (-1.0,)])
def test_a_timing_has_times(bad):
    with pytest.raises(ValueError, match="at least one repeat"):
        Timing(bad)


HOSTILE = {
    "nothing": "",
    "no object": "[]",
    "another version": '{"schema_version": 2}',
    "a truth value for a version": '{"schema_version": true}',
    "no members": '{"schema_version": 1}',
    "deep": "[" * 100_000,
    "deep values": '{"schema_version": 1, "ops": ' + "[" * 5000 + "]" * 5000 + "}",
    "huge number": '{"schema_version": 1, "batch": ' + "9" * 5000 + "}",
}
CHANGES = [
    ("threads", "1"),
    ("threads", None),
    ("amp", 1),
    ("batch", 1.5),
    ("whole", {"seconds": []}),
    ("whole", {"seconds": [math.nan]}),
    ("whole", {"seconds": [-1.0]}),
    ("whole", {"seconds": [1.0], "number": 0}),
    ("whole", []),
    ("ops", {}),
    ("ops", [{"seconds": [1.0]}]),
    ("ops", [{"name": "a", "seconds": [1.0]}] * 2),
    ("inputs", [{"name": "x"}]),
    ("environment", {"cpu": ["x"]}),
    ("surprise", 1),
]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_anything_else_is_not_a_measurement(text):
    with pytest.raises(CostlabError, match=r"^not a costlab measurement: "):
        Measurement.from_json(text)


@pytest.mark.parametrize(("key", "value"), CHANGES)
def test_a_document_with_a_wrong_part_names_it(measurement, key, value):
    document = {**json.loads(measurement.to_json()), key: value}
    with pytest.raises(CostlabError, match=f"^not a costlab measurement: .*{'name|operator' if key == 'ops' else key}"):
        Measurement.from_json(json.dumps(document))


# Reports.


@given(measured, st.sampled_from(["kind", "module", "op"]), st.none() | st.integers(1, 5))
def test_rows_sum_to_the_parts(one, by, top):
    rows = report.rows_by(one, by)
    assert math.fsum(row.seconds for row in rows) == pytest.approx(one.parts_seconds or 0.0)
    assert sum(row.ops for row in rows) == len(one.ops)
    names, ops, *_ = report.table(one, by, top).columns
    assert sum(map(int, ops.cells)) == int(ops.total) == len(one.ops)
    assert top is None or len(names.cells) <= top + 1


@pytest.mark.parametrize("by", ["kind", "module", "op"])
@pytest.mark.parametrize("width", [40, 60, 100])
def test_lines_fit_the_width(measurement, by, width):
    from rich.console import Console

    console = Console(width=width)
    with console.capture() as capture:
        console.print(report.page(measurement, by, None).text(width))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.startswith("total") for line in lines) == 1


def test_names_stay_text(measurement):
    hostile = "<script>\x1b[31m"
    named = replace(measurement, name=hostile, ops={f"{hostile}/conv2d": Timing((1.0,))}, left_out=(hostile,))
    html = named._repr_html_()
    assert "<script>" not in html
    assert "\x1b" not in html


def test_reports_say_what_is_missing(measurement):
    whole = Timing((1.0, 2.0, 3.0))
    bad = replace(measurement, whole=whole, interrupted=True, left_out=("a", "b"))
    labels = {fact.label: fact.value for fact in report.facts(bad)}
    assert labels.keys() >= {"NOISY", "INTERRUPTED", "NOT TIMED"}
    assert labels["NOT TIMED"] == "a, b"


# The machine.


def test_facts_of_the_machine_are_plain_data():
    facts = environment.environment(torch.device("cpu"))
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["torch"] == torch.__version__


def test_a_system_that_tells_nothing_gives_none(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(environment, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(environment.platform, "processor", lambda: "")
    monkeypatch.setattr(environment.platform, "system", lambda: "Linux")
    assert environment.cpu_name() is environment.cpu_hertz() is environment.free_memory() is None


def test_the_system_is_read_as_it_writes(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Abacus 9000\ncpu MHz\t\t: 2600.5\n")
    (tmp_path / "meminfo").write_text("MemTotal:  99 kB\nMemAvailable:    12 kB\n")
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(environment, "MEMINFO", tmp_path / "meminfo")
    assert environment.cpu_name() == "Abacus 9000"
    assert environment.cpu_hertz() == 2600.5e6
    assert environment.free_memory() == 12 * 1024


# The command.

ASKED = ("mine.py:net", "--input", "2,3,8,8", "--min-seconds", "0.005", "--threads", "1")


@pytest.mark.parametrize("by", ["kind", "module", "op"])
def test_the_command_shows_whole_parts_and_overhead(console, by):
    code, out, err = console(*ASKED, "--by", by)
    assert code == 0
    assert err == ""
    labels = [line.split(" ")[0] for line in out.splitlines()]
    assert {"input", "device", "whole", "parts", "overhead", by, "total"} <= set(labels)


def test_json_of_the_command_is_a_measurement_that_joins_its_profile(console, tmp_path):
    code, out, _ = console(*ASKED, "--format", "json", "-o", "m.json")
    assert (code, out) == (0, "")
    read = Measurement.from_json((tmp_path / "m.json").read_text())
    from costlab.models import ModelSpec, profile_of

    graph = read.join(profile_of(ModelSpec("mine.py:net", inputs=("2,3,8,8",))))
    assert graph.nodes["0/conv2d"]["measured_seconds"] == read.ops["0/conv2d"].median
    assert read.provider == "python"


def test_html_is_a_page(console, tmp_path):
    assert console(*ASKED, "--format", "html", "-o", "m.html")[0] == 0
    text = (tmp_path / "m.html").read_text()
    assert "0/conv2d" in text
    assert "<script" not in text


def test_the_whole_alone(console):
    code, out, _ = console(*ASKED, "--no-ops")
    assert code == 0
    assert "whole" in out
    assert "parts" not in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("saved.json",), "only a network can be measured"),
        (("mine.py:net", "--top", "-1"), "0 or more"),
        (("mine.py:net", "--device", "abacus"), "unknown device 'abacus'"),
        (("mine.py:net", "--threads", "0"), "threads must be 1 or more"),
        (("mine.py:net", "--by", "kernel"), "--by kernel needs a GPU"),
        (("mine.py:net", "--dtype", "int8"), "not a floating-point type"),
        (("mine.py:net", "-o", "none/m.json"), "the folder none does not exist"),
        (("mine.py:net", "--input", "2,5,8,8"), "forward fails"),
    ],
)
def test_mistakes_are_one_line(console, words, says):
    code, out, err = console(*words)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_ctrl_c_shows_what_there_is_and_says_so(console, monkeypatch):
    partial = measure(network(), SHAPE, **QUICK)
    monkeypatch.setattr(_measure, "measure", lambda *args, **kwargs: replace(partial, interrupted=True))
    code, out, _ = console(*ASKED)
    assert code == 130
    assert "INTERRUPTED" in out


def test_the_prediction_stands_below_what_was_measured(capsys):
    arguments = ["measure", "zoo:shufflenet_v2", "-a", "width=0.5", "--resolution", "64", "--min-seconds", "0.01"]
    assert run([*arguments, "--no-ops", "--predict-for", "i9-10940x"]) == 0
    assert "predicted for i9-10940x: " in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["--predict-for", "nothing"], ["--predict-for", "rtx3090", "--format", "json"]])
def test_a_wrong_prediction_is_one_line_before_anything_is_measured(arguments, capsys):
    assert run(["measure", "zoo:shufflenet_v2", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_tuple_of_integers_is_a_shape_or_an_argument_as_in_a_profile() -> None:
    layer = nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, bias=False)
    for inputs, kwargs in ([(1, 16, 8, 8), (16, 16)], None), ([(1, 16, 8, 8)], {"output_size": (16, 16)}):
        result = costlab.measure(layer, inputs, kwargs, min_seconds=0.01)
        assert [i.shape for i in result.inputs] == [(1, 16, 8, 8)]
        assert not result.left_out
