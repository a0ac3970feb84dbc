"""The line of user code that called an operator."""

from __future__ import annotations

import linecache
import sys
from os.path import dirname, sep
from typing import Literal

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


def asks_to_go_on(source: Source | None) -> bool:
    """Whether a line begins a `while` loop that goes on while a condition is true."""
    line = linecache.getline(source.file, source.line).strip() if source else ""
    return line.startswith("while ") and not line.startswith("while not ")
