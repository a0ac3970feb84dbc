"""Errors that a user can fix."""


class CostlabError(Exception):
    """A usage error. The message is one line: what is wrong, where, and what to type instead."""


class ForwardError(CostlabError):
    """The forward pass fails on its inputs."""
