"""Another revision of the repository, in a folder of its own for as long as it is needed."""

import contextlib
import difflib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from costlab.errors import CostlabError

NAMES = ("refs/heads", "refs/remotes", "refs/tags")  # that a misspelt revision is compared with


@contextlib.contextmanager
def checked_out(revision: str, folder: Path) -> Iterator[Path]:
    """A folder's counterpart at another revision, in a git worktree that is removed afterwards, also after Ctrl-C.

    Raises CostlabError if git is not installed, the folder is in no repository, or the revision is unknown.
    """
    root = Path(git(folder, "rev-parse", "--show-toplevel", missing=f"{folder} is in no git repository"))
    commit = find_commit(revision, root)
    place = Path(tempfile.mkdtemp(prefix="costlab-"))
    try:
        git(root, "worktree", "add", "--detach", "--force", str(place / "tree"), commit)
        yield place / "tree" / folder.resolve().relative_to(root.resolve())
    finally:
        run_git(root, "worktree", "remove", "--force", str(place / "tree"))
        shutil.rmtree(place, ignore_errors=True)
        run_git(root, "worktree", "prune")


def find_commit(revision: str, root: Path) -> str:
    """The commit of a revision, also of a branch that only the remote has. Raises CostlabError if there is none."""
    if not revision or revision.startswith("-"):
        raise CostlabError(f"{revision!r} is not a revision: name a branch, tag or commit")
    for name in (revision, f"origin/{revision}"):
        done = run_git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if done.returncode == 0:
            return done.stdout.strip()
    if run_git(root, "rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        raise CostlabError(
            f"unknown revision {revision!r} in a shallow clone: run `git fetch --depth 1 origin {revision}:{revision}`,"
            " or check out with fetch-depth: 0"
        )
    known = run_git(root, "for-each-ref", "--format=%(refname:short)", *NAMES).stdout.split()
    close = difflib.get_close_matches(revision, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "`git branch --all` lists branches"
    raise CostlabError(f"unknown revision {revision!r}; {hint}")


def is_dirty(folder: Path) -> bool:
    """Whether files that git follows have changes that are not committed."""
    done = run_git(folder, "status", "--porcelain", "--untracked-files=no")
    return done.returncode == 0 and bool(done.stdout.strip())


def git(folder: Path, *arguments: str, missing: str = "") -> str:
    """What a git command prints. Raises CostlabError with its own words, or with `missing`."""
    done = run_git(folder, *arguments)
    if done.returncode:
        words = " ".join(done.stderr.split())
        raise CostlabError(missing or f"git {arguments[0]} failed: {words[:300]}")
    return done.stdout.strip()


def run_git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git, in a session of its own: Ctrl-C must not stop it halfway. Raises CostlabError if it is not installed."""
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )
    except FileNotFoundError:
        raise CostlabError("comparing with another revision needs git, which is not installed") from None
