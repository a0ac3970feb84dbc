"""The line of user code that called an operator."""

import ast
import functools
import linecache
import sys
from collections.abc import Iterator
from os.path import dirname, sep
from types import FrameType
from typing import Any, Literal

import torch

from costlab.core.graph import Source

TORCH, TRACING = dirname(torch.__file__) + sep, dirname(__file__) + sep

Owner = Literal["user", "torch", "costlab", "trace"]


class SourceFinder:
    """Finds the innermost frame of user code; remembers whose code each file is."""

    def __init__(self) -> None:
        self._owners: dict[str, Owner] = {}

    def __call__(self) -> Source | None:
        """The innermost line outside torch and costlab, no further out than the trace itself."""
        frame = sys._getframe(2)
        while frame is not None:
            file = frame.f_code.co_filename
            owner = self._owners.get(file)
            if owner is None:
                owner = self._owners[file] = owner_of(file)
            if owner == "user":
                return Source(file, frame.f_lineno)
            if owner == "trace":
                return None
            frame = frame.f_back  # type: ignore[assignment]
        return None


def owner_of(file: str) -> Owner:
    """Whose code a file is; "trace" is the module that starts a forward pass."""
    if file.startswith(TORCH):
        return "torch"
    if not file.startswith(TRACING):
        return "user"
    return "trace" if file.endswith("forward.py") else "costlab"


def goes_on(source: Source | None) -> bool | None:
    """The answer with which a loop goes on, to a `while` or to an `if` that breaks or returns; None for other lines.

    Only files that are running are read: an exported program names whichever it likes.
    """
    if source is None or not is_running(source.file):
        return None
    return loop_conditions("".join(linecache.getlines(source.file))).get(source.line)


def in_while(source: Source | None) -> bool:
    """Whether the innermost loop around a line is a `while`."""
    if source is None or not is_running(source.file):
        return False
    around = [loop for loop in loops("".join(linecache.getlines(source.file))) if covers(loop, source.line)]
    return bool(around) and isinstance(max(around, key=lambda loop: loop.lineno), ast.While)


def covers(loop: ast.For | ast.While, line: int) -> bool:
    """Whether a loop contains a line."""
    return loop.lineno <= line <= (loop.end_lineno or loop.lineno)


@functools.lru_cache(maxsize=32)
def loops(text: str) -> list[ast.For | ast.While]:
    """The loops in a source text."""
    return [node for node in nodes_of(text) if isinstance(node, (ast.For, ast.While))]


def is_running(file: str) -> bool:
    """Whether a frame of this thread runs code of a file."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_filename != file:
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None


def nodes_of(text: str) -> list[ast.AST]:
    """The nodes of the syntax tree of a source text; none if it is not Python."""
    try:
        return list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError):
        return []


def compared_integers() -> list[int]:
    """The integers that the running functions of the user compare something with, those of the innermost one first."""
    found: dict[int, None] = {}
    frame = sys._getframe(1)
    while frame is not None and owner_of(frame.f_code.co_filename) != "trace":
        if owner_of(frame.f_code.co_filename) == "user":
            found |= dict.fromkeys(compared_in(frame))
        frame = frame.f_back  # type: ignore[assignment]
    return list(found)


@functools.lru_cache(maxsize=32)
def comparisons(text: str) -> list[ast.Compare]:
    """The comparisons in a source text."""
    return [node for node in nodes_of(text) if isinstance(node, ast.Compare)]


def compared_in(frame: FrameType) -> Iterator[int]:
    """The integers that a function compares something with."""
    lines = [line for _, _, line in frame.f_code.co_lines() if line]
    for node in comparisons("".join(linecache.getlines(frame.f_code.co_filename))):
        if min(lines) <= node.lineno <= max(lines):
            for side in (node.left, *node.comparators):
                value = value_of(side, frame)
                members = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
                yield from (member for member in members if type(member) is int)


def value_of(node: ast.expr, frame: FrameType) -> Any:
    """The value of a constant, of a name or attribute, or of a list of them; None for other expressions."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id, frame.f_globals.get(node.id))
    if isinstance(node, ast.Attribute):
        return getattr(value_of(node.value, frame), node.attr, None)
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return [value_of(member, frame) for member in node.elts]
    return None


@functools.lru_cache(maxsize=32)
def loop_conditions(text: str) -> dict[int, bool]:
    """For each line of a source text with a condition that ends a loop, the truth with which the loop goes on."""
    found: dict[int, bool] = {}
    ends = [
        node
        for loop in loops(text)
        for node in ast.walk(loop)
        if isinstance(node, ast.If) and isinstance(node.body[-1], (ast.Break, ast.Return))
    ]
    deciding: list[ast.While | ast.If] = [*(loop for loop in loops(text) if isinstance(loop, ast.While)), *ends]
    for node in deciding:
        negated = isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not)
        for line in range(node.test.lineno, (node.test.end_lineno or node.test.lineno) + 1):
            found[line] = isinstance(node, ast.If) == negated
    return found
