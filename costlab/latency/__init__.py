"""Latency predicted from a profile and the published peaks of a device."""
