"""docs/cli.md, generated from the commands: `python docs/generate/cli_page.py` regenerates it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperGroup, TyperOption

from costlab.cli import COMMANDS, CliState, app
from costlab.cli.app import function_of

PAGE = Path(__file__).parents[1] / "cli.md"

INTRODUCTION = """# Command line

Generated from the commands by `make docs`; `costlab COMMAND --help` prints the same.

The report goes to stdout, progress and verdict to stderr. Exit codes: 0 success; 1 findings, or a broken budget; 2 a
usage error, or a model that cannot be analysed, as one line that says what is wrong, where, and what to type instead;
130 interrupted. `--verbose` (`-v`) shows the traceback of an error, `costlab --version` the version;
`costlab --install-completion` completes commands in the shell.
"""


def cli_page() -> str:
    """docs/cli.md."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    context = group.make_context("costlab", [], obj=CliState())
    lines = [INTRODUCTION, "| command | does |", "| --- | --- |"]
    commands = {name: group.get_command(context, name) for name in COMMANDS}
    for name, command in commands.items():
        assert command
        lines.append(f"| [{name}](#costlab-{name}) | {first_line(command.help)} |")
    for name, command in commands.items():
        assert command
        lines += ["", *section(name, command)]
    return "\n".join([*lines, ""])


def section(name: str, command: typer.core.TyperCommand) -> list[str]:
    """A command: what it does, its usage, and a table of what it takes."""
    options = [p for p in command.params if isinstance(p, TyperOption) and p.name != "verbose" and not p.hidden]
    arguments = [p for p in command.params if not isinstance(p, TyperOption)]
    types = get_type_hints(function_of(name))
    names = {p.name: names_in(types.get(p.name)) for p in options}
    words = " ".join(usage(p) for p in arguments)
    required = " ".join(f"{p.opts[0]} {value(p, names[p.name])}" for p in options if p.required)
    lines = [f"## costlab {name}", "", *paragraphs(command.help), ""]
    lines += ["```text", " ".join(f"costlab {name} {words} {required}".split()) + " [OPTIONS]", "```", ""]
    lines += ["| option | does | by default |", "| --- | --- | --- |"]
    for parameter in arguments:
        lines.append(f"| {code(usage(parameter))} | {cell(parameter.help)} | |")
    for option in options:
        spelt = ", ".join(f"`{spelling}`" for spelling in (*option.opts, *option.secondary_opts))
        taken = value(option, names[option.name])
        spelt += f" {code(taken)}" if taken else ""
        one_of = f" One of {', '.join(f'`{n}`' for n in names[option.name])}." if names[option.name] else ""
        lines.append(f"| {spelt} | {cell(option.help)}{one_of} | {default(option)} |")
    return lines


def usage(argument: typer.core.TyperArgument) -> str:
    """`MODEL`; one that can be left out is in brackets."""
    name = (argument.metavar or argument.name).upper()
    if argument.nargs == -1 and not name.endswith("..."):
        name += "..."
    return name if argument.required else f"[{name}]"


def names_in(hint: Any) -> list[str]:
    """The values of a Literal, which an option takes one of."""
    literals = (each for each in (hint, *get_args(hint)) if get_origin(each) is Literal)
    return [name for each in literals for name in get_args(each)]


def value(option: TyperOption, names: list[str]) -> str:
    """What stands after an option; nothing after a flag."""
    if option.is_flag:
        return ""
    return option.metavar or ("NAME" if names else "VALUE")


def default(option: TyperOption) -> str:
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return option.show_default
    if option.default in (None, False, (), []):
        return ""
    if option.default is True:
        return f"`{option.opts[0]}`"
    return f"`{getattr(option.default, 'value', option.default)}`"


def first_line(text: str | None) -> str:
    return cell((text or "").strip().split("\n\n")[0].rstrip("."))


def paragraphs(text: str | None) -> list[str]:
    return [" ".join(part.split()) + "\n" for part in (text or "").strip().split("\n\n")][:-1] + [
        " ".join((text or "").strip().split("\n\n")[-1].split())
    ]


def code(text: str) -> str:
    """A bar would end the cell of a table, in code as well."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


if __name__ == "__main__":
    PAGE.write_text(cli_page(), encoding="utf-8")
