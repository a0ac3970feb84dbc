"""A network in a file: a torch.export program, or the weights alone."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from costlab.core.files import atomic_write, os_error_reason
from costlab.errors import CostlabError

SUFFIXES = (".pt2", ".pt")


def check_destination(path: Path) -> None:
    """Raise CostlabError early if `save` cannot write to `path`."""
    if path.suffix not in SUFFIXES:
        raise CostlabError(f"{path}: use FILE.pt2 for a torch.export program, or FILE.pt for the weights alone")
    if not path.parent.is_dir():
        raise CostlabError(f"{path} cannot be written: no such folder")


def save(model: torch.nn.Module, path: Path, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Write the program of forward on these inputs in eval mode (`.pt2`), or the state dict (`.pt`).

    The file is written whole or not at all. The model is left in eval mode.

    Raises:
        CostlabError: torch.export cannot export the network, or the file cannot be written.
    """
    check_destination(path)
    model.eval()
    if path.suffix == ".pt":
        with atomic_write(path) as file:
            torch.save(model.state_dict(), file)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(model, tuple(inputs), dict(kwargs), strict=False)
        except Exception as error:
            what = str(error).strip().splitlines() or ["no message"]
            raise CostlabError(
                f"{type(model).__name__} cannot be exported ({type(error).__name__}: {what[0][:200]}); save its"
                f" weights instead, as {path.with_suffix('.pt').name}"
            ) from error
        with atomic_write(path) as file:
            torch.export.save(program, file)


def load_tensors(path: Path) -> tuple[Any, ...]:
    """The inputs in a file written by torch.save: a tensor, or a list of tensors. Raises CostlabError."""
    try:
        value = torch.load(path, weights_only=True, map_location="cpu")
    except OSError as error:
        raise CostlabError(f"{path} cannot be read: {os_error_reason(error)}") from None
    except Exception:
        raise CostlabError(f"{path} is not a file of tensors written by torch.save") from None
    values = (value,) if isinstance(value, torch.Tensor) else value
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, torch.Tensor) for v in values):
        raise CostlabError(f"{path} holds a {type(value).__name__}; expected a tensor or a list of tensors")
    return tuple(values)
