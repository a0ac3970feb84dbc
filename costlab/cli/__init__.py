"""The command line: one module a command, imported when it is called for. Nothing else prints or exits.

Exit codes: 0 fine, 1 findings, 2 an error of the user, 130 interrupted, 141 nobody reads the output any more.
"""

from __future__ import annotations

import difflib
import gc
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from costlab._version import __version__
from costlab.errors import CostlabError
from costlab.formatting.escaping import visible

# Each is the function of that name in the module of that name; listing them imports none.
COMMANDS = {
    "report": "What a network costs: totals, and a table by module, kind or operator.",
    "lint": "Check networks against guidelines and budgets, for CI.",
    "compare": "What a change costs, module by module, and whether it may.",
    "measure": "Time a network on this machine, whole and by operator.",
    "calibrate": "Fit a device profile to this machine.",
    "experiment": "Repeat the experiments of ShuffleNet V2 on this machine.",
    "sweep": "Find out what every network of a design space costs.",
    "plot": "Draw a network: roofline, breakdown, memory and more.",
    "export": "Write a network for Model Explorer, Graphviz, Perfetto.",
    "rewrite": "Make a network cost less, and say what that loses.",
    "check": "Compare our counts with fvcore's and torch's.",
    "models": "List the networks that can be named.",
    "devices": "List devices, or show the numbers of one.",
    "explain": "Explain guidelines: why, what they cost, what to write.",
    "cache": "Show or clear what is kept of earlier looks.",
}

NAME_SHOWN = 100  # characters of a file's name in a message


@dataclass
class Wishes:
    """What was asked of every command alike."""

    traceback: bool = False


class Commands(TyperGroup):
    """Commands by name; every one takes `--verbose`."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise CostlabError(f"no command {args[0]!r}{hint}; there are {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(cmd_name)(getattr(importlib.import_module(f"costlab.cli.{cmd_name}"), cmd_name))
        command = typer.main.get_command(single)
        command.params.extend(option for option in self.params if option.name == "verbose")
        return command


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"costlab {__version__}")
        raise typer.Exit


def show_traceback(context: typer.Context, wanted: bool) -> None:
    context.find_object(Wishes).traceback |= wanted  # type: ignore[union-attr]


app = typer.Typer(
    name="costlab",
    cls=Commands,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def costlab(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", callback=show_traceback, expose_value=False, help="Show the traceback of an error."
        ),
    ] = False,
) -> None:
    """What a PyTorch network costs: mult-adds, parameters and memory access, operator by operator."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """The entry point of `costlab`."""
    gc.set_threshold(100_000, 20, 20)  # a process that ends soon has little to find, and torch much to look through
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code."""
    wishes = Wishes()
    command = typer.main.get_command(app)
    try:
        if not all(map(is_typed, arguments)):
            raise CostlabError("an argument holds a null character or half of another, which no name and no path has")
        code = command.main(list(arguments), prog_name="costlab", standalone_mode=False, obj=wishes)
        return code or 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as error:
        if wishes.traceback:
            traceback.print_exc()
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2


def is_typed(argument: str) -> bool:
    """Whether a shell can have handed over an argument."""
    try:
        return b"\0" not in os.fsencode(argument)
    except UnicodeEncodeError:
        return False


def one_line(error: Exception) -> str:
    """What went wrong: as the error says where it is meant for users, else with the way to find out more."""
    if isinstance(error, CostlabError):
        return visible(" ".join(str(error).split()))
    message = getattr(error, "format_message", None)  # wrong usage, as typer finds it
    if message:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "costlab"
        what = " ".join(message().replace("Value error, ", "").split()).rstrip(".")
        return visible(f"{what}; see `{where} --help`")
    if isinstance(error, OSError) and error.strerror:  # disks, folders and names that are not as they should be
        where = f"{error.filename!s:.{NAME_SHOWN}}: " if error.filename else "the output cannot be written: "
        return visible(f"{where}{error.strerror.lower()}")
    lines = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
    return visible(f"{what} (run again with -v for the traceback)")
