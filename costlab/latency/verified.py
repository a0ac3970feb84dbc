"""Marks of predictions for devices on which nothing was measured."""

from costlab.errors import CostlabError
from costlab.latency.devices import find_device


def mark(verified: bool) -> str:
    """What to write behind a device: ", unverified", or nothing."""
    return "" if verified else ", unverified"


def mark_of(name: str) -> str:
    """The mark of a device that a table names; none if it is not known here."""
    try:
        return mark(find_device(name).verified)
    except CostlabError:
        return ""
