"""Networks from a user's own Python: importing it runs it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.models.meta_init import Construct
from costlab.tracing.inputs import Inputs


def build(reference: str, arguments: Mapping[str, Any], construct: Construct) -> tuple[torch.nn.Module, Inputs]:
    """The network that `package.module:factory` or `path/to/file.py:factory` is or returns, and an image for it."""
    factory = find_factory(reference)
    if isinstance(factory, torch.nn.Module):
        if arguments:
            raise CostlabError(f"{reference} is a module, not a factory: it takes no -a {next(iter(arguments))}")
        model = factory
    elif callable(factory):
        model = call(reference, lambda: construct(lambda: factory(**arguments)))
    else:
        raise CostlabError(
            f"{reference} is a {type(factory).__name__}; it must be a callable that returns an nn.Module"
        )
    return model, Inputs((torch.empty(1, 3, 224, 224, device="meta"),))


def find_factory(reference: str) -> Any:
    """What `package.module:factory` or `path/to/file.py:factory` names."""
    where, _, attribute = reference.rpartition(":")
    module = import_file(Path(where)) if where.endswith(".py") else import_module(where)
    factory: Any = module
    for name in attribute.split("."):
        if not hasattr(factory, name):
            raise CostlabError(f"{where} has no {attribute!r}; it has {', '.join(public_names(module)) or 'no names'}")
        factory = getattr(factory, name)
    return factory


@contextmanager
def errors_of(subject: str) -> Iterator[None]:
    """Whatever the user's code raises becomes a CostlabError, SystemExit included; not Ctrl-C."""
    try:
        yield
    except (CostlabError, KeyboardInterrupt):
        raise
    except BaseException as error:
        lines = str(error).strip().splitlines() or ["no message"]
        raise CostlabError(f"{subject} {type(error).__name__}: {lines[0][:300]}") from error


def call(reference: str, factory: Callable[[], Any]) -> torch.nn.Module:
    """What the factory returns. Raises CostlabError if it raises, or returns something else than an nn.Module."""
    with errors_of(f"{reference} raises"):
        model = factory()
    if not isinstance(model, torch.nn.Module):
        raise CostlabError(f"{reference} returns a {type(model).__name__}; it must return an nn.Module")
    return model


def import_file(path: Path) -> Any:
    """The module of a file, which runs again only if the file has changed."""
    if not path.is_file():
        raise CostlabError(f"{path} does not exist")
    status = path.stat()
    return run_file(path.absolute(), path, status.st_ino, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def run_file(place: Path, path: Path, *stamp: int) -> Any:
    """The module of a file with this modification time and size."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise CostlabError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent.resolve()))
    with errors_of(f"{path} fails when imported:"):
        spec.loader.exec_module(module)
    return module


def import_module(name: str) -> Any:
    """An installed module, or one in the current folder."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    with errors_of(f"{name} fails when imported:"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(error.name + ".")):
                raise CostlabError(f"no Python module {error.name!r} in this folder or installed") from None
            raise


def public_names(module: Any) -> list[str]:
    """The first public callables of a module."""
    return [n for n, v in vars(module).items() if not n.startswith("_") and callable(v)][:8]
