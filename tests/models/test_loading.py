"""The MODEL grammar: providers, default inputs, and one-line errors."""

from __future__ import annotations

import contextlib
import json
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

import costlab
import costlab.models
from costlab.cli import run
from costlab.errors import CostlabError
from costlab.models import ModelSpec, list_models, load, load_model, profile_of
from costlab.models.meta_init import weightless
from costlab.models.providers.transformers import import_transformers
from costlab.models.providers.user_code import find_factory
from costlab.tracing._profile import profile
from costlab.tracing.inputs import Inputs


def line_of(call, *args, **kwargs) -> str:
    with pytest.raises(CostlabError) as failure:
        call(*args, **kwargs)
    message = str(failure.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


def test_the_first_provider_that_has_a_name_provides_it():
    assert load_model(ModelSpec("mobilenet_v2")).provider == "zoo"
    assert load_model(ModelSpec("resnet18")).provider == "torchvision"
    assert load_model(ModelSpec("resnet10t")).provider == "timm"
    assert load_model(ModelSpec("torchvision:mobilenet_v2")).provider == "torchvision"


def test_a_model_is_built_without_memory_for_its_weights():
    for target in ("mobilenet_v2", "torchvision:vit_b_16", "timm:convnext_tiny"):
        model = load_model(ModelSpec(target)).model
        assert all(p.is_meta for p in model.parameters() if p.numel() > 1 << 16)


def test_building_weightless_leaves_the_random_state_and_costs_the_same():
    state = torch.get_rng_state()
    meta = weightless(lambda: torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Linear(4, 5)))
    assert torch.equal(torch.get_rng_state(), state)
    real = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Linear(4, 5))
    assert profile(meta, (1, 3, 6, 6)).total == profile(real, (1, 3, 6, 6)).total


def test_load_gives_a_model_and_inputs_that_fit():
    model, inputs = load("timm:vit_tiny_patch16_224")
    assert [tuple(i.shape) for i in inputs] == [(1, 3, 224, 224)]
    block = 197 * (192 * 576 + 192 * 192 + 2 * 192 * 768) + 2 * 197 * 197 * 192
    assert profile(model, inputs).mult_adds == 196 * 768 * 192 + 12 * block + 192 * 1000


@pytest.mark.parametrize(
    ("target", "shape"),
    [
        ("inception_v3", (1, 3, 299, 299)),
        ("efficientnet_b4", (1, 3, 380, 380)),
        ("vit_h_14", (1, 3, 224, 224)),
        ("regnet_y_128gf", (1, 3, 224, 224)),
        ("r3d_18", (1, 3, 16, 112, 112)),
        ("timm:nasnetalarge", (1, 3, 331, 331)),
    ],
)
def test_default_inputs_are_those_of_the_published_weights(target, shape):
    assert [tuple(i.shape) for i in load_model(ModelSpec(target)).inputs] == [shape]


def test_factory_arguments_reach_the_factory():
    assert profile_of(ModelSpec("mobilenet_v2", {"width": 0.5})).params == 1_968_680
    assert profile_of(ModelSpec("timm:resnet18", {"num_classes": 10})).params == 11_181_642


def test_batch_resolution_and_dtype_change_the_inputs():
    base = profile_of(ModelSpec("mobilenet_v2"))
    assert profile_of(ModelSpec("mobilenet_v2", batch=4)).mult_adds == 4 * base.mult_adds
    assert profile_of(ModelSpec("mobilenet_v2", resolution=128)).trace.inputs[0].shape == (1, 3, 128, 128)
    half = profile_of(ModelSpec("mobilenet_v2", dtype="float16"))
    assert half.total.param_bytes == base.params * 2
    assert half.mult_adds == base.mult_adds


def test_inputs_are_positional_or_named(tmp_path):
    code = """
        import torch
        class Net(torch.nn.Module):
            def __init__(self, width=4):
                super().__init__()
                self.table = torch.nn.Embedding(10, width)
                self.fc = torch.nn.Linear(width, 3)
            def forward(self, tokens, *, scale):
                return self.fc(self.table(tokens)) * scale
        net = Net()
    """
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(code))
    found = profile_of(ModelSpec(f"{path}:Net", {"width": 8}, inputs=("2,5:int64", "scale=1")))
    assert found.mult_adds == 2 * 5 * 8 * 3
    assert [(i.name, i.shape, i.dtype) for i in found.trace.inputs] == [
        ("tokens", (2, 5), "int64"),
        ("scale", (1,), "float32"),
    ]
    assert profile_of(ModelSpec(f"{path}:net", inputs=("2,5:int64", "scale=1"))).mult_adds == 2 * 5 * 4 * 3
    assert "it takes no -a width" in line_of(profile_of, ModelSpec(f"{path}:net", {"width": 3}))


def test_list_models_filters_by_provider_and_pattern():
    assert list_models("zoo", "mobilenet_v?") == {"zoo": ["mobilenet_v1", "mobilenet_v2"]}
    assert "resnet50" in list_models("torchvision", "resnet")["torchvision"]
    assert list_models("timm", "vit_*_patch16_224")["timm"][0].startswith("vit_")


FACTORIES = """
    import torch
    def raises(): raise ValueError("no such size\\nmore lines")
    def nothing(): return 3
    def hungry():
        class Net(torch.nn.Module):
            def forward(self, a, b): return a + b
        return Net()
    def conv(): return torch.nn.Conv2d(3, 4, 3)
    constant = 7
"""


@pytest.fixture
def factories(tmp_path):
    path = tmp_path / "factories.py"
    path.write_text(textwrap.dedent(FACTORIES))
    return path


@pytest.mark.parametrize(
    ("attribute", "says"),
    [
        ("raises", "raises ValueError: no such size"),
        ("nothing", "returns a int; it must return an nn.Module"),
        ("constant", "must be a callable"),
        ("absent", "has no 'absent'"),
        ("hungry", "missing 1 required positional argument: 'b'"),
    ],
)
def test_an_unusable_factory_is_reported(factories, attribute, says):
    assert says in line_of(profile_of, ModelSpec(f"{factories}:{attribute}"))


def test_wrong_shapes_are_one_line_with_module_and_input(factories):
    message = line_of(profile_of, ModelSpec(f"{factories}:conv", inputs=("1,5,8,8",)))
    assert "1x5x8x8" in message
    assert "Conv2d" in message
    assert "expected input[1, 5, 8, 8] to have 3 channels" in message
    assert "on x 5 float32" in line_of(profile_of, ModelSpec("mobilenet_v2", inputs=("5",)))
    assert "features.0.0" in line_of(profile_of, ModelSpec("mobilenet_v2", inputs=("1,1,224,224",)))


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("mobilenet_v22", "nearest: mobilenet_v2"),
        ("timm:resnet500", "nearest: resnet50"),
        ("zoo:nothing_like_it", "zoo has no model 'nothing_like_it'"),
        ("no.such.module:factory", "no Python module 'no"),
        ("no/such/file.py:factory", "does not exist"),
        ("no/such/file.py", "does not exist"),
        ("missing.pt2", "does not exist"),
        ("missing.json", "missing.json"),
        ("hf:missing.json", "does not exist"),
        ("json:loads", "raises TypeError"),
    ],
)
def test_what_is_not_there_is_reported(target, says):
    assert says in line_of(profile_of, ModelSpec(target))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("1,3,0,224", "1 or more"),
        ("1,-3,224,224", "1 or more"),
        ("abc", "is not a shape"),
        ("", "is not a shape"),
        ("1,3,224,224:float99", "is not a dtype"),
        ("999999999,999999999,9", "more than any device can hold"),
    ],
)
def test_invalid_inputs_are_reported(spec, says):
    assert says in line_of(profile_of, ModelSpec("mobilenet_v2", inputs=(spec,)))


def test_options_out_of_range_are_reported():
    assert "--batch" in line_of(profile_of, ModelSpec("mobilenet_v2", batch=0))
    assert "--resolution" in line_of(profile_of, ModelSpec("mobilenet_v2", resolution=-1))
    assert "--dtype" in line_of(profile_of, ModelSpec("mobilenet_v2", dtype="int8"))
    assert "unexpected keyword argument 'widht'" in line_of(profile_of, ModelSpec("mobilenet_v2", {"widht": 1}))
    assert "unexpected keyword argument 'widht'" in line_of(profile_of, ModelSpec("torchvision:resnet18", {"widht": 1}))


def test_a_missing_extra_comes_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert "pip install 'costlab[timm]'" in line_of(profile_of, ModelSpec("timm:resnet18"))
    monkeypatch.setattr(costlab.models.resolve, "installed", lambda provider: provider == "zoo")
    assert "pip install 'costlab[torchvision,timm]'" in line_of(profile_of, ModelSpec("resnet18"))


def config(tmp_path, **entries) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(entries))
    return f"hf:{tmp_path}"


TINY = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "n_embd": 8,
    "n_head": 2,
    "n_layer": 1,
    "vocab_size": 50,
}


def test_a_configuration_alone_makes_a_network(tmp_path):
    found = profile_of(ModelSpec(config(tmp_path, **TINY)))
    assert found.mult_adds == 128 * (8 * 24 + 8 * 8 + 8 * 32 * 2 + 8 * 50) + 2 * 128 * 128 * 8
    assert profile_of(ModelSpec(config(tmp_path, **TINY), {"n_layer": 2})).params > found.params


@pytest.mark.parametrize("where", [{"auto_map": {"AutoModel": "x.Y"}}, {"text_config": {"auto_map": {}}}])
def test_a_configuration_with_code_of_its_own_is_refused(tmp_path, where):
    assert "auto_map" in line_of(profile_of, ModelSpec(config(tmp_path, **TINY, **where)))


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({}, "no model_type"),
        ({"model_type": "no_such_type"}, "no model type 'no_such_type'"),
        ({**TINY, "architectures": ["NoSuchModel"]}, "no architecture 'NoSuchModel'"),
        ({**TINY, "n_head": 3}, "cannot be built"),
    ],
)
def test_configurations_that_make_no_network_are_reported(tmp_path, entries, says):
    assert says in line_of(profile_of, ModelSpec(config(tmp_path, **entries)))
    assert "no configuration entry 'n_haed'" in line_of(profile_of, ModelSpec(config(tmp_path, **TINY), {"n_haed": 3}))


def test_a_hub_id_without_a_connection_fails_at_once(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "give a folder or file with its config.json" in line_of(profile_of, ModelSpec("hf:nobody/nothing"))


def test_a_broken_configuration_is_reported(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": ')
    assert "not a readable JSON" in line_of(profile_of, ModelSpec(f"hf:{tmp_path}"))


def test_a_factory_that_exits_is_reported(tmp_path):
    path = tmp_path / "leaves.py"
    path.write_text("import sys\ndef build(): sys.exit(7)\n")
    assert "raises SystemExit: 7" in line_of(profile_of, ModelSpec(f"{path}:build"))


# What `load` returns.

FAMILIES = {
    "bert": {},
    "gpt2": {"n_layer": 1},
    "t5": {"num_layers": 1},
    "bart": {"encoder_layers": 1, "decoder_layers": 1},
    "vit": {},
    "clip": {},
    "whisper": {"encoder_layers": 1, "decoder_layers": 1},
    "wav2vec2": {},
    "hubert": {},
    "detr": {"use_pretrained_backbone": False, "use_timm_backbone": False, "backbone": None},
    "llama": {"num_hidden_layers": 1, "vocab_size": 100},
    "mamba": {"num_hidden_layers": 1},
    "layoutlm": {"num_hidden_layers": 1},
}


@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.slow
def test_profile_takes_what_load_returns_and_says_what_the_command_says(model_type, tmp_path):
    pytest.importorskip("transformers")
    target = config(tmp_path, model_type=model_type, **FAMILIES[model_type])
    model, inputs = load(target)
    assert profile(model, inputs).total == profile_of(ModelSpec(target)).total


def test_inputs_without_keywords_unpack_and_others_say_how_to_call():
    inputs = Inputs((torch.ones(2, 3),))
    assert [*inputs] == [inputs[0]]
    assert len(inputs) == 1
    layer = torch.nn.Linear(3, 4)
    assert torch.equal(layer(*inputs), inputs.call(layer))
    named = Inputs((), {"input": torch.ones(2, 3)})
    assert named.call(layer).shape == (2, 4)
    with pytest.raises(CostlabError, match=r"keyword arguments \(input\): use inputs.call\(model\)"):
        layer(*named)


def test_measure_takes_what_load_returns(tmp_path):
    pytest.importorskip("transformers")
    model, inputs = load(config(tmp_path, **TINY))
    measured = costlab.measure(model, inputs, min_seconds=0.01, ops=False)
    assert [i.name for i in measured.inputs] == ["input_ids"]


# How often a factory runs.

COUNTED = """
    import torch
    calls = 0
    def plain():
        global calls
        calls += 1
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(5, 6))
    def table():
        net = plain()
        net.register_buffer("scale", torch.arange(6.0) * net[2].bias + net[2].weight.sum())
        return net
    def wrong():
        plain()
        raise ValueError("never")
    def values():
        net = plain()
        net.width = int(net[2].weight.abs().sum().item() > 0)
        return net
"""


@pytest.mark.parametrize(("name", "calls"), [("plain", 1), ("table", 1), ("wrong", 1), ("values", 2)])
def test_a_factory_runs_once_unless_it_reads_its_weights(name, calls, tmp_path):
    path = tmp_path / "counted.py"
    path.write_text(textwrap.dedent(COUNTED))
    with contextlib.suppress(CostlabError):
        load_model(ModelSpec(f"{path}:{name}"))
    assert find_factory(f"{path}:{name}").__globals__["calls"] == calls


def test_a_configuration_never_gets_real_weights(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    transformers = import_transformers()
    built = []

    def fails(config):
        built.append(config)
        return torch.empty(3).tolist()

    monkeypatch.setattr(transformers.GPT2Model, "_from_config", staticmethod(fails))
    target = config(tmp_path, **{**TINY, "architectures": ["GPT2Model"]})
    assert "cannot be built" in line_of(load_model, ModelSpec(target))
    assert len(built) == 1


@pytest.mark.parametrize("error", ["SystemExit(0)", "GeneratorExit()", "StopIteration()", "BaseException('x')"])
def test_user_code_cannot_end_the_process(error, tmp_path):
    for name, code in (("import", f"raise {error}"), ("factory", f"def build(): raise {error}")):
        path = tmp_path / f"{name}.py"
        path.write_text(code)
        assert error.partition("(")[0] in line_of(profile_of, ModelSpec(f"{path}:build"))


def test_files_in_different_folders_import_their_own_helpers(tmp_path):
    import random

    for width in (2, 3):
        folder = tmp_path / str(width)
        folder.mkdir()
        (folder / "layers.py").write_text(f"WIDTH = {width}\n")
        (folder / "net.py").write_text(
            "from torch import nn\n"
            "from layers import WIDTH\n"
            "class Lazy(nn.Linear):\n"
            "    def __init__(self): super().__init__(1, 1)\n"
            "    def forward(self, x):\n"
            "        from layers import WIDTH\n"
            "        return x.new_ones(WIDTH, 5) @ x.new_ones(5, 7)\n"
            "def build(): return nn.Linear(5, WIDTH, bias=False)\n"
        )
        (folder / "random.py").write_text("from net import build\n")
    load_model(ModelSpec("torch.nn:Identity"))  # in no folder
    path = sys.path[:]
    for target, mult_adds in [("net.py:build", 1), ("net.py:Lazy", 7), ("random.py:build", 1)] * 2:
        for width in (2, 3):
            spec = ModelSpec(f"{tmp_path / str(width) / target}", inputs=("1,5",))
            assert profile_of(spec).mult_adds == 5 * width * mult_adds
    assert sys.modules["random"] is random
    with pytest.raises(CostlabError, match="no Python module 'layers'"):
        load_model(ModelSpec("layers:build"))
    assert sys.path == path
    assert "layers" not in sys.modules


NOISY = """
import logging, sys, torch, warnings
def complain():
    for name in ("torch", "torch._dynamo", "transformers", "transformers.modeling_utils", "timm", "PIL", "own"):
        handler = logging.StreamHandler(sys.stderr)
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).critical("\x1b[31m red")
        logging.getLogger(name).removeHandler(handler)
    warnings.warn("\x1b[31m red")
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        complain()
    def forward(self, x):
        complain()
        return x * 2
"""


def test_messages_of_libraries_do_not_reach_the_terminal(tmp_path, capfd):
    path = tmp_path / "noisy.py"
    path.write_text(NOISY)
    assert profile_of(ModelSpec(f"{path}:Net")).ops
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_no_text_of_a_configuration_reaches_the_terminal_as_it_is(tmp_path, capfd):
    red = "\x1b[31m"
    config = {"model_type": "bert", "architectures": ["BertModel"], "num_hidden_layers": 1}
    for number, change in enumerate(
        [
            {red: red},
            {"hidden_act": red},
            {"problem_type": red},
            {"position_embedding_type": red},
            {"torch_dtype": red},
            {"attn_implementation": red},
            {"architectures": [red]},
            {"model_type": red},
            {"id2label": {"0": red}, "num_labels": 3},
            {"pruned_heads": {red: [1]}},
            {"rope_scaling": {"type": red}},
            {"tokenizer_class": red, "prefix": red, "pad_token_id": red},
        ]
    ):
        path = tmp_path / f"config{number}.json"
        path.write_text(json.dumps(config | change))
        assert run(["report", f"hf:{path}"]) in (0, 2)
        assert "\x1b" not in "".join(capfd.readouterr()), change


def test_a_factory_may_freeze_a_scripted_network(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def frozen(): return torch.jit.freeze(torch.jit.script(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()))\n"
    )
    loaded = profile_of(ModelSpec(f"{tmp_path / 'net.py'}:frozen", inputs=("1,3,16,16",)))
    assert loaded.mult_adds == 8 * 14 * 14 * 3 * 3 * 3
    assert not loaded.uncounted


VALUES_NET = """
    import torch
    class Net(torch.nn.Module):
        def forward(self, x, mask):
            return x[mask] @ torch.ones(3, 2)
    def make(): return Net()
"""


@pytest.mark.parametrize(
    ("mask", "rows"),
    [("mask=4:bool=ones", 4), ("mask=4:bool=zeros", 0), ("mask=[True, False, True, True]", 3), ("mask={file}", 2)],
)
def test_given_values_decide_what_a_mask_selects(tmp_path, mask, rows):
    np.save(tmp_path / "mask.npy", np.array([True, False, True, False]))
    path = tmp_path / "net.py"
    path.write_text(textwrap.dedent(VALUES_NET))
    found = profile_of(ModelSpec(f"{path}:make", inputs=("x=4,3", mask.format(file=tmp_path / "mask.npy"))))
    assert found.mult_adds == rows * 3 * 2
    assert found.guesses == {}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("x=arange", "no default input has that name"),
        ("x=3:int64=primes", "choose from zeros, ones, arange, random"),
        ("x=[[1, 2], [3]]", "equally long rows"),
        ("x=missing.npy", "cannot be read"),
        ("x=words", "is not a shape or a value"),
    ],
)
def test_values_that_cannot_be_read_are_reported(spec, says):
    assert says in line_of(profile_of, ModelSpec("mobilenet_v2", inputs=(spec,)))


def test_a_pickle_called_array_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "cannot be read" in line_of(profile_of, ModelSpec("mobilenet_v2", inputs=(f"x={tmp_path}/x.npy",)))


OBJECTS = """
import torch
from torch import nn

class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 8, bias=False)

    def forward(self, x, adjacency, times=1):
        return torch.sparse.mm(adjacency, self.layer(x)) * times

def inputs():
    return [torch.zeros(10, 16), torch.eye(10).to_sparse()]

def named():
    return {"x": torch.zeros(10, 16), "adjacency": torch.eye(10).to_sparse()}

def Upsample():
    return nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, bias=False)

def sizes():
    return [(1, 16, 8, 8), (16, 16)]
"""


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        ("Graph", ["FILE:inputs"]),
        ("Graph", ["FILE:named", "times=value:3"]),
        ("Upsample", ["1,16,8,8", "16,16"]),
        ("Upsample", ["1,16,8,8", "output_size=16,16"]),
        ("Upsample", ["1,16,8,8", "output_size=value:(16, 16)"]),
        ("Upsample", ["1,16,8,8", "value:[16, 16]"]),
        ("Upsample", ["FILE:sizes"]),
    ],
)
def test_inputs_may_be_any_object_of_python(network: str, inputs: list[str], tmp_path: Path) -> None:
    file = tmp_path / "objects_of_python.py"
    file.write_text(OBJECTS)
    specs = tuple(spec.replace("FILE", str(file)) for spec in inputs)
    result = profile_of(ModelSpec(f"{file}:{network}", inputs=specs))
    assert result.mult_adds == (10 * 16 * 8 + 10 * 8 if network == "Graph" else 16 * 8 * 8 * 8 * 9)
    assert not result.estimated


def test_a_literal_that_cannot_be_read_is_one_line() -> None:
    with pytest.raises(CostlabError, match=r"value:__import__.* is not a Python literal"):
        profile_of(ModelSpec("zoo:mobilenet_v1", inputs=("value:__import__('os')",)))
