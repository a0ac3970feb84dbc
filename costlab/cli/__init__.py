"""The command line: one module a command, imported when the command runs. Nothing else prints or exits."""

from costlab.cli._main import main, run
from costlab.cli.app import COMMANDS, CliState, app

__all__ = ["COMMANDS", "CliState", "app", "main", "run"]
