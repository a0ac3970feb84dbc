"""The commands by name, and the options that all of them take."""

import difflib
import importlib
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from costlab._version import __version__
from costlab.errors import CostlabError

# Each is the function of that name in the module of that name; listing them imports none.
COMMANDS = {
    "report": "Report what a network costs, by module, kind or operator.",
    "lint": "Check networks against guidelines and budgets, for CI.",
    "compare": "Compare two networks module by module, with budgets.",
    "init": "Write a first configuration for a folder's networks.",
    "measure": "Time a network on this machine, in total and by operator.",
    "calibrate": "Fit a device profile to this machine.",
    "experiment": "Repeat the experiments of ShuffleNet V2 on this machine.",
    "sweep": "Profile every network of a design space.",
    "plot": "Plot a network: roofline, breakdown, memory and more.",
    "export": "Export a network to Model Explorer, Graphviz, Perfetto.",
    "llm": "Report memory, TTFT and TPOT of a language model.",
    "choose": "Choose pretrained networks by accuracy, inside budgets.",
    "rewrite": "Make a network cheaper, and report what it loses.",
    "check": "Compare counts with those of fvcore and torch.",
    "models": "List the networks that have a name.",
    "devices": "List devices, or show the numbers of one.",
    "explain": "Explain guidelines: why, at what cost, what to write.",
    "cache": "Show or clear the cache.",
}


@dataclass
class CliState:
    """The options of all commands."""

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
            raise CostlabError(f"no command {args[0]!r}{hint}; choose from {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(cmd_name)(function_of(cmd_name))
        command = typer.main.get_command(single)
        command.params.extend(option for option in self.params if option.name == "verbose")
        return command


def function_of(command: str) -> Any:
    """The function behind a command, with all of its options in its signature."""
    from costlab.cli.options import with_groups

    return with_groups(getattr(importlib.import_module(f"costlab.cli.{command}"), command))


def show_version(wanted: bool) -> None:
    """Print the version and exit."""
    if wanted:
        typer.echo(f"costlab {__version__}")
        raise typer.Exit


def show_traceback(context: typer.Context, wanted: bool) -> None:
    """Remember that errors should show their traceback."""
    context.find_object(CliState).traceback |= wanted  # type: ignore[union-attr]


app = typer.Typer(
    name="costlab", cls=Commands, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
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
