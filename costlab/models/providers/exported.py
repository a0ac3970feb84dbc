"""`.pt2` programs of torch.export: opened only once nothing in the archive can run.

torch 2.13 unpickles some members of such an archive without restriction, evaluates its symbolic expressions as Python,
resolves its operators anywhere below `torch`, and loads compiled libraries. So every member is looked at first.
"""

from __future__ import annotations

import io
import json
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from costlab.errors import CostlabError

TARGET = re.compile(r"torch\.ops\.\w+\.\w+(\.\w+)?|_operator\.\w+|math\.\w+|torch\.sym_\w+|torch\._sym_\w+")
FORBIDDEN_TARGET = re.compile(r"from_file|load_library|aoti_torch|torchbind|inductor|prims\.fwd_rng|_export\.", re.I)
WORD = re.compile(r"[A-Za-z_]\w*")
SYMBOL = re.compile(r"[a-z]{1,2}\d+|[A-Z][A-Za-z]*|floor|ceiling|sqrt|log")
EXPRESSION = re.compile(r"[\w\s()+\-*/%,.<>=&|~]*")


def build(path: Path) -> tuple[torch.nn.Module, tuple[Any, ...], dict[str, Any]]:
    """The program as nested modules, and its example inputs.

    Raises:
        CostlabError: the file is no such program, or something in it could run.
    """
    examine(path)
    try:
        with weights_only(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path)
            module = torch.export.unflatten(program)
    except CostlabError:
        raise
    except Exception as error:
        what = str(error).strip().splitlines() or [type(error).__name__]
        raise CostlabError(f"{path} cannot be read as a torch.export program: {what[0][:200]}") from error
    args, kwargs = program.example_inputs or ((), {})
    return module, tuple(args), dict(kwargs)


@contextmanager
def weights_only() -> Iterator[None]:
    """torch.load refuses pickles that hold more than weights, whatever its caller asks for."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def examine(path: Path) -> None:
    """Raise CostlabError unless every member of the archive is data."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            if len({m.lower() for m in members}) != len(members):
                raise CostlabError(f"{path} names a member twice: refused")
            if not any(m.endswith((".json", "archive_format")) for m in members):
                raise CostlabError(
                    f"{path} is no torch.export program; pickled models are refused, they can run any code"
                )
            for member in members:
                examine_member(path, member.lower(), archive.read(member))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError) as error:
        raise CostlabError(f"{path} is no readable .pt2 archive: {error}") from None


def examine_member(path: Path, member: str, content: bytes) -> None:
    """One member: JSON that names only operators, or bytes that load as weights."""
    if "aotinductor" in member:
        raise CostlabError(f"{path} holds compiled code ({member}): refused")
    if "custom_obj" in member or "opaque_obj" in member:
        raise CostlabError(f"{path} hides a pickled object ({member}): refused")
    if member.endswith(".json"):
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            raise CostlabError(f"{path} is corrupt: {member} is no JSON") from None
        for key, value in entries(document):
            examine_entry(path, key, value)
    elif content and (member.endswith(".pt") or content.startswith((b"PK\x03\x04", b"\x80"))):
        try:
            torch.load(io.BytesIO(content), weights_only=True, map_location="meta")
        except Exception:
            if member.endswith(".pt") or not is_tensor_data(member):
                raise CostlabError(
                    f"{path} hides a pickle that is not weights alone ({member}): refused, it could run any code"
                ) from None


def is_tensor_data(member: str) -> bool:
    """Raw numbers may look like anything; that they are never unpickled is checked in their JSON."""
    return re.search(r"/(weights/weight|constants/tensor)_\d+$", member) is not None


def examine_entry(path: Path, key: str, value: Any) -> None:
    if key == "use_pickle" and value is not False:
        raise CostlabError(f"{path} holds a pickled tensor: refused, it could run any code")
    if key == "target" and isinstance(value, str):
        graph_input = re.fullmatch(r"[\w.]*", value) and not value.startswith(("torch", "_operator", "math"))
        if not (graph_input or TARGET.fullmatch(value)) or FORBIDDEN_TARGET.search(value):
            raise CostlabError(f"{path} calls {value[:80]!r}, which is no tensor operator: refused")
    if key == "expr_str" and not (
        isinstance(value, str)
        and EXPRESSION.fullmatch(value)
        and not re.search(r"\.\s*[A-Za-z_]", value)
        and all(SYMBOL.fullmatch(word) for word in WORD.findall(value))
    ):
        raise CostlabError(f"{path} has the symbolic size {str(value)[:80]!r}, which is no arithmetic: refused")


def entries(document: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at every depth, also inside JSON that is kept as a string."""
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield from value.items()
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, str) and value.startswith(("{", "[")):
            try:
                pending.append(json.loads(value))
            except (ValueError, RecursionError):
                continue
