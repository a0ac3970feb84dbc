"""The one kind of error that a user can mend."""

from __future__ import annotations


class CostlabError(Exception):
    """Something the user can mend. The message is one line: what, where, what to do."""
