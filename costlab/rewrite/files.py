"""A network in a file: as a torch.export program, or its weights alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from costlab.core.files import atomic_write, os_error_reason
from costlab.errors import CostlabError

SUFFIXES = (".pt2", ".pt")


def check_destination(path: Path) -> None:
    """Raise CostlabError where `save` could not write, as far as that can be told beforehand."""
    if path.suffix not in SUFFIXES:
        raise CostlabError(f"{path}: a network is saved as FILE.pt2 (a torch.export program) or FILE.pt (its weights)")
    if not path.parent.is_dir():
        raise CostlabError(f"{path} cannot be written: no such folder")


def save(model: torch.nn.Module, path: Path, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Write the program that forward is on these inputs, in eval mode (`.pt2`), or the state dict (`.pt`).

    The file is written whole or not at all. The model is left in eval mode.

    Raises:
        CostlabError: torch.export cannot follow the network, or the file cannot be written.
    """
    check_destination(path)
    model.eval()
    if path.suffix == ".pt":
        with atomic_write(path) as file:
            torch.save(model.state_dict(), file)
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(model, tuple(inputs), dict(kwargs), strict=False)
    except Exception as error:
        what = str(error).strip().splitlines() or ["no message"]
        raise CostlabError(
            f"{type(model).__name__} cannot be exported ({type(error).__name__}: {what[0][:200]}): save its weights"
            f" instead, as {path.with_suffix('.pt').name}"
        ) from error
    with warnings.catch_warnings(), atomic_write(path) as file:
        warnings.simplefilter("ignore")
        torch.export.save(program, file)


def tensors(path: Path) -> tuple[Any, ...]:
    """The inputs in a file that torch.save wrote: a tensor, or several in a list. Raises CostlabError."""
    try:
        value = torch.load(path, weights_only=True, map_location="cpu")
    except OSError as error:
        raise CostlabError(f"{path} cannot be read: {os_error_reason(error)}") from None
    except Exception:
        raise CostlabError(f"{path} holds no tensors that torch.save wrote, and those alone") from None
    values = (value,) if isinstance(value, torch.Tensor) else value
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, torch.Tensor) for v in values):
        raise CostlabError(f"{path} holds a {type(value).__name__}: inputs are a tensor, or a list of them")
    return tuple(values)
