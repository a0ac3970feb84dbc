"""Exports: viewers read each format, it has the values of the profile, and names are only text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from typing import Any

import dacite
import jsonschema
import networkx as nx
import pytest
from helpers.examples import HOSTILE, NAMES, examples
from model_explorer import graph_builder, node_data_builder

import costlab
from costlab.cli import run
from costlab.core.cost import COST_KEYS
from costlab.core.memory import live_activation_bytes
from costlab.core.profile import Profile
from costlab.errors import CostlabError
from costlab.exporters import FORMATS, export
from costlab.exporters.context import export_context
from costlab.exporters.dot import escaped
from costlab.exporters.model_explorer import namespace
from costlab.measurement.result import Measurement, Timing

GRAPHS = [name for name in FORMATS if name != "perfetto"]

TEXT = {"type": "string", "minLength": 1, "pattern": r"^[^\x00-\x1f\x7f\ud800-\udfff]*$"}
LINE = {"type": "string", "pattern": r"^[^\x00-\x1f\x7f\ud800-\udfff]*$"}


def closed(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """An object with these members and no others."""
    properties = {**required, **(optional or {})}
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


def listed(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


# Trace Event Format (Google, 2016), "JSON Object Format": the events that a forward pass needs.
NUMBER = {"type": "number", "minimum": 0}
WHO = {"name": TEXT, "pid": {"type": "integer"}, "tid": {"type": "integer"}}
EVENTS = {
    "M": closed({"ph": {"const": "M"}, **WHO, "args": closed({"name": LINE})}),
    "X": closed({"ph": {"const": "X"}, **WHO, "cat": TEXT, "ts": NUMBER, "dur": NUMBER, "args": {"type": "object"}}),
    "C": closed({"ph": {"const": "C"}, **WHO, "ts": NUMBER, "args": closed({"bytes": NUMBER})}),
}
TRACE = closed(
    {
        "traceEvents": listed({"anyOf": list(EVENTS.values())}),
        "displayTimeUnit": {"enum": ["ms", "ns"]},
        "otherData": {"type": "object", "additionalProperties": LINE},
    }
)


def timed(profile: Profile, seconds: float = 0.001) -> Measurement:
    """What a clock might have shown: each operator that moves anything takes so long, the whole a second more."""
    ops = {op.name: Timing((seconds,)) for op in profile.ops if not op.free}
    whole = Timing((seconds * len(ops) + 1,))
    facts = {"dtype": "float32", "amp": False, "channels_last": False, "compiled": False, "threads": 1, "batch": 2}
    given = {"name": profile.name, "provider": "zoo", "arguments": {}, "device": "cpu", **facts}
    return Measurement(**given, inputs=profile.trace.inputs, whole=whole, ops=ops, left_out=(), environment={})


@pytest.fixture(scope="module")
def mobilenet() -> Profile:
    return costlab.profile(*costlab.load("zoo:mobilenet_v2"), name="mobilenet_v2")


# Every format.


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("to", GRAPHS)
def test_every_graph_can_be_written(name, to):
    assert export(examples()[name], to).endswith("\n")


@pytest.mark.parametrize("to", FORMATS)
def test_names_from_models_leave_no_control_character(to):
    profile = examples()["hostile"]
    text = export(profile, to, measurement=timed(profile))
    assert not re.search(r"[^\n -~]", text) or to in ("graphml", "dot")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e\ud800-\udfff]", text)


def test_names_that_look_alike_stay_apart():
    profile = examples()["tiny"]
    first, second, *others = profile.ops
    ops = (replace(first, name="a\x1b"), replace(second, name="a\\x1b"), *others)
    names = export_context(replace(profile, trace=replace(profile.trace, ops=ops)), None, None).names
    assert names[0] == "a\\x1b"
    assert len(set(names)) == len(names)


def test_an_unknown_format_is_an_error():
    with pytest.raises(CostlabError, match="unknown format 'png'; choose one of model-explorer, "):
        export(examples()["tiny"], "png")


def test_a_cost_that_is_not_known_is_an_error():
    with pytest.raises(CostlabError, match="'speed' is unknown; choose one of mult_adds, "):
        export(examples()["tiny"], "dot", cost="speed")
    with pytest.raises(CostlabError, match="needs a device"):
        export(examples()["tiny"], "dot", cost="predicted_seconds")


def test_a_measurement_of_another_network_is_an_error():
    with pytest.raises(CostlabError, match="another network"):
        export(examples()["tiny"], "graphml", measurement=timed(examples()["wasteful"]))


def test_a_measurement_does_not_go_with_fused_operators(mobilenet):
    prediction = costlab.predict(mobilenet, "rtx3090", fusion="bn")
    with pytest.raises(CostlabError, match="cannot be combined with fusion 'bn'"):
        export(mobilenet, "perfetto", prediction=prediction, measurement=timed(mobilenet))


# Model Explorer.


@pytest.mark.parametrize("name", NAMES)
def test_model_explorer_reads_them_as_its_own_types(name):
    strict = dacite.Config(strict=True)
    collection = json.loads(export(examples()[name], "model-explorer"))
    read = dacite.from_dict(graph_builder.GraphCollection, collection, strict)
    assert [len(graph.nodes) for graph in read.graphs] == [len(graph["nodes"]) for graph in collection["graphs"]]
    for data in json.loads(export(examples()[name], "model-explorer-data")).values():
        assert len(dacite.from_dict(node_data_builder.GraphNodeData, data, strict).results) == len(data["results"])


def test_model_explorer_shows_every_operator_and_every_edge(mobilenet):
    (graph,) = json.loads(export(mobilenet, "model-explorer"))["graphs"]
    edges = {(edge["sourceNodeId"], node["id"]) for node in graph["nodes"] for edge in node["incomingEdges"]}
    assert [node["id"] for node in graph["nodes"]] == [op.name for op in mobilenet.ops]
    assert edges == set(mobilenet.edges())


def test_model_explorer_edges_join_an_output_to_an_input(mobilenet):
    (graph,) = json.loads(export(mobilenet, "model-explorer"))["graphs"]
    (add,) = [node for node in graph["nodes"] if node["id"] == "features.3/add"]
    assert sorted(edge["targetNodeInputId"] for edge in add["incomingEdges"]) == ["0", "1"]


def test_model_explorer_layers_hold_what_is_inside_them(mobilenet):
    (graph,) = json.loads(export(mobilenet, "model-explorer"))["graphs"]
    layers = graph["groupNodeAttributes"]
    assert layers["features/18"]["mult-adds"] == "20.07 M"  # 7 * 7 * 320 * 1280
    assert layers["features/18"]["type"] == "Sequential"
    assert layers[""]["mult-adds"] == "300.8 M (300,774,272)"
    namespaces = {node["namespace"] for node in graph["nodes"]} - {""}
    assert namespaces <= layers.keys()


@pytest.mark.parametrize(
    ("path", "layers"), [("", ""), ("a.b", "a/b"), ("a/b.c", "a\\/b/c"), ("a;b", "a\\x3bb"), ("<i>", "<i>")]
)
def test_a_slash_in_a_name_makes_no_layer(path, layers):
    assert namespace(path) == layers


def test_the_heat_map_sums_to_the_total(mobilenet):
    for cost in ("mult_adds", "memory_access"):
        (data,) = json.loads(export(mobilenet, "model-explorer-data", cost=cost)).values()
        assert sum(result["value"] for result in data["results"].values()) == getattr(mobilenet.total, cost)


def test_the_heat_map_matches_nodes_of_the_graph():
    (graph,) = json.loads(export(examples()["hostile"], "model-explorer"))["graphs"]
    data = json.loads(export(examples()["hostile"], "model-explorer-data"))
    assert data[graph["id"]]["results"].keys() <= {node["id"] for node in graph["nodes"]}


# GraphML.


@pytest.mark.parametrize("name", NAMES)
def test_networkx_reads_the_same_graph_back(name):
    profile = examples()[name]
    known = export_context(profile, None, None)
    read = nx.parse_graphml(export(profile, "graphml"))
    assert tuple(read) == known.names
    expected = {(known.names[i], known.names[k]) for k, op in enumerate(profile.ops) for i in op.after}
    assert set(read.edges) == expected
    for (_, found), node in zip(read.nodes.items(), profile.graph.nodes.values(), strict=True):
        for key in (*COST_KEYS, "bytes_accessed", "arithmetic_intensity", "free", "estimated"):
            assert found.get(key) == node[key]
        assert found["label"] == node["kind"]


def test_graphml_has_the_seconds_that_are_known(mobilenet):
    prediction = costlab.predict(mobilenet, "rtx3090")
    read = nx.parse_graphml(export(mobilenet, "graphml", prediction=prediction, measurement=timed(mobilenet)))
    conv = read.nodes["features.0.0/conv2d"]
    assert conv["predicted_seconds"] == prediction.by_op["features.0.0/conv2d"]
    assert conv["measured_seconds"] == 0.001


# DOT.

TOKEN = re.compile(r'\s+|->|[{}\[\];=,]|[A-Za-z_]\w*|[\d.]+|"(?:[^"\\]|\\.)*"')  # of the grammar on graphviz.org


def tokens(text: str) -> list[str]:
    """The words of a DOT file; fails where something is none."""
    found, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        assert match, text[at : at + 40]
        at = match.end()
        if match[0].strip():
            found.append(match[0])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_dot_is_well_formed_and_has_every_operator_and_edge(name):
    profile = examples()[name]
    words = tokens(export(profile, "dot"))
    depth = 0
    for word in words:
        depth += (word in "{[") - (word in "}]")
        assert depth >= 0
    assert depth == 0
    assert {word for word, after in pairwise(words) if re.fullmatch(r"n\d+", word) and after == "["} == {
        f"n{i}" for i in range(len(profile.ops))
    }
    assert words.count("->") == len(profile.edges())


@pytest.mark.parametrize(
    ("text", "written"), [('say "x"', 'say \\"x\\"'), ("\\N", "\\\\N"), ("&lt;", "&amp;lt;"), ("a\nb", "a\\\\nb")]
)
def test_nothing_in_a_dot_label_means_more_than_itself(text, written):
    assert escaped(text) == written


def test_dot_nests_modules(mobilenet):
    words = tokens(export(mobilenet, "dot", cost="memory_access"))
    clusters = {word for before, word in pairwise(words) if before == "subgraph"}
    assert {'"cluster features"', '"cluster features.3"', '"cluster features.3.conv"'} <= clusters
    assert '"conv2d\\n1x32x112x112\\nmemory access 552.8 k"' in words  # 3 * 224 * 224 + 864 + 32 * 112 * 112


# Perfetto.


@pytest.mark.parametrize("name", NAMES)
def test_traces_are_of_the_trace_event_format(name):
    profile = examples()[name]
    jsonschema.validate(json.loads(export(profile, "perfetto", measurement=timed(profile))), TRACE)


def slices(text: str, pid: int) -> list[dict[str, Any]]:
    return [e for e in json.loads(text)["traceEvents"] if e["ph"] == "X" and e["pid"] == pid]


def ends(event: dict[str, Any]) -> tuple[int, int]:
    """In nanoseconds."""
    return round(event["ts"] * 1000), round(event["ts"] * 1000) + round(event["dur"] * 1000)


@pytest.mark.parametrize("fusion", ["none", "pointwise"])
def test_slices_nest_and_sum_to_the_prediction(mobilenet, fusion):
    prediction = costlab.predict(mobilenet, "rtx3090", fusion=fusion)
    found = slices(export(mobilenet, "perfetto", prediction=prediction), 1)
    stack: list[tuple[int, int]] = []
    for start, end in map(ends, found):  # as they stand: a slice before those inside it
        while stack and start >= stack[-1][1]:
            stack.pop()
        assert not stack or (stack[-1][0] <= start and end <= stack[-1][1])
        stack.append((start, end))
    operators = [event for event in found if event["cat"] == "operator"]
    assert [event["args"]["op"] for event in operators] == list(prediction.by_op)
    assert sum(event["dur"] for event in operators) / 1e6 == pytest.approx(sum(prediction.by_op.values()), abs=1e-9)
    assert found[0]["dur"] / 1e6 == pytest.approx(prediction.seconds, abs=1e-9)
    assert sum(event["args"].get("mult_adds", 0) for event in operators) == mobilenet.mult_adds


def test_each_module_is_a_slice_around_its_operators():
    profile = examples()["tiny"]
    found = [event["name"] for event in slices(export(profile, "perfetto", measurement=timed(profile)), 2)]
    assert found == ["tiny", "conv Conv2d", "conv2d", "act ReLU", "relu", "mean", "head Sequential", "1 Linear"] + [
        "linear",
        "overhead",
    ]


def test_overhead_is_what_the_whole_takes_longer():
    profile = examples()["tiny"]
    *_, last = slices(export(profile, "perfetto", measurement=timed(profile)), 2)
    assert (last["name"], last["dur"]) == ("overhead", 1e6)


def test_the_counter_follows_the_live_activations(mobilenet):
    prediction = costlab.predict(mobilenet, "rtx3090")
    events = json.loads(export(mobilenet, "perfetto", prediction=prediction))["traceEvents"]
    held = [event["args"]["bytes"] for event in events if event["ph"] == "C"]
    assert held == [*live_activation_bytes(mobilenet.trace), 0]
    assert max(held) == mobilenet.total.peak_activation_bytes


def test_two_timings_are_two_processes(mobilenet):
    prediction = costlab.predict(mobilenet, "rtx3090")
    text = export(mobilenet, "perfetto", prediction=prediction, measurement=timed(mobilenet))
    assert {event["pid"] for event in json.loads(text)["traceEvents"]} == {1, 2}
    assert len(slices(text, 1)) == len(slices(text, 2))


def test_a_trace_without_times_is_an_error():
    with pytest.raises(CostlabError, match=r"a trace needs times: predict them"):
        export(examples()["tiny"], "perfetto")


# The command.


@pytest.fixture
def saved(tmp_path) -> str:
    path = tmp_path / "tiny.json"
    path.write_text(examples()["tiny"].to_json())
    return str(path)


@pytest.mark.parametrize("to", FORMATS)
def test_the_command_writes_what_the_function_returns(saved, to, capsys, tmp_path):
    prediction = costlab.predict(examples()["tiny"], "rtx3090")
    expected = export(examples()["tiny"], to, prediction=prediction)
    assert run(["export", saved, "--to", to, "--device", "rtx3090"]) == 0
    assert capsys.readouterr() == (expected, "")
    assert run(["export", saved, "--to", to, "--device", "rtx3090", "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").read_text() == expected
    assert capsys.readouterr() == ("", "")


def test_a_measurement_comes_from_its_file(saved, tmp_path, capsys):
    measurement = timed(examples()["tiny"])
    (tmp_path / "times.json").write_text(measurement.to_json())
    assert run(["export", saved, "--to", "perfetto", "--measured", str(tmp_path / "times.json")]) == 0
    assert capsys.readouterr().out == export(examples()["tiny"], "perfetto", measurement=measurement)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--to", "perfetto"], "error: a trace needs times: predict them for a --device"),
        (["--to", "svg"], "'svg' is not one of"),
        (["--to", "dot", "--cost", "speed"], "error: cost 'speed' is unknown; choose one of mult_adds, "),
        (["--to", "graphml", "--cost", "params"], "error: --cost does not go with graphml"),
        (["--to", "dot", "--amp"], "error: --amp and --channels-last need a prediction: name a --device"),
        (["--to", "dot", "--measured", "nowhere.json"], "error: nowhere.json cannot be read: no such file"),
        (["--to", "dot", "--measured", "SAVED"], "not a costlab measurement"),
        (["--to", "dot", "--measured", "SAVED", "--fusion", "bn"], "error: --measured needs --fusion none"),
        (["--to", "dot", "-o", "nowhere/x.dot"], "cannot be written: no such file or directory"),
    ],
)
def test_wrong_usage_is_one_line(saved, options, said, capsys):
    assert run(["export", saved, *(saved if option == "SAVED" else option for option in options)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_exports_of_saved_profiles_do_not_import_torch(saved):
    code = (
        "import sys; from costlab.cli import run\n"
        f"for to in {list(FORMATS)}: assert run(['export', {saved!r}, '--to', to, '--device', 'rtx3090']) == 0\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_hostile_names_are_hostile():
    assert {"<", "'", "`", "|", "\x1b", "\n", "\ud800", "/"} <= set(HOSTILE)
