"""The command line: reports on stdout, one line on stderr for every error, exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.examples import HOSTILE, examples

import costlab
from costlab.cli import COMMANDS, run
from costlab.cli.options import parse_arguments, parse_value
from costlab.core.files import write_text
from costlab.core.profile import Profile
from costlab.errors import CostlabError

COSTLAB = [sys.executable, "-m", "costlab"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> str:
    """A saved profile: reading it takes no torch and no time."""
    return keep("tiny", tmp_path_factory.mktemp("saved"))


def keep(name: str, folder: Path) -> str:
    write_text(folder / f"{name}.json", examples()[name].to_json())
    return str(folder / f"{name}.json")


def environment(**changes: str) -> dict[str, str]:
    plain = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM")}
    return {**plain, **changes}


# Reports.


def test_a_report_names_the_published_figures_of_mobilenet_v2(capsys):
    assert run(["report", "mobilenet_v2"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "300,774,272" in out
    assert "3,504,872" in out  # torchvision's meta["num_params"]


def test_options_reach_the_network(capsys):
    assert run(["report", "zoo:mobilenet_v2", "-a", "num_classes=10", "--batch", "2", "--resolution", "32"]) == 0
    out = capsys.readouterr().out
    assert "mobilenet_v2 (zoo, num_classes=10)" in out
    assert "2x3x32x32" in out
    assert f"{3_504_872 - 1281 * 990:,}" in out
    assert re.search(r"classifier\.1 +Linear +2x10 ", out)


def test_every_format_goes_to_stdout(saved, capsys):
    outputs = {}
    for form in ("text", "json", "csv", "markdown"):
        assert run(["report", saved, "--format", form]) == 0
        outputs[form], err = capsys.readouterr()
        assert err == ""
    assert Profile.from_json(outputs["json"]) == examples()["tiny"]
    assert outputs["text"].startswith("tiny (zoo, width=0.5, sizes=[1])\n")
    assert outputs["csv"].startswith("module,type,output_shape,")
    assert outputs["markdown"].startswith("### `tiny (zoo,")


def test_a_file_holds_what_stdout_would(saved, tmp_path, capsys):
    for form in ("text", "json", "csv", "markdown"):
        assert run(["report", saved, "--format", form]) == 0
        out = capsys.readouterr().out
        assert run(["report", saved, "--format", form, "-o", str(tmp_path / form)]) == 0
        assert capsys.readouterr() == ("", "")
        assert (tmp_path / form).read_text(encoding="utf-8") == out


def test_rows_by_top_and_sort(saved, capsys):
    assert run(["report", saved, "--by", "op", "--top", "1", "--sort", "memory-access", "--format", "csv"]) == 0
    names = [line.split(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["op", "act/relu", "4 others"]
    assert run(["report", saved, "--depth", "0", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith(",Tiny,2x5,4,110672,")


def test_csv_has_every_module_where_no_depth_is_given(saved, capsys):
    assert run(["report", saved, "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(examples()["tiny"].trace.modules)


def test_what_the_network_prints_does_not_reach_the_report(tmp_path, capsys):
    code = "import torch\ndef make():\n    print('noise')\n    return torch.nn.Linear(3, 4)\n"
    (tmp_path / "net.py").write_text(code)
    assert run(["report", f"{tmp_path}/net.py:make", "--input", "1,3", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["total"]["mult_adds"] == 3 * 4
    assert err == "noise\n"


def test_strict_fails_after_the_report(tmp_path, capsys):
    path = keep("hostile", tmp_path)
    assert run(["report", path]) == 0
    assert "UNCOUNTED" in capsys.readouterr().out
    assert run(["report", path, "--strict", "--format", "json", "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        "error: --strict: no cost rule for special_bessel_j0 x1; the totals leave them out\n"
    )
    assert Profile.from_json((tmp_path / "out").read_text()) == examples()["hostile"]
    assert run(["report", keep("guessed", tmp_path), "--strict"]) == 0


# Arguments.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("0.75", 0.75),
        ("1e-3", 1e-3),
        ("true", True),
        ("False", False),
        ("None", None),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ("[1, true]", [1, True]),
        ("(1, 2)", [1, 2]),
        ("[(1, 2), None]", [[1, 2], None]),
        ('{"a": [1]}', {"a": [1]}),
        ("'3'", "3"),
        ('"a b"', "a b"),
        ("relu", "relu"),
        ("a=b", "a=b"),
        ("", ""),
        ("1.2.3", "1.2.3"),
        ("nan", "nan"),
        ("1e999", "1e999"),
        ("Infinity", "Infinity"),
        ("[1,", "[1,"),
        ("__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("b'x'", "b'x'"),
        ("{1, 2}", "{1, 2}"),
        ("[" * 10_000, "[" * 10_000),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_arguments_are_literals_where_they_are_and_strings_elsewhere(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)
    assert parse_arguments([f"key={text}"]) == {"key": value}


@pytest.mark.parametrize("argument", ["width", "=3", "1x=2", "a b=2"])
def test_an_argument_that_is_none_is_an_error_of_the_user(argument):
    with pytest.raises(CostlabError, match="write -a key=value"):
        parse_arguments([argument])


# Errors.


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["repotr"], "no command 'repotr'; did you mean 'report'?"),
        (["--bogus"], "No such option: --bogus"),
        (["report"], "Missing argument"),
        (["report", "SAVED", "--bogus"], "No such option: --bogus"),
        (["report", "SAVED", "extra"], "unexpected extra argument"),
        (["report", "SAVED", "--by", "layer"], "Invalid value for '--by'"),
        (["report", "SAVED", "--format", "xml"], "Invalid value for '--format'"),
        (["report", "SAVED", "--top", "many"], "Invalid value for '--top'"),
        (["report", "SAVED", "--top", "0"], "top must be 1 or greater, got 0"),
        (["report", "SAVED", "--depth", "-1"], "0 or greater, got -1"),
        (["report", "SAVED", "--by", "op", "--depth", "1"], "depth needs rows by module"),
        (["report", "SAVED", "--sort", "price"], "unknown metric 'price'"),
        (["report", "SAVED", "-a", "width"], "write -a key=value"),
        (["report", "SAVED", "-a", "w=1", "-a", "w=2"], "-a w is given twice"),
        (["report", "SAVED", "--batch", "2"], "is a saved profile"),
        (["report", "SAVED", "-o", "FOLDER"], "is a directory"),
        (["report", "SAVED", "-o", "FOLDER/none/report"], "no such file or directory"),
        (["report", "FOLDER/gone.json"], "no such file or directory"),
        (["report", "FOLDER/cut.json"], "cut.json: not a costlab profile: invalid JSON in line 1"),
        (["report", "no_such_network"], "no model 'no_such_network'"),
        (["report", "mobilenet_v2", "-a", "depth=3"], "depth"),
        (["models", "--provider", "nobody"], "no provider 'nobody'"),
        (["models", "--provider", "zoo", "--filter", "zzz"], "no model matches 'zzz'"),
    ],
    ids=str,
)
def test_an_error_of_the_user_is_one_line_and_exit_code_2(command, message, saved, tmp_path, capsys):
    (tmp_path / "cut.json").write_text('{"schema_version": 1')
    assert run([word.replace("SAVED", saved).replace("FOLDER", str(tmp_path)) for word in command]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == ["cut.json"]


def test_an_unexpected_exception_is_one_line_that_says_how_to_see_more(saved, capsys, monkeypatch):
    def fail(*args: object, **options: object) -> None:
        raise ZeroDivisionError("first line\nsecond \x1b[31m line")

    monkeypatch.setattr("costlab.models.profile_of", fail)
    line = "error: ZeroDivisionError: first line (run again with -v for the traceback)\n"
    assert run(["report", saved]) == 2
    assert capsys.readouterr() == ("", line)
    for command in (["-v", "report", saved], ["report", saved, "-v"], ["report", "--verbose", saved]):
        assert run(command) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("Traceback (most recent call last)")
        assert err.endswith(line)


def test_an_error_may_hold_any_text(capsys):
    assert run(["report", f"x{HOSTILE}.json"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.removesuffix("\n").isprintable()


def test_an_interrupted_command_exits_130(saved, capsys, monkeypatch):
    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("costlab.models.profile_of", interrupt)
    assert run(["report", saved]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_closed_pipe_is_silent(saved, form):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [*COSTLAB, "report", saved, "--format", form]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writing)
    assert done.returncode == 128 + signal.SIGPIPE
    assert done.stderr == b""


# Models, help, completion.


def test_models_are_listed_as_they_can_be_named(capsys):
    assert run(["models", "--provider", "zoo"]) == 0
    names = capsys.readouterr().out.splitlines()
    assert "zoo:mobilenet_v2" in names
    assert all(re.fullmatch(r"zoo:\w+", name) for name in names)
    for pattern in ("mobilenet", "*_v2", "mobilenet_v?"):
        assert run(["models", "--provider", "zoo", "--filter", pattern]) == 0
        assert "zoo:mobilenet_v2\n" in capsys.readouterr().out


def test_missing_providers_are_reported_with_the_install_command(capsys, monkeypatch):
    monkeypatch.setattr("costlab.models.resolve.installed", lambda provider: provider == "zoo")
    assert run(["models"]) == 0
    out, err = capsys.readouterr()
    assert "zoo:mobilenet_v2\n" in out
    assert err == "not installed: torchvision, timm (pip install 'costlab[torchvision,timm]')\n"


def test_version_help_and_saved_profiles_do_without_torch(saved):
    code = (
        "import sys; from costlab.cli import run\n"
        "for line in sys.argv[1:]: assert run(line.split('|')) == 0\n"
        "slow = {'torch', 'torchvision', 'matplotlib', 'networkx', 'pandas'} & set(sys.modules); assert not slow, slow"
    )
    lines = ["--version", "--help", *(f"{name}|--help" for name in COMMANDS), f"report|{saved}"]
    done = subprocess.run([sys.executable, "-c", code, *lines], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"costlab {costlab.__version__}\n")


def test_help_is_there_for_every_command(capsys):
    assert run([]) == run(["--help"]) == 0
    bare, asked = (text for text in capsys.readouterr().out.split("Usage:")[1:])
    assert bare.strip() == asked.strip()
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z]", asked, re.MULTILINE)
        assert run([name, "--help"]) == 0
        out = capsys.readouterr().out
        assert f"costlab {name} [OPTIONS]" in out
        assert "--verbose" in out


def test_commands_complete():
    asked = environment(_COSTLAB_COMPLETE="complete_bash", COMP_WORDS="costlab rep", COMP_CWORD="1")
    done = subprocess.run(COSTLAB, env=asked, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["report"]


# Terminals and pipes.


def through_a_pipe(*command: str, **variables: str) -> str:
    done = subprocess.run([*COSTLAB, *command], env=environment(**variables), capture_output=True, check=True)
    return done.stdout.decode()


def on_a_terminal(*command: str, stdout: Path | None = None, **variables: str) -> str:
    """What a terminal is sent; stdout may go to a file instead."""
    master, terminal = pty.openpty()
    out = terminal if stdout is None else os.open(stdout, os.O_WRONLY | os.O_CREAT)
    process = subprocess.Popen([*COSTLAB, *command], stdout=out, stderr=terminal, env=environment(**variables))
    for descriptor in {out, terminal}:
        os.close(descriptor)
    output = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # Linux says so at the end
            break
        if not part:
            break
        output += part
    os.close(master)
    assert process.wait() == 0
    return output.decode()


def test_a_pipe_is_100_columns_wide_unless_columns_says_otherwise(saved):
    wide = through_a_pipe("report", saved)
    assert max(map(len, wide.splitlines())) <= 100
    assert "output" in wide
    narrow = through_a_pipe("report", saved, COLUMNS="50")
    assert max(map(len, narrow.splitlines())) <= 50
    assert "output" not in narrow
    assert through_a_pipe("report", saved, COLUMNS="none") == wide
    assert "\x1b" not in wide


def test_a_terminal_has_colours_unless_it_is_dumb_or_they_are_disabled(saved):
    colours = re.compile(r"\x1b\[[\d;]*3\d[;m]")
    assert colours.search(on_a_terminal("report", saved, TERM="xterm-256color", COLUMNS="80"))
    assert not colours.search(on_a_terminal("report", saved, TERM="xterm-256color", COLUMNS="80", NO_COLOR="1"))
    assert "\x1b" not in on_a_terminal("report", saved, TERM="dumb", COLUMNS="80")


@pytest.mark.slow
def test_slow_work_shows_a_temporary_bar_on_a_terminal(tmp_path):
    code = "import time, torch\ndef make():\n    time.sleep(1.2)\n    return torch.nn.Linear(3, 4)\n"
    (tmp_path / "net.py").write_text(code)
    command = ("report", f"{tmp_path}/net.py:make", "--input", "1,3", "--format", "json")
    seen = on_a_terminal(*command, stdout=tmp_path / "out", TERM="xterm", COLUMNS="100")
    assert "tracing" in seen
    assert seen.endswith("\x1b[2K")  # erase line
    assert json.loads((tmp_path / "out").read_text())["total"]["mult_adds"] == 3 * 4


def test_an_output_that_only_supports_ascii_gets_ascii(saved, tmp_path):
    assert through_a_pipe("report", saved, PYTHONIOENCODING="ascii").isascii()
    assert through_a_pipe("report", keep("hostile", tmp_path), PYTHONIOENCODING="ascii").isascii()


# The package.


def test_importing_costlab_does_not_import_torch():
    code = "import costlab, sys; costlab.Profile, costlab.Cost, costlab.RULES, costlab.CostlabError; "
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True)
