"""A first `[tool.costlab]`: the networks that a folder's Python files define, found without running them."""

import ast
import json
import os
from collections.abc import Iterator, Sequence
from math import ceil, log10
from pathlib import Path
from typing import NamedTuple

from costlab.ci.configuration import FILE_NAME, TABLE, table_of
from costlab.ci.configuration import read_toml as read_document
from costlab.core.files import read_text, write_text
from costlab.errors import CostlabError

LARGEST = 1 << 20  # bytes of a Python file that is looked at
MOST_FILES = 2000
SKIPPED = ("test", "tests", "docs", "build", "dist", "site-packages", "node_modules", "__pycache__")
BASES = ("Module", "Sequential")  # of torch.nn


class FoundModel(NamedTuple):
    """A network of the project, with inputs that it takes, and what it costs with them."""

    target: str  # net.py:Net
    input: str | None  # "1,3,224,224"; None for the provider's own, or if none was found
    budgets: dict[str, int]  # totals; empty if it could not be traced


def find_targets(folder: Path) -> list[str]:
    """The networks that Python files and exported programs below a folder define.

    A class counts if it derives from torch's modules, its constructor needs no arguments, and no other class of the
    folder builds it: then it is a part.
    """
    classes: dict[str, tuple[Path, ast.ClassDef]] = {}
    used: set[str] = set()
    programs = []
    for path in files_below(folder):
        if path.suffix == ".pt2":
            programs.append(str(path.relative_to(folder)))
            continue
        try:
            tree = ast.parse(read_text(path, LARGEST))
        except (CostlabError, SyntaxError, ValueError, RecursionError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, (path, node))
                used |= names_called(node) - {node.name}
    networks = [name for name in classes if derives(name, classes, ())]
    bases = {name_of(base) for name in networks for base in classes[name][1].bases}
    whole = [name for name in networks if name not in used | bases and takes_nothing(classes[name][1])]
    return sorted(f"{classes[name][0].relative_to(folder)}:{name}" for name in whole) + sorted(programs)


def files_below(folder: Path) -> Iterator[Path]:
    """Python files and exported programs, without hidden folders, tests and environments."""
    count = 0
    for root, folders, names in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(n for n in folders if n not in SKIPPED and n[0] != "." and not is_environment(here / n))
        for name in sorted(names):
            if name.endswith((".py", ".pt2")) and not name.startswith(("test_", "conftest", "setup.")):
                count += 1
                if count > MOST_FILES:
                    return
                yield here / name


def is_environment(folder: Path) -> bool:
    """Whether a folder is a virtual environment."""
    return (folder / "pyvenv.cfg").exists()


def names_called(node: ast.AST) -> set[str]:
    """The names that something below a node calls."""
    return {name_of(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}


def name_of(node: ast.expr) -> str:
    """The last name of `torch.nn.Module`; "" for anything else."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def derives(name: str, classes: dict[str, tuple[Path, ast.ClassDef]], above: tuple[str, ...]) -> bool:
    """Whether a class derives from torch's modules, directly or through other classes of the folder."""
    bases = [name_of(base) for base in classes[name][1].bases]
    inner = (base for base in bases if base in classes and base not in above)
    return any(base in BASES for base in bases) or any(derives(base, classes, (*above, name)) for base in inner)


def takes_nothing(node: ast.ClassDef) -> bool:
    """Whether the constructor of a class needs no arguments."""
    own = (f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__")
    constructor = next(own, None)
    if constructor is None:
        return True
    arguments = constructor.args
    positional = len(arguments.posonlyargs) + len(arguments.args) - 1
    return positional <= len(arguments.defaults) and all(default is not None for default in arguments.kw_defaults)


# The text.


def written(folder: Path, models: Sequence[FoundModel], device: str | None) -> Path:
    """Add a `[tool.costlab]` to the pyproject.toml of a folder, or make one; nothing that is there changes.

    Raises CostlabError if the file has a `[tool.costlab]` already, or cannot be written.
    """
    path = folder / FILE_NAME
    before = ""
    if path.exists():
        document, before = read_document(path)
        if table_of(document) is not None:
            raise CostlabError(f"{path} has a [{TABLE}] already: edit it, docs/ci.md lists its keys")
    gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
    write_text(path, before + gap + configuration_text(models, device))
    return path


def configuration_text(models: Sequence[FoundModel], device: str | None) -> str:
    """The tables as TOML."""
    names = [model.target.rpartition(":")[2].rpartition("/")[2] for model in models]
    parts = []
    for model, name in zip(models, names, strict=True):
        lines = [f"[[{TABLE}.model]]", f"name = {quoted(name if names.count(name) == 1 else model.target)}"]
        lines.append(f"target = {quoted(model.target)}")
        if model.input is not None:
            lines.append(f"input = {quoted(model.input)}")
        if model.budgets:
            limits = ", ".join(f"{key} = {quoted(rounded_up(value))}" for key, value in model.budgets.items())
            lines.append(f"budgets = {{ {limits} }}")
        else:
            lines.append('# input = "1,3,224,224"  # it could not be traced with the inputs that were tried')
        parts.append("\n".join(lines))
    chosen = (
        f"device = {quoted(device)}" if device else '# device = "rtx3090"  # prices in seconds; see costlab devices'
    )
    parts.append(f"[{TABLE}.lint]\n{chosen}")
    return "\n\n".join(parts) + "\n"


def quoted(text: str) -> str:
    """A string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def rounded_up(value: int) -> str:
    """A count at three digits, at or above what it is: `301 M`."""
    if value < 1000:
        return str(value)
    power = min(int(log10(value)) // 3, 4)
    step = 10 ** max(int(log10(value)) - 2, 0)
    amount = ceil(value / step) * step / 1000**power
    return f"{amount:g} {('', 'k', 'M', 'G', 'T')[power]}"
