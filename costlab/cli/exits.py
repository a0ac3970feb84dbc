"""Exit codes, and the one line that an error becomes."""

from costlab.errors import CostlabError
from costlab.formatting.escaping import visible

FINDINGS = 1  # findings, or a budget broken
FAILED = 2  # a usage error, or a model that cannot be analysed
INTERRUPTED = 130  # Ctrl-C, as shells give it
CLOSED_PIPE = 141  # exit code of shells for a closed pipe

LONGEST_NAME = 100  # characters of a file's name in a message


def one_line(error: BaseException) -> str:
    """The message of an error, on one line and without control characters."""
    return visible(" ".join(message_of(error).split()))


def message_of(error: BaseException) -> str:
    """What went wrong, with the way to find out more unless the error was written for users."""
    if isinstance(error, CostlabError):
        return str(error)
    usage = getattr(error, "format_message", None)  # of typer
    if usage:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "costlab"
        return f"{usage().replace('Value error, ', '').strip().rstrip('.')}; see `{command} --help`"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename!s:.{LONGEST_NAME}}" if error.filename else "the output cannot be written"
        return f"{where}: {error.strerror.lower()}"
    lines = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
    return f"{what} (run again with -v for the traceback)"
