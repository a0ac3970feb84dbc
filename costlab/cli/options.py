"""Arguments and options that several commands take."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from costlab.errors import CostlabError

MODEL_HELP = (
    "A name (mobilenet_v2), zoo:NAME, torchvision:NAME, timm:NAME, hf:CONFIG, package.module:factory,"
    " path/to/file.py:factory, an exported model.pt2 or a saved profile.json."
)
Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP, show_default=False)]
Arguments = Annotated[
    list[str] | None,
    typer.Option("-a", "--argument", metavar="KEY=VALUE", help="Hand an argument to the factory (repeatable)."),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="SPEC", help="An input, 1,3,224,224[:dtype] or name=1,128:int64 (repeatable, in order)."
    ),
]
Batch = Annotated[int | None, typer.Option("--batch", metavar="N", help="Batch size of the inputs.")]
Resolution = Annotated[int | None, typer.Option("--resolution", metavar="N", help="Height and width of images.")]
Dtype = Annotated[str | None, typer.Option("--dtype", metavar="D", help="Floating-point type of network and inputs.")]
Train = Annotated[bool, typer.Option("--train", help="Trace the forward pass of train mode.")]

Target = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="Predict latency on this device (`costlab devices` lists them)."),
]
Amp = Annotated[bool, typer.Option("--amp", help="Predict for running under torch.autocast.")]
ChannelsLast = Annotated[
    bool, typer.Option("--channels-last", help="Predict for networks and images in channels-last.")
]


class Fusion(StrEnum):
    """What runs as one operator."""

    NONE = "none"
    BN = "bn"
    POINTWISE = "pointwise"


WORDS = {"true": True, "false": False, "none": None, "null": None}


def parsed(arguments: Sequence[str] | None) -> dict[str, Any]:
    """`-a width=0.75 -a groups=3` as keyword arguments. Raises CostlabError."""
    result: dict[str, Any] = {}
    for argument in arguments or ():
        key, equals, value = argument.partition("=")
        if not equals or not key.isidentifier():
            raise CostlabError(f"-a {argument!r} is no argument: write -a key=value")
        if key in result:
            raise CostlabError(f"-a {key} is given twice")
        result[key] = literal(value)
    return result


def literal(text: str) -> Any:
    """A number, a truth value, none, a list or an object as Python or JSON write them; everything else is a string."""
    if text.strip().lower() in WORDS:
        return WORDS[text.strip().lower()]
    for read in (json.loads, ast.literal_eval):
        try:
            return plain(read(text))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return text


def plain(value: Any) -> Any:
    """Plain data with tuples as lists; ValueError for anything that JSON does not hold."""
    if isinstance(value, (list, tuple)):
        return [plain(member) for member in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(member) for key, member in value.items()}
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and value - value == 0.0):
        return value
    raise ValueError(value)
