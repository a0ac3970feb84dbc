"""Checkpoints' headers: sizes as the formats define them; hostile files are one line and take no memory."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from helpers.language_models import save_small_config

import costlab
from costlab.errors import CostlabError
from costlab.generations.checkpoints import read_checkpoint


def safetensors_file(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def gguf_string(text):
    return struct.pack("<Q", len(text)) + text.encode()


def gguf_file(path, tensors, entries=b"", count=0):
    """A GGUF file with tensors of (name, dimensions, type, bytes)."""
    rows, begin = b"", 0
    for name, shape, kind, size in tensors:
        rows += gguf_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, begin)
        begin += size
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), count) + entries + rows + bytes(begin))
    return path


def test_a_safetensors_header_is_what_the_library_wrote(tmp_path):
    files = pytest.importorskip("safetensors.torch")
    tensors = {
        "a": torch.zeros(4, 6, dtype=torch.bfloat16),
        "b": torch.zeros(5),
        "c": torch.zeros(3, 3, dtype=torch.int8),
    }
    files.save_file(tensors, tmp_path / "model.safetensors")
    read = read_checkpoint(tmp_path / "model.safetensors")
    assert (read.bytes, read.elements) == (48 + 20 + 9, 38)
    assert read.types == {"BF16": 48, "F32": 20, "I8": 9}
    assert read.matrix_bits == 8 * (48 + 9) / 33


def test_an_index_gives_the_size_of_all_files(tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 16_060_522_496}, "weight_map": {}}))
    assert read_checkpoint(path).bytes == 16_060_522_496


def test_a_gguf_header_counts_blocks(tmp_path):
    entries = gguf_string("general.name") + struct.pack("<I", 8) + gguf_string("x")
    entries += gguf_string("tokens") + struct.pack("<IIQ", 9, 8, 2) + gguf_string("a") + gguf_string("b")
    entries += gguf_string("scores") + struct.pack("<IIQ", 9, 6, 3) + bytes(12)
    tensors = [("q", (256, 8), 12, 8 * 144), ("norm", (256,), 0, 1024), ("o", (32, 4), 2, 4 * 18)]
    read = read_checkpoint(gguf_file(tmp_path / "m.gguf", tensors, entries, 3))
    assert read.types == {"Q4_K": 8 * 144, "F32": 1024, "Q4_0": 4 * 18}
    assert read.matrix_bits == 8 * (8 * 144 + 72) / (2048 + 128)


def test_a_checkpoint_sets_the_size_of_the_weights(tmp_path):
    reference = save_small_config("llama", tmp_path)
    path = gguf_file(tmp_path / "m.gguf", [("q", (256, 400), 12, 400 * 144)])
    plain, stored = (costlab.generation(reference, prompt=8, generate=1, checkpoint=c) for c in (None, path))
    assert stored.weights == "m.gguf"
    matrices = plain.params - 5 * 64  # without the norms
    assert stored.param_bytes < plain.param_bytes
    assert plain.param_bytes - stored.param_bytes == pytest.approx((16 - 4.5) / 8 * (matrices - 320 * 64), rel=0.01)


HUGE = 1 << 63


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"[" * 100_000,
        b"[]",
        b"null",
        {"a": {"dtype": "F32", "shape": [HUGE, HUGE], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4 << 60]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1] * 1000, "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}},
        {"a": [1]},
        {"a": None},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [HUGE - 1, HUGE + 3]}},
        {"a": {"dtype": "F32", "shape": [0], "data_offsets": [-1, -1]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}},
        {"a": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}},
        {
            "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        },
        {
            "a": {"dtype": "I16", "shape": [2], "data_offsets": [0, 4]},
            "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]},
        },
        {"x" * 100_000: {"dtype": "F32", "shape": [1], "data_offsets": [0, 5]}},
        {"a\nb\x1b[31m": {"dtype": "F32", "shape": [1], "data_offsets": [0, 5]}},
        b'{"a": {"dtype": "F32", "shape": [1e400], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [' + b"9" * 5000 + b'], "data_offsets": [0, 4]}}',
    ],
    ids=lambda header: str(header)[:60],
)
def test_a_broken_safetensors_header_is_one_line(header, tmp_path):
    path = safetensors_file(tmp_path / "m.safetensors", header, bytes(4))
    with pytest.raises(CostlabError) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "content", [b"", b"GG", b"\xff" * 8, b"\xff" * 7 + b"\x7f", (1 << 62).to_bytes(8, "little") + b"{}"]
)
def test_a_header_that_claims_more_than_the_file_is_one_line(content, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(CostlabError, match="is not a safetensors file"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGUF",
        b"GGML" + bytes(64),
        b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE),
        b"GGUF" + struct.pack("<IQQ", 3, 5, 5),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", HUGE),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + gguf_string("k") + struct.pack("<I", 77),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + gguf_string("k") + struct.pack("<IIQ", 9, 8, HUGE),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + gguf_string("k") + struct.pack("<IIQ", 9, 4, HUGE),
        b"GGUF"
        + struct.pack("<IQQ", 3, 0, 1)
        + gguf_string("k")
        + struct.pack("<I", 9)
        + struct.pack("<IQ", 9, 1) * 50,
        b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + gguf_string("t") + struct.pack("<I", 1 << 30),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + gguf_string("t") + struct.pack("<IQIQ", 1, HUGE, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + gguf_string("t") + struct.pack("<IQIQ", 1, 4, 5, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + gguf_string("t") + struct.pack("<IQIQ", 1, 4, 0, HUGE) + bytes(64),
        b"GGUF"
        + struct.pack("<IQQ", 3, 1, 0)
        + gguf_string("t")
        + struct.pack("<IQIQ", 1, 4, 0, 2**64 - 1)
        + bytes(64),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", 2**64 - 1),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + gguf_string("t") + struct.pack("<I8QIQ", 8, *[2**32] * 8, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 2, 0) + (gguf_string("t") + struct.pack("<IQIQ", 1, 4, 0, 0)) * 2 + bytes(64),
    ],
    ids=lambda content: content[:40].hex(),
)
def test_a_broken_gguf_file_is_one_line(content, tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(CostlabError) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [-1, HUGE, "10", None, 1.5, [1]], ids=str)
def test_an_index_without_a_size_is_one_line(value, tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": value}}))
    with pytest.raises(CostlabError, match="total_size"):
        read_checkpoint(path)
