"""Labels that transformers networks get in a training step: the loss is their own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from costlab.cli import run
from costlab.models import ModelSpec, profile_of
from costlab.models._load import load_model

BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 99,
}
GPT2 = {"model_type": "gpt2", "n_layer": 1, "n_embd": 32, "n_head": 2, "vocab_size": 99}
T5 = {"model_type": "t5", "d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 1, "num_heads": 4, "vocab_size": 99}
CONFIGS: dict[str, dict[str, Any]] = {
    "GPT2LMHeadModel": GPT2,
    "BertForMaskedLM": BERT,
    "BertForSequenceClassification": {**BERT, "num_labels": 1},
    "BertForTokenClassification": BERT,
    "BertForQuestionAnswering": BERT,
    "BertForMultipleChoice": BERT,
    "T5ForConditionalGeneration": T5,
    "ViTForImageClassification": {**BERT, "model_type": "vit", "image_size": 32, "patch_size": 8},
}


@pytest.mark.parametrize("architecture", CONFIGS)
def test_a_step_differentiates_the_loss_of_the_network(architecture: str, tmp_path: Path) -> None:
    config = {**CONFIGS[architecture], "architectures": [architecture], "attn_implementation": "eager"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    spec = ModelSpec(f"hf:{tmp_path}", batch=2, mode="step")
    loaded = load_model(spec, weights=True)
    values = {
        name: torch.randn(value.shape) if isinstance(value, torch.Tensor) and value.is_meta else value
        for name, value in loaded.inputs.kwargs.items()
    }
    with FlopCounterMode(display=False) as counter:
        loss = loaded.model.train()(**values).loss
        loss.backward()
    profile = profile_of(spec)
    assert loss.isfinite()
    assert profile.total.mult_adds == counter.get_total_flops() / 2
    assert any("loss" in op.kind and op.phase == "backward" for op in profile.ops)


def test_an_own_loss_comes_instead_of_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**GPT2, "architectures": ["GPT2LMHeadModel"]}))
    mean = "def mean(output):\n    return output.logits.mean()\n"
    (tmp_path / "losses.py").write_text(f"{mean}\n\ndef wrong(output):\n    raise KeyError('labels')\n")
    arguments = ["report", "hf:config.json", "--mode", "step"]
    assert run(arguments) == 0
    assert "labels 1x128 int64" in capsys.readouterr().out
    assert run(["measure", *arguments[1:], "--format", "json", "--min-seconds", "0.01"]) == 0
    assert "labels" in capsys.readouterr().out
    assert run([*arguments, "--loss", "losses.py:mean"]) == 0
    assert "labels" not in capsys.readouterr().out
    assert run([*arguments, "--loss", "losses.py:wrong"]) == 2
    assert capsys.readouterr().err == "error: the loss fails: KeyError: 'labels'\n"
