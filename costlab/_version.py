"""The version of this package, without importing it."""

__version__ = "0.1.0"
