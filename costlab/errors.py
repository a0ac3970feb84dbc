"""The errors that a user can mend."""

from __future__ import annotations


class CostlabError(Exception):
    """Something the user can mend. The message is one line: what, where, what to do."""


class ForwardError(CostlabError):
    """The forward pass fails on the inputs it was given."""
