"""Arguments and options that several commands take."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from costlab.core.parsing import literal
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

NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Trace anew, whatever is kept of an earlier look (`costlab cache info`).")
]

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
