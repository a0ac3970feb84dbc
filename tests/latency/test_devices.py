"""Device files: plausible numbers with sources, and validation of users' files."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab.cli import run
from costlab.errors import CostlabError
from costlab.latency import devices
from costlab.latency.device import DTYPES, Cache, Device, Link
from costlab.latency.devices import LARGEST, find_device, list_devices, read_device, write_device
from costlab.reports import devices as report

DATA = Path(devices.__file__).parent / "data"
NAMES = sorted(path.stem for path in DATA.glob("*.toml"))
ALL = {name: read_device(DATA / f"{name}.toml") for name in NAMES}

# FLOP a clock and unit: float32 on ordinary units, float16 on tensor cores with sums in float32. For GPUs the former
# are those of the programming guide; the latter follow from four tensor cores of 64 (Volta, Turing), 128 (GA10x, Ada),
# 256 (GA100), 512 (Hopper) or 1024 (B200) multiply-adds, and GeForce sums in float32 at half the rate.
RATES = {
    "gtx1080ti": (256, None),
    "v100": (128, 1024),
    "t4": (128, 1024),
    "rtx2080ti": (128, 512),
    "a100-40gb": (128, 2048),
    "a100-80gb": (128, 2048),
    "a10": (256, 1024),
    "rtxa6000": (256, 1024),
    "rtx3060": (256, 512),
    "rtx3080": (256, 512),
    "rtx3090": (256, 512),
    "l4": (256, 1024),
    "l40s": (256, 1024),
    "rtx4080": (256, 512),
    "rtx4090": (256, 512),
    "rtx5090": (256, 512),
    "h100": (256, 4096),
    "h100-pcie": (256, 4096),
    "h200": (256, 4096),
    "b200": (256, 8192),
    "m1-gpu": (256, None),
    "rtx4060": (256, 512),
    "rtx4070": (256, 512),
    "rtx5080": (256, 512),
    "jetson-agx-orin": (256, 2048),
    "jetson-orin-nx": (256, 2048),
    "jetson-orin-nano": (256, 2048),
    "gh200": (256, 4096),
    "v100-pcie": (128, 1024),
    "p100-pcie": (128, None),
    "mi100": (128, 1024),
    "mi250": (128, 1024),
    "mi300x": (256, 2048),
    "m2-gpu": (256, None),
    "m2": ((4 * 32 * 3.49 + 4 * 16 * 2.42) / (8 * 3.49), None),
    "raspberry-pi-4": (8, None),
    "snapdragon-8-gen-3": (32, None),
    "tensor-g4": (32, None),
    "graviton3": (32, None),
    "graviton4": (32, None),
    "xeon-8592plus": (64, None),
    "xeon-6980p": (64, None),
    "epyc-9755": (64, None),
    "i9-10940x": (64, None),
    "xeon-8375c": (64, None),
    "xeon-8480plus": (64, None),
    "ryzen-9-7950x": (32, None),
    "epyc-7763": (32, None),
    "epyc-9654": (32, None),
    "raspberry-pi-5": (16, None),
    "i7-12700h": ((6 * 32 * 4.7 + 8 * 16 * 3.5) / (14 * 4.7), None),
    "i9-13900k": ((8 * 32 * 5.4 + 16 * 16 * 4.3) / (24 * 5.4), None),
}

# Width of the memory bus in bits, and Gbit/s of each of its lines.
BUSES = {
    "gtx1080ti": (352, 11),
    "v100": (4096, 1.75),
    "t4": (256, 10),
    "rtx2080ti": (352, 14),
    "a100-40gb": (5120, 2.43),
    "a100-80gb": (5120, 3.186),
    "a10": (384, 12.5),
    "rtxa6000": (384, 16),
    "rtx3060": (192, 15),
    "rtx3080": (320, 19),
    "rtx3090": (384, 19.5),
    "l4": (192, 12.5),
    "l40s": (384, 18),
    "rtx4080": (256, 22.4),
    "rtx4090": (384, 21),
    "rtx5090": (512, 28),
    "h100": (5120, 5.23),
    "h100-pcie": (5120, 3.186),
    "h200": (6144, 6.25),
    "b200": (8192, 7.8),
    "m1-gpu": (128, 4.266),
    "rtx4060": (128, 17),
    "rtx4070": (192, 21),
    "rtx5080": (256, 30),
    "jetson-agx-orin": (256, 6.4),
    "jetson-orin-nx": (128, 6.4),
    "jetson-orin-nano": (128, 4.267),
    "gh200": (6144, 5.2),
    "v100-pcie": (4096, 1.75),
    "p100-pcie": (4096, 1.43),
    "mi100": (4096, 2.4),
    "mi250": (4096, 3.2),
    "mi300x": (8192, 5.2),
    "m2-gpu": (128, 6.4),
    "m2": (128, 6.4),
    "raspberry-pi-4": (32, 3.2),
    "snapdragon-8-gen-3": (64, 9.6),
    "tensor-g4": (64, 8.533),
    "graviton3": (8 * 64, 4.8),
    "graviton4": (12 * 64, 5.6),
    "xeon-8592plus": (8 * 64, 5.6),
    "xeon-6980p": (12 * 64, 6.4),
    "epyc-9755": (12 * 64, 6.0),
    "i9-10940x": (4 * 64, 2.933),
    "xeon-8375c": (8 * 64, 3.2),
    "xeon-8480plus": (8 * 64, 4.8),
    "ryzen-9-7950x": (2 * 64, 5.2),
    "epyc-7763": (8 * 64, 3.2),
    "epyc-9654": (12 * 64, 4.8),
    "raspberry-pi-5": (32, 4.267),
    "i7-12700h": (2 * 64, 4.8),
    "i9-13900k": (2 * 64, 5.6),
}

PLAUSIBLE_RIDGES = {
    "cuda": ((8, 110), (20, 450)),
    "cpu": ((3, 40), (3, 40)),
    "core": ((1, 10), (2, 20)),  # one core has the memory of all to itself
    "mps": ((15, 60), (15, 60)),
}

SMALL = """
title = "Some box"
type = "cpu"
architecture = "some"
units = 4
clock = 2e9
bandwidth = { value = 20e9, source = "sheet" }
launch_seconds = 2e-6
vector_flops = { float32 = 256e9 }

[sources]
sheet = "a data sheet, page 3"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder for a user's own devices."""
    monkeypatch.setattr(devices, "user_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def refusal(tmp_path):
    """What is said of a file with some content."""

    def said(content: str | bytes) -> str:
        path = tmp_path / "box.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(CostlabError) as caught:
            read_device(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") or message.startswith(f"{path} ")
        assert len(message) < 400
        return message.removeprefix(str(path)).lstrip(": ")

    return said


# The numbers.


def test_every_device_is_checked_against_other_facts():
    assert set(RATES) == set(BUSES) == set(NAMES)
    assert {"rtx3090", "rtx4090", "rtx5090", "i9-10940x", "i7-12700h", "h200", "h100", "v100", "t4", "l4"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_ridge_points_are_plausible(name):
    device = ALL[name]
    (low, high), (low_half, high_half) = PLAUSIBLE_RIDGES["core" if device.units == 1 else device.type]
    assert low <= device.ridge_point("float32") <= high
    assert low_half <= device.ridge_point("float16") <= high_half
    assert device.ridge_point("float32") == device.peak_flops("float32") / device.bandwidth


@pytest.mark.parametrize("name", NAMES)
def test_peaks_follow_from_units_lanes_and_clock(name):
    device = ALL[name]
    vector, matrix = RATES[name]
    assert device.vector_flops["float32"] == pytest.approx(vector * device.units * device.clock, rel=0.01)
    assert (matrix is None) == ("float16" not in device.matrix_flops)
    if matrix:  # tensor cores of Hopper and Blackwell run up to 8 % slower than the other units
        assert device.matrix_flops["float16"] == pytest.approx(matrix * device.units * device.clock, rel=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_bandwidth_follows_from_the_memory_bus(name):
    bits, rate = BUSES[name]
    assert ALL[name].bandwidth == pytest.approx(bits / 8 * rate * 1e9, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_narrower_types_and_matrix_units_are_not_slower(name):
    device = ALL[name]
    for dtype, peak in device.matrix_flops.items():
        assert peak >= device.vector_flops.get(dtype, 0)
    own = {**device.vector_flops, **device.matrix_flops}
    peaks = [device.peak_flops(dtype) for dtype in ("float32", "tfloat32", "bfloat16", "float8") if dtype in own]
    assert peaks == sorted(peaks)
    if "int8" in own:
        assert device.peak_flops("float16") <= device.peak_flops("int8")
    limit = 32 if device.architecture == "blackwell" else 16  # the latter only in data centres
    assert device.peak_flops("float16") <= limit * device.peak_flops("float32")
    assert device.peak_flops("float16") >= device.peak_flops("float32")


@pytest.mark.parametrize("name", NAMES)
def test_caches_grow_and_slow_down_with_their_level(name):
    caches = ALL[name].caches
    assert [cache.level for cache in caches] == ["L1", "L2", "L3"][: len(caches)]
    sizes = [cache.bytes for cache in caches]
    assert sizes == sorted(set(sizes))
    speeds = [cache.bandwidth for cache in caches if cache.bandwidth]
    assert [*speeds, ALL[name].bandwidth] == sorted([*speeds, ALL[name].bandwidth], reverse=True)
    assert all(cache.bytes % 1024 == 0 for cache in caches)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_source(name):
    device = ALL[name]
    paths = {"units", "clock", "bandwidth", "launch_seconds"} | ({"memory"} if device.memory else set())
    paths |= ({"power"} if device.power else set()) | ({"slowest_unit"} if device.slowest_unit < 1 else set())
    paths |= {"boost"} if device.boost != 1 else set()
    paths |= {f"vector_flops.{dtype}" for dtype in device.vector_flops}
    paths |= {f"matrix_flops.{dtype}" for dtype in device.matrix_flops}
    paths |= {f"caches.{cache.level}.bytes" for cache in device.caches}
    paths |= {f"caches.{cache.level}.bandwidth" for cache in device.caches if cache.bandwidth}
    paths |= {"link.bandwidth", "link.latency"} if device.link else set()
    assert set(device.sources) == paths
    assert all(len(source) > 10 for source in device.sources.values())


def test_cards_have_a_link_slower_than_their_memory():
    for name, device in ALL.items():
        single = device.type != "cuda" or "jetson" in name
        assert (device.link is None) == single
        if device.link:  # over PCI Express at the least 8 GB/s
            assert 8e9 < device.link.bandwidth < device.bandwidth / 2
    assert ALL["h100"].link.bandwidth > 4 * ALL["h100-pcie"].link.bandwidth


@pytest.mark.parametrize("name", NAMES)
def test_every_source_is_used(name):
    texts = tomllib.loads((DATA / f"{name}.toml").read_text())["sources"]
    assert set(texts.values()) == set(ALL[name].sources.values())


# What a device answers.


def test_a_type_without_units_is_computed_in_float32():
    device = ALL["gtx1080ti"]
    assert device.peak_flops("float16") == device.peak_flops("bfloat16") == device.peak_flops("float32") == 11.34e12
    assert ALL["m1-gpu"].peak_flops("int8") == 2.6e12
    with pytest.raises(
        CostlabError, match=r"^m1-gpu has no peak for 'float64'; use one of float32, tfloat32, bfloat16, .*"
    ):
        ALL["m1-gpu"].peak_flops("float64")
    with pytest.raises(CostlabError, match="no peak for 'fp16'"):
        device.peak_flops("fp16")


def test_the_faster_units_set_the_peak():
    assert ALL["a100-40gb"].peak_flops("float16") == 312e12
    assert ALL["a100-40gb"].peak_flops("float32") == 19.5e12


def test_caches_of_units_add_up():
    assert ALL["i9-10940x"].cache_bytes("L2") == 14 * 1024**2
    assert ALL["rtx3090"].cache_bytes("L1") == 82 * 128 * 1024
    assert ALL["rtx3090"].cache_bytes("L2") == 6 * 1024**2
    assert ALL["rtx3090"].cache_bytes("L3") == 0


# Names.


def test_devices_have_names_in_any_case(folder):
    assert list_devices() == NAMES
    assert find_device("RTX3090") == find_device(DATA / "rtx3090.toml") == ALL["rtx3090"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("rtx309", "'rtx3090'"),
        ("rxt4090", "'rtx4090'"),
        ("a100", "'a100-40gb' or 'a100-80gb'"),
        ("i9-10940", "'i9-10940x'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(folder, name, meant):
    with pytest.raises(
        CostlabError, match=rf"^no device '{name}'; did you mean {meant}\?; `costlab devices` lists them"
    ):
        find_device(name)


@pytest.mark.parametrize("name", ["", "..", "/", "../data/rtx3090", "data", "a\0b", "x" * 100_000, "\x1b[31m"])
def test_an_unknown_name_finds_nothing(folder, name):
    with pytest.raises(CostlabError, match=r"^no device "):
        find_device(name)


@pytest.mark.parametrize("name", ["missing.toml", "a\0b.toml", "x" * 10_000 + ".toml"])
def test_a_path_without_a_file_is_one_line(folder, name):
    with pytest.raises(CostlabError, match="cannot be read"):
        find_device(name)


def test_a_users_own_device_has_a_name_and_comes_first(folder):
    (folder / "Box.toml").write_text(SMALL)
    write_device(replace(ALL["rtx3090"], title="tuned"), folder / "rtx3090.toml")
    assert "box" in list_devices()
    assert find_device("BOX").title == "Some box"
    assert find_device("rtx3090").title == "tuned"
    assert len(list_devices()) == len(NAMES) + 1


# Files.


def test_numbers_may_stand_plainly(tmp_path):
    (tmp_path / "box.toml").write_text(SMALL)
    device = read_device(tmp_path / "box.toml")
    assert device.name == "box"
    assert device.units == 4
    assert isinstance(device.units, int)
    assert device.vector_flops == {"float32": 256e9}
    assert device.sources == {"bandwidth": "a data sheet, page 3"}
    assert (device.matrix_flops, device.caches, device.memory, device.efficiency) == ({}, (), None, {})


@pytest.mark.parametrize("name", NAMES)
def test_devices_survive_being_written(name, tmp_path):
    write_device(ALL[name], tmp_path / f"{name}.toml")
    assert read_device(tmp_path / f"{name}.toml") == ALL[name]


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
numbers = st.floats(1e-12, 1e30)
wholes = st.integers(1, 10**30).map(lambda number: int(float(number)))
tables = st.recursive(
    st.dictionaries(words, numbers | st.integers(-(2**63), 2**63 - 1) | words, max_size=3),
    lambda inner: st.dictionaries(words, inner | numbers, max_size=3),
    max_leaves=4,
).filter(lambda table: nesting(table) < 8)
any_device = st.builds(
    Device,
    name=st.just("box"),
    title=words,
    type=st.sampled_from(["cuda", "cpu", "mps"]),
    architecture=words,
    units=wholes,
    clock=numbers,
    bandwidth=numbers,
    launch_seconds=numbers,
    vector_flops=st.dictionaries(st.sampled_from(DTYPES), numbers).map(lambda peaks: {"float32": 1.0, **peaks}),
    matrix_flops=st.dictionaries(st.sampled_from(DTYPES), numbers),
    memory=st.none() | wholes,
    caches=st.lists(
        st.builds(Cache, st.sampled_from(["L1", "L2", "L3"]), wholes, st.sampled_from(["unit", "device"]), numbers),
        unique_by=lambda cache: cache.level,
    ).map(tuple),
    power=st.none() | numbers,
    boost=st.floats(0.01, 2.0),
    slowest_unit=st.floats(0.01, 1.0),
    link=st.none() | st.builds(Link, numbers, numbers),
    efficiency=tables,
    sources=st.dictionaries(st.sampled_from(["units", "clock", "bandwidth", "vector_flops.float32"]), words),
)


def nesting(table: object) -> int:
    return 1 + max(map(nesting, table.values()), default=0) if isinstance(table, dict) else 0


@given(any_device)
def test_any_device_survives_being_written_and_can_be_shown(device):
    from costlab.latency.device_format import parsed, text

    assert parsed(text(device).encode(), "box") == device
    assert json.loads(report.document([device]))["devices"][0]["title"] == device.title
    assert "\x1b" not in report.markdown_page(device) + report.markdown([device])


def test_a_device_that_could_not_be_read_again_is_not_written(tmp_path):
    path = tmp_path / "box.toml"
    path.write_text(SMALL)
    for broken in ({"clock": math.nan}, {"bandwidth": -1.0}, {"type": "tpu"}, {"efficiency": {"x": math.inf}}):
        with pytest.raises(CostlabError):
            write_device(replace(ALL["rtx3090"], **broken), path)
    assert path.read_text() == SMALL
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clock = 2e9", "", "clock is missing"),
        ("clock = 2e9", "clock = nan", "clock should be a finite number; got nan"),
        ("clock = 2e9", "clock = inf", "clock should be a finite number; got inf"),
        ("clock = 2e9", "clock = -1", "clock should be greater than or equal to 0.000000000001; got -1"),
        ("clock = 2e9", 'clock = "2 GHz"', "clock should be a valid number; got '2 GHz'"),
        ("clock = 2e9", "clock = true", "clock should be a valid number; got True"),
        ("clock = 2e9", "clock = 1979-05-27", "clock should be a valid number; got datetime.date(1979, 5, 27)"),
        ("clock = 2e9", "clok = 2e9", "'clok' is not a key of a device file; did you mean 'clock'?"),
        ("units = 4", "units = 4.5", "units should be a multiple of 1; got 4.5"),
        ('"cpu"', '"gpu"', "type should be 'cuda', 'cpu' or 'mps'; got 'gpu'"),
        ("float32 = 256e9", "fp32 = 256e9", "vector_flops should map dtypes (float64, float32, "),
        ("float32 = 256e9", "", "vector_flops should have float32"),
        ('"sheet" }', '"shet" }', "bandwidth: [sources] has no 'shet'; did you mean 'sheet'?"),
        ('source = "sheet"', 'sauce = "sheet"', "bandwidth should be a number or { value = NUMBER, source = KEY }"),
        ('sheet = "a', 'sheet = 3 #"a', "sources should be a table of strings"),
        (
            "[sources]",
            "[[caches]]\nlevel='L4'\nbytes=1\nper='unit'\n[sources]",
            "caches.0.level should be 'L1', 'L2' or",
        ),
        (
            "[sources]",
            "[[caches]]\nlevel='L1'\nsize=1\nbytes=1\nper='unit'\n[sources]",
            "'caches.0.size' is not a key of a",
        ),
        (
            "[sources]",
            "[[caches]]\nlevel='L1'\nbytes=0\nper='unit'\n[sources]",
            "caches.0.bytes should be greater than",
        ),
        ("units = 4", "units = 4\ncaches = 3", "caches should be a valid list; got 3"),
        ("units = 4", "units = 4\nmatrix_flops = 3", "matrix_flops should be a valid dictionary; got 3"),
        (
            "[sources]",
            "[efficiency]\nx = [1]\n[sources]",
            "efficiency should hold numbers, strings and tables; 'x' is [1]",
        ),
        (
            "[sources]",
            "[efficiency.a]\nx = nan\n[sources]",
            "efficiency should hold numbers, strings and tables; 'x' is nan",
        ),
        ("[sources]", "[sources", "invalid TOML: "),
    ],
)
def test_an_error_names_the_key_and_what_is_wrong(refusal, old, new, message):
    assert old in SMALL
    assert refusal(SMALL.replace(old, new)).startswith(message)


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        b"\x00\xff\xfe binary",
        b"\x89PNG\r\n",
        b"[[[[",
        b"title = " + b"[" * 20_000,
        b"title = " + b"{a=" * 5_000,
        b".".join([b"a"] * 40_000) + b" = 1",
        b"\n".join(b".".join([b"a%d" % i] * 400) + b" = 1" for i in range(60)),
        b"[efficiency." + b".".join([b"a"] * 5_000) + b"]\nx = 1",
        b"clock = 1" + b"0" * 5_000,
        b"clock = 1" + b"0" * 400,
        b"clock = 1e999",
        b"title = '" + b"x" * 90_000 + b"'",
        b"x" * 90_000 + b" = 1",
        b"#" * (LARGEST + 1),
        b"caches = [1, 2]",
        b"caches = {level = 1}",
        b"sources = 1",
        b"sources = {a = 1}",
        b"clock = {value = {value = 1, source = 'a'}, source = 'a'}\n[sources]\na = 'b'",
        b"vector_flops = {value = 1}",
        b"efficiency = 3",
        b"efficiency = {a = 1" + b"0" * 400 + b"}",
        b"matrix_flops = [[[]]]",
    ],
)
def test_hostile_files_end_in_one_clear_line(refusal, content):
    assert refusal(content)
    assert refusal(content + SMALL.encode())


def test_only_regular_files_are_read(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(CostlabError, match=r"folder.toml is not a file$"):
        read_device(tmp_path / "folder.toml")


# The command.


def test_the_command_lists_every_device(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert run(["devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:]] == NAMES
    assert max(map(len, lines)) <= 100
    line = next(line for line in lines if line.startswith("rtx3090"))
    assert line.endswith(" 35.60 T  71.00 T  936.2 GB/s           76  25.77 GB  measured")


@pytest.mark.parametrize("width", [40, 50, 60, 80, 200])
def test_the_table_fits_the_screen(folder, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    for line in (["devices"], ["devices", "show", "rtx3090", "i7-12700h"]):
        assert run(line) == 0
        out = capsys.readouterr().out
        assert max(map(len, out.splitlines())) <= width
        assert "rtx3090" in out


def test_show_gives_every_number_with_its_source(folder, capsys):
    assert run(["devices", "show", "h200"]) == 0
    out = capsys.readouterr().out
    for shown in ("989.5 TFLOP/s", "4.800 TB/s", "151.4 GB", "1.980 GHz", "5.000 us", "62.91 MB", "206 FLOP/byte"):
        assert shown in out
    assert "NVIDIA H200 data sheet" in out
    assert "assumption" in out


def test_formats_agree(folder, capsys):
    outputs = {}
    for form in ("text", "json", "markdown"):
        for names in ([], ["show", "t4"]):
            assert run(["devices", *names, "--format", form]) == 0
            outputs[form, bool(names)] = capsys.readouterr().out
    everything = json.loads(outputs["json", False])
    assert everything["schema_version"] == 1
    assert [device["name"] for device in everything["devices"]] == NAMES
    (t4,) = json.loads(outputs["json", True])["devices"]
    assert t4 in everything["devices"]
    assert t4["matrix_flops"]["float16"] == 65e12
    assert t4["ridge_points"]["float16"] == 65e12 / 320e9
    assert t4["sources"]["bandwidth"].startswith("NVIDIA Turing")
    assert outputs["markdown", False].count("\n") == len(NAMES) + 2
    assert "| `t4` |" in outputs["markdown", False]
    assert "65.00 TFLOP/s" in outputs["markdown", True]


def test_a_file_of_the_user_is_shown_with_what_it_lacks(tmp_path, capsys):
    (tmp_path / "box.toml").write_text(SMALL.replace("[sources]", "[efficiency.eager]\nshare = 0.5\n[sources]"))
    assert run(["devices", "show", str(tmp_path / "box.toml"), "-o", str(tmp_path / "out.txt")]) == 0
    assert capsys.readouterr().out == ""
    out = (tmp_path / "out.txt").read_text()
    assert out.startswith("box: Some box (cpu, some)\n")
    assert "not given" in out
    assert "a data sheet, page 3" in out
    assert "efficiency.eager.share" in out


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (["show"], "error: `costlab devices` lists devices; to see one in full, type `costlab devices show NAME`"),
        (["t4"], "error: `costlab devices` lists devices; to see one in full, type `costlab devices show t4`"),
        (["show", "t5"], "error: no device 't5'"),
        (["--format", "yaml"], "error: Invalid value for '--format'"),
    ],
)
def test_wrong_usage_is_one_line(folder, capsys, line, error):
    assert run(["devices", *line]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(error)
    assert err.count("\n") == 1


def test_a_broken_file_does_not_hide_the_others(folder, capsys):
    (folder / "broken.toml").write_text("title = 3")
    assert run(["devices"]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == len(NAMES) + 3
    assert err.startswith(f"error: {folder / 'broken.toml'}: ")


def test_titles_cannot_reach_the_terminal(folder, capsys):
    (folder / "evil.toml").write_text(SMALL.replace("Some box", r"\u001b[31m [red]|`<b>\u202e\n"))
    for line in (["devices"], ["devices", "show", "evil"], ["devices", "show", "evil", "--format", "markdown"]):
        assert run(line) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "\u202e" not in out


def test_devices_are_found_without_torch_and_read_late():
    code = (
        "import sys; import costlab.latency.devices\n"
        "early = {'torch', 'pydantic', 'tomli_w', 'platformdirs'} & set(sys.modules); assert not early, early\n"
        "from costlab.cli import run; assert run(['devices']) == 0\n"
        "slow = {'torch', 'networkx', 'matplotlib', 'pandas'} & set(sys.modules); assert not slow, slow"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(io.StringIO(done.stdout).readlines()) >= len(NAMES) + 3
