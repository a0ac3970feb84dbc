"""A pull request as it happens: a base branch, a changed network, the comment, exit codes, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from costlab.cli import run

pytestmark = pytest.mark.slow
GOLDEN = Path(__file__).parents[1] / "data" / "pull_request_comment.md"
SCRIPT = Path(__file__).parents[2] / ".github" / "actions" / "lint" / "comment.sh"
NET = """from torch import nn


class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU())

    def forward(self, x):
        return self.body(self.stem(x))
"""
CHANGED = NET.replace("nn.ReLU()", "nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)")
CONFIG = """[[tool.costlab.model]]
name = "net"
target = "net.py:Net"
input = "1,3,32,32"
budgets = { mult_adds = "+1%", params = "5 k" }

[tool.costlab.lint]
select = ["G1"]
"""
SECOND = (
    '[[tool.costlab.model]]\nname = "new"\ntarget = "new.py:Net"\ninput = "1,3,32,32"\nbudgets = { params = "+1%" }\n'
)


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A base branch with a network, and a branch that makes it more expensive."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "net.py").write_text(NET)
    (folder / "pyproject.toml").write_text(CONFIG)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "base")
    git(folder, "switch", "-qc", "change")
    (folder / "net.py").write_text(CHANGED)
    git(folder, "commit", "-qam", "deeper")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    return folder


def left_behind(folder: Path) -> list[str]:
    """Worktrees other than the repository itself, and temporary folders."""
    trees = [
        line for line in git(folder, "worktree", "list", "--porcelain").splitlines() if line.startswith("worktree")
    ]
    return [*trees[1:], *(str(path) for path in (folder.parent / "tmp").glob("costlab-*"))]


def test_the_comment_says_what_changed_and_the_job_fails(repository, capsys):
    assert run(["compare", "--against", "main", "--format", "markdown"]) == 1
    out, err = capsys.readouterr()
    assert out == GOLDEN.read_text()
    assert err == "1 of 1 model over budget: net\n"
    assert left_behind(repository) == []
    assert git(repository, "status", "--porcelain") == ""


GH = """#!{python}
import json, pathlib, sys

log, state = pathlib.Path(sys.argv[0]).parent / "calls", pathlib.Path(sys.argv[0]).parent / "comments.json"
words = sys.argv[1:]
comments = json.loads(state.read_text()) if state.exists() else {{"7": "hello"}}
body = next((pathlib.Path(w.removeprefix("body=@")).read_text() for w in words if w.startswith("body=@")), None)
target = next(word for word in words if word.startswith("repos/"))
with log.open("a") as file:
    file.write(f"{{'PATCH' if 'PATCH' in words else 'POST' if 'POST' in words else 'GET'}} {{target}}\\n")
if (pathlib.Path(sys.argv[0]).parent / "forbidden").exists():
    sys.exit("gh: Resource not accessible by integration (HTTP 403)")
if body is None:
    print("\\n".join(number for number, text in comments.items() if text.startswith("<!-- costlab -->")))
else:
    comments[target.rpartition("/")[2] if "PATCH" in words else str(len(comments) + 7)] = body
    state.write_text(json.dumps(comments))
"""


COSTLAB = f'#!/bin/sh\nexec {sys.executable} -m costlab "$@"\n'
LONG = """#!/bin/sh
for word; do [ "$before" = --output ] && output=$word; before=$word; done
for number in $(seq 3000); do echo "| row $number | of a wide table |"; done > "$output"
"""


def commented(
    repository: Path, against: str = "main", costlab: str = COSTLAB
) -> tuple[int, str, list[str], dict[str, str]]:
    """What the Action's script does with a stand-in for `gh`: exit code, log, calls and the comments that there are."""
    tools = repository.parent / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "gh").write_text(GH.format(python=sys.executable))
    (tools / "costlab").write_text(costlab)
    for tool in ("gh", "costlab"):
        (tools / tool).chmod(0o755)
    given = {"AGAINST": against, "MODELS": "", "REPOSITORY": "a/b", "PULL_REQUEST": "3", "REPORTS": str(tools)}
    environment = {**os.environ, **given, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", SCRIPT], cwd=repository, env=environment, capture_output=True, text=True)
    calls = (tools / "calls").read_text().splitlines() if (tools / "calls").exists() else []
    comments = json.loads((tools / "comments.json").read_text()) if (tools / "comments.json").exists() else {}
    return done.returncode, done.stdout + done.stderr, calls, comments


@pytest.mark.slow
def test_the_action_writes_one_comment_and_updates_it(repository):
    code, log, calls, comments = commented(repository)
    assert code == 1, log
    assert calls == ["GET repos/a/b/issues/3/comments", "POST repos/a/b/issues/3/comments"]
    assert comments == {"7": "hello", "8": GOLDEN.read_text()}
    (repository / "net.py").write_text(NET)
    git(repository, "commit", "-qam", "shallow again")
    code, log, calls, comments = commented(repository)
    assert code == 0, log
    assert calls[2:] == ["GET repos/a/b/issues/3/comments", "PATCH repos/a/b/issues/comments/8"]
    assert comments.keys() == {"7", "8"}
    assert "All budgets hold." in comments["8"]
    assert left_behind(repository) == []


@pytest.mark.slow
def test_a_comment_that_may_not_be_written_is_a_warning_and_an_unknown_revision_an_error(repository):
    tools = repository.parent / "bin"
    tools.mkdir()
    (tools / "forbidden").touch()
    code, log, _, comments = commented(repository)
    assert (code, comments) == (1, {})
    assert "::warning title=costlab::the comment was not written" in log
    code, log, calls, _ = commented(repository, against="mian")
    assert code == 2
    assert log == "error: unknown revision 'mian'; did you mean 'main'?\n"
    assert len(calls) == 2


def test_a_comment_that_is_too_long_is_cut_between_lines(repository):
    code, log, _, comments = commented(repository, costlab=LONG)
    assert code == 0, log
    lines = comments["8"].splitlines()
    assert 64_900 < len(comments["8"]) <= 65_536
    assert lines[:-2] == [f"| row {number} | of a wide table |" for number in range(1, len(lines) - 1)]
    assert lines[-2:] == ["", "(cut: `costlab compare --against main` shows the rest)"]


def test_json_and_text_state_the_numbers_of_both_revisions(repository, capsys):
    assert run(["compare", "--against", "main", "net", "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    (model,) = document["models"]
    before, after = 32 * 32 * (3 * 9 * 16 + 16 * 16), 32 * 32 * (3 * 9 * 16 + 16 * 16 + 9 * 16 * 16)
    assert document["against"] == "main"
    assert model["total"]["mult_adds"] == {"base": before, "head": after}
    assert run(["compare", "--against", "HEAD", "net"]) == 0
    assert "BROKEN" not in capsys.readouterr().out


def test_lint_counts_changes_from_the_revision(repository, capsys):
    assert run(["lint", "--against", "main"]) == 1
    out, err = capsys.readouterr()
    assert "budget/mult_adds" in out
    assert err.endswith("1 of 1 model failed checks: net (budget/mult_adds)\n")
    assert run(["lint", "--against", "HEAD"]) == 0
    assert capsys.readouterr().err.endswith("All checks passed.\n")


def test_a_change_without_a_base_is_not_checked_and_fails_nothing(repository, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")  # narrower tables leave out the details
    said = "no base for +1%: add --against main"
    junit = tmp_path / "junit.xml"
    assert run(["lint", "--output", f"junit={junit}"]) == 0
    out, err = capsys.readouterr()
    (row,) = (line for line in out.splitlines() if line.startswith("budget/mult_adds"))
    assert row.split()[:7] == ["budget/mult_adds", "not", "checked", "3.064", "M", "-", "0"]
    assert said in " ".join(out.split())
    assert err.splitlines()[-2:] == [f"1 budget not checked: {said}", "All checks passed."]
    assert f'<skipped message="{said}" />' in junit.read_text()
    assert run(["lint", "--format", "json"]) == 0
    (verdict,) = (v for v in json.loads(capsys.readouterr().out)["verdicts"] if v["rule"] == "budget/mult_adds")
    assert (verdict["verdict"], verdict["limit"], verdict["detail"]) == ("not checked", None, said)


def test_an_amount_counts_beside_a_change_without_a_base(repository, capsys):
    (repository / "pyproject.toml").write_text(CONFIG.replace('"5 k"', "1"))
    assert run(["lint"]) == 1
    last = capsys.readouterr().err.splitlines()[-2:]
    assert last[0].startswith("1 budget not checked: no base for +1%")
    assert last[1] == "1 of 1 model failed checks: net (budget/params)"


def test_a_model_that_is_new_has_no_base_and_fails_nothing(repository, capsys):
    (repository / "new.py").write_text(NET)
    (repository / "pyproject.toml").write_text(CONFIG + SECOND)
    for command in ("compare", "lint"):
        assert run([command, "--against", "main", "new"]) == 0
        err = capsys.readouterr().err
        assert "new has no base at main: " in err
        assert ("1 budget not checked: no base for +1% at that revision\n" in err) == (command == "lint")
    assert left_behind(repository) == []


def test_a_model_that_fails_does_not_hide_the_others(repository, capsys):
    (repository / "new.py").write_text(NET)
    (repository / "pyproject.toml").write_text(CONFIG + SECOND)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "a second network")
    (repository / "new.py").write_text(NET.replace("nn.Conv2d(width, width, 1)", "nn.Conv2d(9, width, 1)"))
    (repository / "net.py").write_text(CHANGED.replace("width=16", "width=24"))
    assert run(["compare", "--against", "HEAD", "--format", "markdown"]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines()[3:5] == ["1 of 2 models over budget: `net`", "1 of 2 models could not be analysed: `new`"]
    assert "- `new`: `forward fails in Net.body.0" in out
    assert "### `net (python)`" in out
    assert err.endswith("1 of 2 models over budget: net\n1 of 2 models could not be analysed: new\n")
    assert left_behind(repository) == []


def test_a_comment_has_a_line_for_each_model_and_repeated_blocks_as_one(repository, capsys):
    blocks = "*(nn.Conv2d(width, width, 1) for _ in range(4))"
    (repository / "new.py").write_text(NET.replace("nn.Conv2d(width, width, 1)", blocks))
    (repository / "pyproject.toml").write_text(CONFIG + SECOND)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "a second network")
    (repository / "new.py").write_text((repository / "new.py").read_text().replace("width=16", "width=32"))
    assert run(["compare", "--against", "HEAD", "--format", "markdown"]) == 1
    lines = capsys.readouterr().out.splitlines()
    mult_adds = {width: 32 * 32 * (27 * width + 4 * width * width) for width in (16, 32)}
    (row,) = (line for line in lines if line.startswith("| `new`"))
    assert row.startswith("| `new` | 1.491 M &#8594; 5.079 M (+240.7%) |")
    assert [round(n / 1e6, 3) for n in mult_adds.values()] == [1.491, 5.079]
    assert row.endswith("| broken |")
    blocks_row = "| `body.{0-3} (4 times)` | 1.049 M | 4.194 M | +3.146 M | +3.136 k | +134.2 k | changed |"
    assert blocks_row in lines


def test_a_dirty_tree_is_the_head_and_says_so(repository, capsys):
    (repository / "net.py").write_text(NET)
    assert run(["compare", "--against", "main"]) == 0
    out, err = capsys.readouterr()
    assert err == "note: changes that are not committed are part of the head\nAll budgets hold.\n"
    assert "BROKEN" not in out
    assert (repository / "net.py").read_text() == NET


@pytest.mark.parametrize(
    ("revision", "message"),
    [
        ("mian", "unknown revision 'mian'; did you mean 'main'?"),
        ("zzzzzz", "unknown revision 'zzzzzz'; `git branch --all` lists branches"),
        ("--help", "'--help' is not a revision: name a branch, tag or commit"),
        ("", "'' is not a revision: name a branch, tag or commit"),
    ],
)
@pytest.mark.parametrize("command", ["compare", "lint"])
def test_an_unknown_revision_is_one_line(command, revision, message, repository, capsys):
    assert run([command, f"--against={revision}"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"error: {message}\n")
    assert left_behind(repository) == []


def test_a_shallow_clone_says_what_to_fetch(repository, tmp_path, monkeypatch, capsys):
    git(tmp_path, "clone", "-q", "--depth", "1", "--branch", "change", f"file://{repository}", "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    assert run(["compare", "--against", "main"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(
        "error: unknown revision 'main' in a shallow clone: run `git fetch --depth 1 origin main:main`"
    )
    git(tmp_path / "shallow", "fetch", "-q", "--depth", "1", "origin", "main:main")
    assert run(["compare", "--against", "main"]) == 1


def test_a_branch_of_the_remote_is_found(repository, tmp_path, monkeypatch, capsys):
    git(tmp_path, "clone", "-q", "--branch", "change", str(repository), "clone")
    monkeypatch.chdir(tmp_path / "clone")
    assert run(["compare", "--against", "main"]) == 1


def test_without_git_or_a_repository_it_is_one_line(repository, tmp_path, monkeypatch, capsys):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "net.py").write_text(NET)
    (outside / "pyproject.toml").write_text(CONFIG)
    monkeypatch.chdir(outside)
    assert run(["compare", "--against", "main"]) == 2
    assert capsys.readouterr().err.endswith("outside is in no git repository\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["compare", "--against", "main"]) == 2
    assert capsys.readouterr().err == "error: comparing with another revision needs git, which is not installed\n"


def test_two_models_are_needed_without_a_revision(repository, capsys):
    assert run(["compare", "net"]) == 2
    assert capsys.readouterr().err == (
        "error: compare takes BASE and HEAD, got 1; for another revision add --against REV\n"
    )


@pytest.mark.slow
def test_nothing_is_left_behind_after_ctrl_c(repository):
    reached = repository.parent / "reached"
    sleep = f"open({str(reached)!r}, 'w').close()\ntime.sleep(60)"
    slow = NET.replace("from torch import nn", f"import time\n\nfrom torch import nn\n\n{sleep}")
    (repository / "net.py").write_text(slow)
    git(repository, "commit", "-qam", "slow")
    command = [sys.executable, "-m", "costlab", "compare", "--against", "HEAD"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 60
    while not reached.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left_behind(repository)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert left_behind(repository) == []
