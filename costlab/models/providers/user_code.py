"""Networks from a user's own Python: importing it runs it."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from costlab.errors import CostlabError
from costlab.models.meta_init import Construct
from costlab.models.providers.torchvision import import_torchvision
from costlab.tracing.inputs import Inputs

ON_TORCHVISION = ("torchvision", "timm", "transformers", "diffusers")  # libraries that import it


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
    use_imports(str(path.parent.resolve()))
    status = path.stat()
    return run_file(path.absolute(), path, status.st_ino, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def run_file(place: Path, path: Path, *stamp: int) -> Any:
    """The module of a file with this modification time and size."""
    taken = path.stem in sys.modules and getattr(sys.modules[path.stem], "__file__", None) != str(path)
    spec = importlib.util.spec_from_file_location(f"user_{path.stem}" if taken else path.stem, path)
    if spec is None or spec.loader is None:
        raise CostlabError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    if any(library in path.read_text(errors="replace") for library in ON_TORCHVISION):
        with suppress(CostlabError):
            import_torchvision()
    sys.modules[spec.name] = module
    with errors_of(f"{path} fails when imported:"):
        spec.loader.exec_module(module)
    return module


@dataclass
class Imports:
    """Where the imports of a user's files in one folder are searched, and the modules found there."""

    path: list[str]  # sys.path
    modules: dict[str, Any]  # while another folder is in use


COMMON = ""  # in place of a folder: what is installed, and modules in the current folder
IMPORTS: dict[str, Imports] = {}
in_use = COMMON


def use_imports(folder: str) -> None:
    """Let imports find the modules beside a user's file, and none beside a file in another folder."""
    global in_use
    if folder == in_use:
        return
    common = IMPORTS.setdefault(COMMON, Imports(sys.path[:], {})).path
    if in_use == COMMON:
        common[:] = sys.path
    else:
        own = set(sys.path).difference(common)
        names = [name for name in list(sys.modules) if origin(name.partition(".")[0]) in own]
        IMPORTS[in_use] = Imports(sys.path[:], {name: sys.modules.pop(name) for name in names})
    new = IMPORTS.get(folder) or Imports([folder, *common], {})
    sys.path[:] = new.path
    sys.modules.update(new.modules)
    in_use = folder


def origin(name: str) -> str | None:
    """The folder from which a module or package was imported."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    if not isinstance(file, str):
        return None
    return os.path.dirname(os.path.dirname(file) if os.path.basename(file) == "__init__.py" else file)


def import_module(name: str) -> Any:
    """An installed module, or one in the current folder."""
    use_imports(COMMON)
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
