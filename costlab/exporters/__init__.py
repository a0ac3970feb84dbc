"""Profiles for other viewers: one format per module, each a function from an ExportContext to the text of a file."""

from costlab.exporters._export import FORMATS, export

__all__ = ["FORMATS", "export"]
