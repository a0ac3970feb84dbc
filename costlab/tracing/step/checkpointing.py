"""Modules whose activations are not kept: their forward pass runs again in the backward pass."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch.utils import checkpoint

from costlab.tracing.step.options import check_globs

WITHOUT_COMPILER = inspect.unwrap(
    checkpoint.checkpoint
)  # as it stands, it imports torch's compiler, which takes seconds

OPTIONS: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False, "determinism_check": "none"}


def checkpoint_modules(modules: Mapping[torch.nn.Module, list[str]], globs: Iterable[str]) -> None:
    """Call every module that a glob matches through `torch.utils.checkpoint`, of nested ones the outermost.

    Restoring the modules' attributes undoes this. Raises CostlabError if a glob matches no module.
    """
    globs = list(globs)
    check_globs("checkpoint", globs, (path for paths in modules.values() for path in paths))
    chosen: list[str] = []
    for module, paths in modules.items():
        path = paths[0]
        above = any(path.startswith(f"{outer}.") for outer in chosen)
        if path and not above and any(fnmatchcase(path, glob) for glob in globs):
            chosen.append(path)
            call = module.__dict__.get("_compiled_call_impl")
            if call is not None:
                module.__dict__["_compiled_call_impl"] = functools.partial(checkpointed, call)


@contextmanager
def unchecked() -> Iterator[None]:
    """In the body `torch.utils.checkpoint` does not compare what runs again with what ran first.

    It looks at devices, which in a trace differ between a network's code and what runs below it.
    """
    checks = checkpoint._allowed_determinism_checks_to_fns
    before = dict(checks)
    checks.update(dict.fromkeys(checks, checks["none"]))
    try:
        yield
    finally:
        checks.update(before)


def checkpointed(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a module returns; nothing in it is kept for the backward pass."""
    with checkpoint.set_checkpoint_early_stop(False):
        return WITHOUT_COMPILER(
            call, *args, use_reentrant=False, preserve_rng_state=False, determinism_check="none", **kwargs
        )
