"""Files are data: reading one never runs code. Names are text in every format."""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from helpers.fuzzing import device
from markdown_it import MarkdownIt
from torch import nn

from costlab.cli import run
from costlab.core.files import read_profile, write_text
from costlab.tracing._profile import profile

PAYLOAD = "<script>alert(1)</script><img src=x onerror=alert(1)>"
NAMES = (  # of modules, which torch lets hold anything but a dot
    f"\x1b[31m\x1b]0;owned\x07{PAYLOAD}",
    "=cmd|'/C calc'!A0",
    "@SUM(1+1)*cmd",
    "-2+3+cmd",
    "\t=1+1",
    "a;=1+1",
    'a; "@SUM(1)";+1',
    "::error::owned%0A",
    "\r\n::stop-commands::x",
    "`${{ secrets }}` [x](javascript:alert(1)) | # *",
    "]]> --> <![CDATA[ &amp; \" ' \\",
    "\u202egnp\u202c \u200b \ud800 \x00 \x85 \u2028",
    '"; digraph { a -> b } //',
    "%s {0} $(touch owned) `touch owned`",
)


class Named(nn.Module):
    """Convolutions by these names, one wasteful enough to be found by every linter."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        for position, name in enumerate(NAMES):
            self.add_module(name, nn.Conv2d(8 if position % 2 == 0 else 64, 64 if position % 2 == 0 else 8, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for name in NAMES:
            x = getattr(self, name)(x).relu()
        return torch.special.bessel_j0(x)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """A saved profile with such names everywhere: of the model, its modules, its arguments and its source files."""
    result = profile(Named(), (1, 3, 8, 8), name=NAMES[0], provider=NAMES[1], arguments={NAMES[2]: NAMES[3]})
    document = json.loads(result.to_json())
    for position, op in enumerate(document["ops"]):
        op["attrs"][NAMES[position % len(NAMES)]] = NAMES[(position + 1) % len(NAMES)]
        op["source"] = {"file": f"/tmp/{NAMES[position % len(NAMES)]}.py", "line": 3}
        if position % 3 == 0:
            op["kind"] = op["kind"] if op["kind"] == "conv2d" else NAMES[position % len(NAMES)]
    document["inputs"][0]["name"] = NAMES[5]
    document["torch"] = document["costlab"] = NAMES[0]
    path = tmp_path_factory.mktemp("hostile") / "hostile.json"
    path.write_text(json.dumps(document))
    return str(path)


# Names.


class Page(HTMLParser):
    """The tags, handlers and links of a page, leaving out what it holds as data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.bad: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name.startswith("on") or "javascript:" in (value or "").lower():
                self.bad.append(f"{tag} {name}={value}")


def made(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints; no stream holds a character that a terminal obeys."""
    assert run(command) in (0, 1)
    out, err = capsys.readouterr()
    for stream in (out, err):
        obeyed = set(
            re.findall(
                r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", stream
            )
        )
        assert not obeyed, obeyed
    return out


REPORTS = [
    ["report", "--by", by, "--format", form] for by in ("module", "kind", "op") for form in ("text", "markdown", "csv")
]
LINTS = [
    ["lint", "--isolated", "--format", form]
    for form in ("text", "github", "gitlab", "sarif", "junit", "markdown", "json")
]
OTHERS = [
    ["report", "--format", "html"],
    ["report", "--format", "json"],
    ["report", "--device", "rtx3090", "--by", "op"],
]
EXPORTS = [["export", "--to", form] for form in ("dot", "graphml", "model-explorer", "model-explorer-data")]


@pytest.mark.parametrize(
    "command", [*REPORTS, *LINTS, *OTHERS, *EXPORTS, ["export", "--to", "perfetto", "--device", "t4"]], ids=" ".join
)
def test_every_format_escapes_control_characters_in_names(command, hostile, capsys):
    assert made([command[0], hostile, *command[1:]], capsys)


def test_compare_escapes_control_characters_in_names(hostile, capsys):
    for form in ("text", "json", "markdown"):
        assert made(["compare", hostile, hostile, "--format", form], capsys)


def test_pages_have_no_tag_that_a_name_brought(hostile, tmp_path, capsys):
    shown = made(["report", hostile, "--format", "html"], capsys)
    harmless = tmp_path / "harmless.json"
    write_text(harmless, profile(nn.Conv2d(3, 8, 1), (1, 3, 8, 8)).to_json())
    usual = Page(made(["report", str(harmless), "--format", "html"], capsys))
    page = Page(shown)
    assert page.bad == []
    assert page.tags.count("script") == usual.tags.count("script")
    assert page.tags.count("img") == usual.tags.count("img")
    assert PAYLOAD not in shown


@pytest.mark.parametrize("command", [["report"], ["lint", "--isolated"]], ids=" ".join)
def test_markdown_has_no_tag_that_a_name_brought(command, hostile, capsys):
    shown = made([command[0], hostile, *command[1:], "--format", "markdown"], capsys)
    page = Page(MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(shown))
    assert page.bad == []
    assert not {"script", "img", "a"} & set(page.tags)


def test_a_page_loads_nothing_from_elsewhere(hostile, capsys):
    shown = made(["report", hostile, "--format", "html"], capsys)
    assert not re.findall(
        r"""(?:src|href|action|data)\s*=\s*["']?(?:https?:)?//""", re.sub(r"(?s)<script.*?</script>", "", shown)
    )


def test_notebooks_have_no_tag_that_a_name_brought(hostile):
    from costlab.guidelines import lint
    from costlab.latency._predict import predict

    read = read_profile(Path(hostile))
    for shown in (read, lint(read), predict(read, "rtx3090")):
        page = Page(shown._repr_html_())
        assert page.bad == []
        assert not {"script", "img"} & set(page.tags)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("by", ["module", "kind", "op"])
def test_no_cell_is_a_formula(by, delimiter, hostile, capsys):
    text = made(["report", hostile, "--format", "csv", "--by", by], capsys)
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    assert len(rows) > 3
    for cell in (cell for row in rows for cell in row):
        assert not cell.lstrip(' "').startswith(("=", "+", "@", "\t")), cell
        assert not cell.lstrip(' "').startswith("-") or re.fullmatch(r"-?[\d.e+-]*", cell), cell


@pytest.mark.parametrize(
    "command", [["lint", "--isolated", "--format", "junit"], ["export", "--to", "graphml"]], ids=" ".join
)
def test_xml_is_well_formed_and_declares_nothing(command, hostile, capsys):
    shown = made([command[0], hostile, *command[1:]], capsys)
    assert "<!DOCTYPE" not in shown
    assert "<!ENTITY" not in shown
    assert not [e.tag for e in ET.fromstring(shown).iter() if e.tag.endswith(("script", "img"))]


def test_workflow_commands_are_ours_alone(hostile, capsys):
    first, *lines = made(["lint", hostile, "--isolated", "--format", "github"], capsys).splitlines()
    token = first.removeprefix("::stop-commands::")
    assert re.fullmatch(r"[0-9a-f]{32}", token)
    obeyed = lines[lines.index(f"::{token}::") + 1 :]
    assert len(obeyed) > 3
    assert all(re.match(r"::(error|warning|notice) file=[^:]*::|\d+ more ", line) for line in obeyed)


@pytest.mark.parametrize("kind", ["treemap", "breakdown", "graph", "memory"])
def test_pictures_have_no_tag_that_a_name_brought(kind, hostile, tmp_path):
    assert run(["plot", kind, hostile, "-o", f"{tmp_path}/p.svg"]) == 0
    text = (tmp_path / "p.svg").read_text()
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(text).iter()}
    assert not {"script", "img", "image", "foreignObject"} & tags
    assert "\x1b" not in text


# Files.

WATCHED = """
import os, sys
seen = []
ARMED = False
DANGEROUS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pty.spawn",
             "socket.connect", "socket.getaddrinfo", "pickle.find_class")
def hook(event, args):
    if not ARMED:
        return
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        if not str(args[0]).startswith(("/dev/null", "/dev/fd")) and "__pycache__" not in str(args[0]):
            seen.append(f"writes {args[0]}")
    elif event == "exec" and "owned" in f"{args[0].co_consts} {args[0].co_names}":
        seen.append(f"runs {args[0].co_filename} {args[0].co_name}")
    elif event == "import" and "owned" in str(args[0]):
        seen.append(f"imports {args[0]}")
    elif event.startswith(DANGEROUS):
        seen.append(f"{event} {args}")
sys.addaudithook(hook)
from costlab.cli import run
import {modules}
run({warm!r})
ARMED = True
code = run({command!r})
ARMED = False
print("CODE", code)
print("SEEN", seen)
"""

RUNS = "__import__('os').system('touch owned')"
READS = {
    "a saved profile": ["report", "hostile.json", "--device", "rtx3090"],
    "a saved profile, linted": ["lint", "hostile.json", "--isolated"],
    "a configuration": ["lint", "--config", "pyproject.toml", "net"],
    "a device file": ["devices", "show", "mine.toml"],
    "a baseline": ["lint", "net.json", "--isolated", "--baseline", "baseline.json"],
    "rows": ["plot", "pareto", "rows.csv", "-o", "p.none"],
    "a pickle": ["report", "net.pt"],
    "a pickle called profile": ["report", "pickled.json"],
    "a pickle called program": ["report", "pickled.pt2"],
    "a transformers config": ["report", "hf:config.json"],
    "arguments": ["report", "net.json", "-a", f"width={RUNS}"],
}


class Runs:
    def __reduce__(self):
        import os

        return os.system, ("touch owned",)


@pytest.fixture(scope="module")
def files(tmp_path_factory, hostile) -> Path:
    """Files that would make a file called `owned` if anything in them ran."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "hostile.json").write_text(Path(hostile).read_text())
    write_text(folder / "net.json", profile(nn.Linear(3, 4), (2, 3)).to_json())
    config = f'[[tool.costlab.model]]\nname = "net"\ntarget = "net.json"\nbudgets = {{ params = "{RUNS}" }}\n'
    (folder / "pyproject.toml").write_text(config)
    (folder / "mine.toml").write_text(device().replace('title = "', f'title = "{RUNS}'))
    entry = {"model": RUNS, "rule": RUNS, "module": RUNS}
    (folder / "baseline.json").write_text(json.dumps({"schema_version": 1, "accepted": [entry]}))
    (folder / "rows.csv").write_text(f"name,mult_adds,params\n{RUNS},1,2\n=cmd(),2,1\n")
    for name in ("net.pt", "pickled.json", "pickled.pt2"):
        (folder / name).write_bytes(pickle.dumps(Runs()))
    config = {"model_type": "bert", "auto_map": {"AutoModel": "owned.Model"}, "architectures": [RUNS]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "owned.py").write_text("open('owned', 'w')\n")
    return folder


@pytest.mark.parametrize("name", READS)
@pytest.mark.slow
def test_nothing_runs_because_a_file_was_read(name, files):
    needs_torch = any(word in " ".join(READS[name]) for word in (".pt", "hf:"))
    modules = "torch, torch.export, pickle, zipfile" if needs_torch else "json"
    warm = (
        ["report", "hf:gone.json"] if "hf:" in " ".join(READS[name]) else ["report", "net.json", "--device", "rtx3090"]
    )
    code = (
        WATCHED.replace("{modules}", modules).replace("{warm!r}", repr(warm)).replace("{command!r}", repr(READS[name]))
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=files, capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert re.search(r"^CODE [012]$", done.stdout, re.M), done
    assert "SEEN []" in done.stdout, done.stdout[-800:]
    assert not (files / "owned").exists()


def test_the_watch_would_notice(files):
    code = WATCHED.replace("{modules}", "pickle").replace("{warm!r}", "['--version']")
    code = code.replace("code = run({command!r})", "code = pickle.loads(open('net.pt', 'rb').read())").replace(
        "touch owned", "true"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=files, capture_output=True, text=True, check=False)
    (files / "owned").unlink()
    assert "os.system" in done.stdout
